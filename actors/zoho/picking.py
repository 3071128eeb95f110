"""Picks out of an answer what a pull needs, ids and stamps; a record is mapped only where its content is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from actors.zoho import payload
from actors.zoho.columns import Unfit
from actors.zoho.documents import Mapped, RecordInvalid
from actors.zoho.entities import Entities, Entity, Source
from actors.zoho.mapping import Record
from actors.zoho.payload import Document, Malformed
from tds_runtime.errors import Error, SourceAnswerInvalid


class Detail(Struct, frozen=True):
    """One record's document; `raw` is the record alone, as the source wrote it."""

    id: str
    modified_at: datetime | None
    raw: bytes


class Listed:
    """One row of a listing: named, stamped, and mapped when somebody asks for its facets."""

    __slots__ = ("_entity", "_found", "_variant", "id", "modified_at", "raw")

    def __init__(self, detail: Detail, entity: Entity, variant: str) -> None:
        self.id = detail.id
        self.modified_at = detail.modified_at
        self.raw = detail.raw
        self._entity = entity
        self._variant = variant
        self._found: Mapped | RecordInvalid | Malformed | None = None

    @property
    def facets(self) -> Mapping[str, str]:
        """Hash per facet, over mapped values; nothing for a record that cannot be mapped."""
        found = self._map()
        return {} if isinstance(found, Error) else found.facets

    @property
    def valid(self) -> bool:
        """Whether it can be mapped."""
        return not isinstance(self._map(), Error)

    @property
    def mapped(self) -> Mapped | None:
        """What it was mapped to, where somebody has asked for its facets."""
        return None if isinstance(self._found, Error) else self._found

    def _map(self) -> Mapped | RecordInvalid | Malformed:
        if self._found is None:
            try:
                self._found = self._entity.shape.map(payload.parse(self.raw), "list", self._variant)
            except (RecordInvalid, Malformed) as error:
                self._found = error
        return self._found


class Page(Struct, frozen=True, kw_only=True):
    """One page of a listing; an answer without page_context is the only page there is."""

    rows: tuple[Listed, ...]
    has_more: bool = False
    page: int = 1
    sort_column: str = ""


class _Context(Struct, frozen=True):
    page: int = 1
    has_more_page: bool = False
    sort_column: str = ""


class Picker:
    """Reads pages and details of one entity."""

    def __init__(self, entity: Entity) -> None:
        self._entity = entity
        self._named = _picking(dict.fromkeys(_keys(entity.record), Any))
        self._details = {source.detail_key: _picking({source.detail_key: Raw}) for source in entity.sources}
        self._pages = {
            source.list_key: _picking({source.list_key: list[Raw], "page_context": _Context})
            for source in entity.sources
        }

    def page(self, source: Source, body: bytes) -> Page:
        """The rows of a page; `SourceAnswerInvalid` for anything but a list of records with ids."""
        found = _picked(self._pages[source.list_key], body)
        if source.list_key not in found:
            raise SourceAnswerInvalid(f"the answer has no {source.list_key}")
        rows = tuple(Listed(self._record(bytes(raw)), self._entity, source.name) for raw in found[source.list_key])
        context = found.get("page_context")
        if context is None:
            return Page(rows=rows)
        return Page(rows=rows, has_more=context.has_more_page, page=context.page, sort_column=context.sort_column)

    def detail(self, source: Source, body: bytes) -> Detail:
        """The record of a detail answer; `SourceAnswerInvalid` where there is none."""
        found = _picked(self._details[source.detail_key], body)
        if source.detail_key not in found:
            raise SourceAnswerInvalid(f"the answer has no {source.detail_key}")
        return self._record(bytes(found[source.detail_key]))

    def _record(self, raw: bytes) -> Detail:
        document = _picked(self._named, raw)
        try:
            record = self._entity.shape.identity(document)
        except Unfit as error:
            raise SourceAnswerInvalid(f"a record {error}") from error
        try:
            return Detail(record, self._entity.shape.stamp(document), raw)
        except Unfit:
            return Detail(record, None, raw)  # its entity says what is wrong with it


def pickers(entities: Entities) -> dict[str, Picker]:
    """One for each entity."""
    return {entity.name: Picker(entity) for entity in entities}


def _keys(record: Record) -> list[str]:
    """The first keys of the paths that name a record and its version."""
    paths = [one for found in (record.id, record.modified) for one in ([found] if isinstance(found, str) else found)]
    return sorted({path.partition(".")[0] for path in paths})


def _picking(kinds: Mapping[str, Any]) -> Callable[[bytes], Document]:
    """A decoder of an object to a document with just these keys, where they are there."""
    names = {f"field{place}": key for place, key in enumerate(kinds)}
    fields = [(name, kinds[key] | UnsetType, UNSET) for name, key in names.items()]
    shape = msgspec.defstruct("Picked", fields, rename=names)
    decode = msgspec.json.Decoder(shape, strict=False).decode

    def pick(body: bytes) -> Document:
        found = decode(body)
        values = ((key, getattr(found, name)) for name, key in names.items())
        return {key: value for key, value in values if value is not UNSET}

    return pick


def _picked(pick: Callable[[bytes], Document], body: bytes) -> Document:
    try:
        return payload.guarded(pick, body)
    except Malformed as error:
        raise SourceAnswerInvalid(f"the answer is malformed: {error}") from error
