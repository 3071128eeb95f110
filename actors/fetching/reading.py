"""Reads of a detail answer what the queue needs and no more: its entity maps the document when it is its turn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct

from actors.zoho import payload
from actors.zoho.columns import Unfit
from actors.zoho.entities import Entities, Entity, Source
from actors.zoho.mapping import Record
from actors.zoho.payload import Document, Malformed
from tds_runtime.errors import SourceAnswerInvalid


class Detail(Struct, frozen=True):
    """One record's document; `raw` is the record alone, as the source wrote it."""

    id: str
    modified_at: datetime | None
    raw: bytes


class Reader:
    """Reads the detail answers of all entities; what is not asked for is skipped, not built."""

    def __init__(self, entities: Entities) -> None:
        self._named = {entity.name: _picker(_keys(entity.record)) for entity in entities}
        self._envelopes = {
            source.detail_key: _picker([source.detail_key], Raw) for entity in entities for source in entity.sources
        }

    def read(self, entity: Entity, source: Source, body: bytes) -> Detail:
        """The record of a detail answer; `SourceAnswerInvalid` where there is none."""
        try:
            envelope = payload.guarded(self._envelopes[source.detail_key], body)
            if source.detail_key not in envelope:
                raise SourceAnswerInvalid(f"the answer has no {source.detail_key}")
            return self._detail(entity, bytes(envelope[source.detail_key]))
        except Malformed as error:
            raise SourceAnswerInvalid(f"the answer is malformed: {error}") from error

    def _detail(self, entity: Entity, raw: bytes) -> Detail:
        document = payload.guarded(self._named[entity.name], raw)
        try:
            record = entity.shape.identity(document)
        except Unfit as error:
            raise SourceAnswerInvalid(f"the record {error}") from error
        try:
            return Detail(record, entity.shape.stamp(document), raw)
        except Unfit:
            return Detail(record, None, raw)  # its entity says what is wrong with it


def _keys(record: Record) -> list[str]:
    """The first keys of the paths that name a record and its version."""
    paths = [one for found in (record.id, record.modified) for one in ([found] if isinstance(found, str) else found)]
    return sorted({path.partition(".")[0] for path in paths})


def _picker(keys: list[str], kind: Any = Any) -> Callable[[bytes], Document]:
    """A decoder of an object to a document with just these keys, where they are there."""
    names = {f"field{place}": key for place, key in enumerate(keys)}
    fields = [(name, kind | msgspec.UnsetType, UNSET) for name in names]
    shape = msgspec.defstruct("Picked", fields, rename=names, gc=False)
    decode = msgspec.json.Decoder(shape).decode

    def pick(body: bytes) -> Document:
        found = decode(body)
        values = ((key, getattr(found, name)) for name, key in names.items())
        return {key: value for key, value in values if value is not UNSET}

    return pick
