"""Which rows of an answer become changes: pure, so that what a pull drops can be reasoned about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec
from msgspec import Struct

from actors.zoho.documents import Mapped
from actors.zoho.entities import Entity, Source
from tds_runtime.records import State
from tds_runtime.task import Change

IMAGE = "product_image"
"""The entity of pictures; its records are items, its variant is the picture's document id."""


class Row(Protocol):
    """One record of an answer, named, stamped and, when asked, mapped."""

    @property
    def id(self) -> str: ...
    @property
    def modified_at(self) -> datetime | None: ...
    @property
    def raw(self) -> bytes: ...
    @property
    def facets(self) -> Mapping[str, str]: ...
    @property
    def valid(self) -> bool: ...
    @property
    def mapped(self) -> Mapped | None: ...


class Asked(Struct, frozen=True, kw_only=True):
    """What all changes of one answer have in common; `force` takes what is stored for not stored."""

    run_id: int | None
    priority: int
    correlation_id: str
    observed_at: datetime
    kind: Literal["list", "detail"] = "list"
    force: bool = False


def sift(entity: Entity, source: Source, rows: Sequence[Row], known: Mapping[str, State], asked: Asked) -> list[Change]:
    """The changes in these rows: what is stored in this very version and content is dropped."""
    by_detail = asked.kind == "list" and source.details == "changed"
    complete = frozenset({"detail"}) if by_detail and has_detail(entity) else frozenset()
    fresh = [row for row in rows if asked.force or not _stored(row, known.get(row.id), complete, older=by_detail)]
    return [(_fetch if by_detail else _upsert)(entity, source, row, asked) for row in fresh]


def has_detail(entity: Entity) -> bool:
    """Whether some columns come with the detail only."""
    return any(field.facet == "detail" for field in entity.target.fields)


def _stored(row: Row, state: State | None, complete: frozenset[str], *, older: bool) -> bool:
    """Whether a row may be dropped; its content is looked at last, because that maps it."""
    if state is None:
        return False
    if older and _is_older(row, state):
        return True  # its detail would come back as the newer version, which is stored
    if state.tombstoned_at is not None or not complete <= state.current:
        return False
    if row.modified_at is not None and row.modified_at != state.modified_at:
        return False
    return row.valid and state.holds(row.modified_at, row.facets)


def _is_older(row: Row, state: State) -> bool:
    stamps = row.modified_at, state.modified_at
    return state.tombstoned_at is None and None not in stamps and row.modified_at < state.modified_at  # type: ignore[operator] # neither is None here


def _upsert(entity: Entity, source: Source, row: Row, asked: Asked) -> Change:
    return Change(
        entity_type=entity.name,
        source_entity_id=row.id,
        payload=row.raw,
        payload_kind=asked.kind,
        variant=source.name,
        source_modified_at=row.modified_at,
        observed_at=asked.observed_at,
        priority=asked.priority,
        run_id=asked.run_id,
        correlation_id=asked.correlation_id,
    )


def _fetch(entity: Entity, source: Source, row: Row, asked: Asked) -> Change:
    return Change(
        entity_type=entity.name,
        source_entity_id=row.id,
        operation="fetch",
        variant=source.name,
        source_modified_at=row.modified_at,
        priority=asked.priority,
        run_id=asked.run_id,
        correlation_id=asked.correlation_id,
        reason="changed",
    )


def confirmations(entity: Entity, source: Source, ids: Iterable[str], asked: Asked, reason: str) -> list[Change]:
    """Records that a listing did not show: asked for one by one, because only a 404 of their own proves them gone.

    A list that comes whole in one answer, of records that cannot be asked for, is proof enough.
    """
    operation: Literal["fetch", "delete"] = "fetch" if source.detail_path else "delete"
    return [
        Change(
            entity_type=entity.name,
            source_entity_id=one,
            operation=operation,
            variant=source.name,
            observed_at=asked.observed_at if operation == "delete" else None,
            priority=asked.priority,
            run_id=asked.run_id,
            correlation_id=asked.correlation_id,
            reason=reason,
        )
        for one in ids
    ]


# --- pictures


class _Pictured(Struct, frozen=True):
    image_document_id: str = ""


_decode_picture = msgspec.json.Decoder(_Pictured).decode


def unpictured(items: Iterable[str], asked: Asked) -> list[Change]:
    """Pictures to be removed: a task without a document means that there is none."""
    return [_picture(item, "", asked, "item is gone") for item in items]


def pictures(rows: Iterable[Row], kept: Mapping[str, str], asked: Asked) -> list[Change]:
    """Items whose picture is not the one in the directory; `kept` is item to document id."""
    found = ((row.id, _document(row.raw)) for row in rows)
    return [
        _picture(item, document, asked, "picture changed") for item, document in found if document != kept.get(item, "")
    ]


def _picture(item: str, document: str, asked: Asked, reason: str) -> Change:
    return Change(
        entity_type=IMAGE,
        source_entity_id=item,
        operation="fetch",
        variant=document,
        priority=asked.priority,
        correlation_id=asked.correlation_id,
        reason=reason,
    )


def _document(raw: bytes) -> str:
    try:
        return _decode_picture(raw).image_document_id
    except (msgspec.DecodeError, RecursionError):
        return ""
