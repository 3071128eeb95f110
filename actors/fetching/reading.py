"""Reads of a detail answer what the queue needs and no more: its entity maps the document when it is its turn."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import Raw, Struct

from actors.zoho import payload
from actors.zoho.columns import Unfit
from actors.zoho.entities import Entities, Entity, Source
from actors.zoho.mapping import Record
from actors.zoho.payload import Malformed
from tds_runtime.errors import SourceAnswerInvalid

_shallow = msgspec.json.Decoder(dict[str, Raw]).decode
"""The values of the first level stay bytes: a document of a hundred lines costs what its keys cost."""


class Detail(Struct, frozen=True):
    """One record's document; `raw` is the record alone, as the source wrote it."""

    id: str
    modified_at: datetime | None
    raw: bytes


class Reader:
    """Reads the detail answers of all entities."""

    def __init__(self, entities: Entities) -> None:
        self._keys = {entity.name: _keys(entity.record) for entity in entities}

    def read(self, entity: Entity, source: Source, body: bytes) -> Detail:
        """The record of a detail answer; `SourceAnswerInvalid` where there is none."""
        try:
            envelope = payload.guarded(_shallow, body)
            if source.detail_key not in envelope:
                raise SourceAnswerInvalid(f"the answer has no {source.detail_key}")
            return self._detail(entity, bytes(envelope[source.detail_key]))
        except Malformed as error:
            raise SourceAnswerInvalid(f"the answer is malformed: {error}") from error

    def _detail(self, entity: Entity, raw: bytes) -> Detail:
        fields = payload.guarded(_shallow, raw)
        document = {key: payload.parse(bytes(fields[key])) for key in self._keys[entity.name] if key in fields}
        try:
            record = entity.shape.identity(document)
        except Unfit as error:
            raise SourceAnswerInvalid(f"the record {error}") from error
        try:
            return Detail(record, entity.shape.stamp(document), raw)
        except Unfit:
            return Detail(record, None, raw)  # its entity says what is wrong with it


def _keys(record: Record) -> frozenset[str]:
    """The first keys of the paths that name a record and its version."""
    paths = [one for found in (record.id, record.modified) for one in ([found] if isinstance(found, str) else found)]
    return frozenset(path.partition(".")[0] for path in paths)
