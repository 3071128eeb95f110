"""Says which record a delivery is about, by its route and its top-level key, reading as little of it as that takes.

A delivery is a snapshot of one record without event, operation or number of its own. What cannot be named is still
kept, under its route's entity and with no record, because it was signed and may be all there ever is of that change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw, Struct

from actors.zoho.mapping import Record, Webhook
from actors.zoho.payload import Malformed, form_fields, guarded, is_form

UNKNOWN = "unknown"
EVENT_NAMES = ("event", "event_type")
EVENT_ID = "event_id"

_LONGEST_ID = 100
_WRAPPER = "JSONString"

Fields = Mapping[str, str]
Document = dict[str, Raw]

_decode_document = msgspec.json.Decoder(Document).decode
_decode_text = msgspec.json.Decoder(str | int).decode


class Kind(Struct, frozen=True, kw_only=True):
    """What must be known of one entity to recognise its deliveries."""

    entity: str
    webhook: Webhook
    record: Record


class Mapped(Protocol):
    """An entity, as far as its deliveries go; `webhook` is None when it sends none."""

    @property
    def name(self) -> str: ...
    @property
    def webhook(self) -> Webhook | None: ...
    @property
    def record(self) -> Record: ...


class Named(Struct, frozen=True, kw_only=True):
    """The record, its version (aware, UTC; None when the delivery has none) and what happened to it."""

    entity: str
    record: str = ""
    variant: str = ""
    modified_at: datetime | None = None
    operation: Literal["upsert", "delete", "fetch"] = "upsert"
    event_id: str | None = None


def kinds(entities: Iterable[Mapped]) -> tuple[Kind, ...]:
    """The kinds of the entities that send webhooks."""
    return tuple(
        Kind(entity=entity.name, webhook=entity.webhook, record=entity.record)
        for entity in entities
        if entity.webhook is not None
    )


class Names:
    """Compiled once from the kinds; naming a delivery of 700 bytes takes a few microseconds."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._by_segment: dict[str, list[_Reader]] = {}
        self._by_key: dict[str, list[_Reader]] = {}
        for kind in kinds:
            reader = _Reader(kind)
            for segment in kind.webhook.paths:
                self._by_segment.setdefault(segment, []).append(reader)
            for key in kind.webhook.keys:
                self._by_key.setdefault(key, []).append(reader)

    @property
    def segments(self) -> frozenset[str]:
        """The routes that have an entity."""
        return frozenset(self._by_segment)

    def name(self, segment: str, query: str, content_type: str, body: bytes, *, deleted: bool = False) -> Named:
        """Name one delivery; never fails.

        `deleted`: the route or the method says so, which nobody has signed: a captured change could be sent there
        again. It is a reason to ask the source; only what is signed (query, form, body) is taken at its word.
        """
        parameters = dict(parse_qsl(query, keep_blank_values=True)) if query else {}
        try:
            fields, document = _document(content_type, body)
        except Malformed:
            fields, document = {}, {}
        named = self._find(self._by_segment.get(segment, []), document)
        told = [parameters, fields, document]
        if _tells_deletion(told):
            named = msgspec.structs.replace(named, operation="delete")
        elif deleted:
            named = msgspec.structs.replace(named, operation="fetch" if named.record else "delete")
        event_id = identifier(_said(told, EVENT_ID))
        return msgspec.structs.replace(named, event_id=event_id) if event_id else named

    def _find(self, expected: list[_Reader], document: Mapping[str, Any]) -> Named:
        for key in document:
            readers = self._by_key.get(key, ())
            if readers and (named := _first_match(expected, readers, key, document[key])) is not None:
                return named
        for reader in expected:
            if (named := reader.read("", document)) is not None:
                return named
        return Named(entity=expected[0].entity if expected else UNKNOWN)


def is_deletion(event: str) -> bool:
    """Whether the name of an event says that a record is gone."""
    return event.lower().endswith(("delete", "deleted"))


def identifier(text: str) -> str | None:
    """An id that a text column can hold: no NUL, no lone surrogate, nothing invisible."""
    stripped = text.strip()
    return stripped if 0 < len(stripped) <= _LONGEST_ID and stripped.isprintable() else None


def _first_match(expected: list[_Reader], readers: Iterable[_Reader], key: str, inner: Any) -> Named | None:
    """The route's own entity first, when it knows the key; then whoever else does (`when` decides among contacts)."""
    if not isinstance(inner, Raw):
        return None
    try:
        record = guarded(_decode_document, bytes(inner))
    except Malformed:
        return None
    ordered = sorted(readers, key=lambda reader: reader not in expected)
    matches = (named for reader in ordered if (named := reader.read(key, record)) is not None)
    return next(matches, None)


class _Reader:
    """Reads id and version of one kind from a record's fields."""

    def __init__(self, kind: Kind) -> None:
        self.entity = kind.entity
        self._variants = kind.webhook.keys
        self._when = kind.webhook.when
        self._id, self._modified = _paths(kind.record.id), _paths(kind.record.modified)

    def read(self, key: str, record: Mapping[str, Any]) -> Named | None:
        """None when there is no usable id, or the record says that it is of another kind."""
        record_id = _first(self._id, record, identifier)
        if record_id is None or not self._is_meant(record):
            return None
        variant = self._variants.get(key) or next(iter(self._variants.values()), "")
        modified_at = _first(self._modified, record, _as_time)
        return Named(entity=self.entity, record=record_id, variant=variant, modified_at=modified_at)

    def _is_meant(self, record: Mapping[str, Any]) -> bool:
        """A field that is absent contradicts nothing: a deletion may carry the id alone."""
        return all(_text(record.get(field)) in (None, "", wanted) for field, wanted in self._when.items())


def _document(content_type: str, body: bytes) -> tuple[Fields, Mapping[str, Any]]:
    """A form's fields beside the document, and its top level: undecoded JSON values, or the fields of a plain form."""
    if not is_form(content_type):
        return {}, guarded(_decode_document, body)
    fields = form_fields(body)
    wrapped = fields.pop(_WRAPPER, None)
    return ({}, fields) if wrapped is None else (fields, guarded(_decode_document, wrapped.encode()))


def _tells_deletion(told: Iterable[Mapping[str, Any]]) -> bool:
    return any(is_deletion(_said(told, name)) for name in EVENT_NAMES)


def _said(told: Iterable[Mapping[str, Any]], name: str) -> str:
    """What the first of them says of it that says anything."""
    return next((text for one in told if (text := _text(one.get(name)))), "")


def _paths(paths: str | list[str]) -> tuple[tuple[str, ...], ...]:
    listed = [paths] if isinstance(paths, str) else paths
    return tuple(tuple(path.split(".")) for path in listed)


def _first(paths: Iterable[tuple[str, ...]], record: Mapping[str, Any], accept: Callable[[str], Any]) -> Any:
    for path in paths:
        text = _text(_walk(record, path))
        if text and (value := accept(text)) is not None:
            return value
    return None


def _walk(record: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value = record.get(path[0])
    for step in path[1:]:
        if not isinstance(value, Raw):
            return None
        try:
            value = guarded(_decode_document, bytes(value)).get(step)
        except Malformed:
            return None
    return value


def _text(value: Any) -> str | None:
    """A form's field, or a JSON string or integer; None for anything else."""
    if not isinstance(value, Raw):
        return value if isinstance(value, str) else None
    try:
        return str(guarded(_decode_text, bytes(value)))
    except Malformed:
        return None


def _as_time(text: str) -> datetime | None:
    """A time with an offset; one without could be anywhere in the world."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None
