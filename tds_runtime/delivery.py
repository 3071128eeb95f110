"""What a batch of deliveries adds up to, before anything of it is stored: repeats, rounds, one change a record."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import blake2b

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tds_runtime.connection import storable
from tds_runtime.task import Change, Operation, digest, verdict

Owner = tuple[str, str, str]
"""Source, entity and record."""

_encode = msgspec.json.Encoder().encode


class Delivery(Struct, frozen=True, kw_only=True, gc=False):
    """What a sender gave us, named: `body` as it came, `source_entity_id` "" when it could not be named.

    `event_id` is the sender's own number of the delivery, if it has one; `variant` names the entity's source block.
    """

    source: str
    entity_type: str
    source_entity_id: str
    operation: Operation
    modified_at: datetime | None
    body: bytes
    content_type: str
    query: str
    correlation_id: str
    event_id: str | None = None
    variant: str = ""


class Entry(Struct, frozen=True, gc=False):
    """A delivery with its place in the batch, whose task it is, and what makes it a repeat (`hash`, `key` in hex)."""

    place: int
    delivery: Delivery
    owner: Owner
    hash: str
    key: str

    @classmethod
    def of(cls, place: int, delivery: Delivery) -> Entry:
        """Take a delivery into a batch; one that could not be named owns a task by its content."""
        content = digest(delivery.body)
        stamp = "" if delivery.modified_at is None else delivery.modified_at.isoformat()
        words = f"{delivery.operation}\0{stamp}\0{delivery.variant}\0{delivery.query}".encode("utf-8", "replace")
        key = blake2b(content + words, digest_size=16).hexdigest()
        record = storable(delivery.source_entity_id) or f"body:{content.hex()}"
        return cls(place, delivery, (delivery.source, delivery.entity_type, record), content.hex(), key)


class _Row(Struct):
    """One delivery as intake/store.sql reads it."""

    source: str
    entity_type: str
    source_entity_id: str
    record: str
    operation: str
    modified_at: datetime | None
    content_type: str
    query: str
    correlation_id: str
    variant: str
    key: str
    hash: str
    event_id: str | None
    last: bool


class _Folded(Struct):
    """The one change that several deliveries of a record add up to; numbers count from 1 within the statement."""

    winner: int
    operation: Operation
    folded: int
    first: int
    final: int


def fold_repeats(entries: Iterable[Entry]) -> tuple[list[Entry], dict[int, int]]:
    """Split off what repeats its predecessor of the same record, or an event id of the batch: place -> place."""
    latest: dict[Owner, Entry] = {}
    events: dict[tuple[str, str], Entry] = {}
    fresh: list[Entry] = []
    repeats: dict[int, int] = {}
    for entry in entries:
        event_id = entry.delivery.event_id
        before = events.get((entry.delivery.source, event_id)) if event_id else None
        same = latest.get(entry.owner)
        original = before or (same if same is not None and same.key == entry.key else None)
        if original is not None:
            repeats[entry.place] = original.place
            continue
        fresh.append(entry)
        latest[entry.owner] = entry
        if event_id:
            events[entry.delivery.source, event_id] = entry
    return fresh, repeats


def rounds(entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """The first delivery of each record, which may repeat what is stored, and the others, which cannot."""
    first: list[Entry] = []
    later: list[Entry] = []
    seen: set[Owner] = set()
    for entry in entries:
        (later if entry.owner in seen else first).append(entry)
        seen.add(entry.owner)
    return first, later


def parameters(entries: Sequence[Entry], *, compare: bool) -> tuple[str, list[bytes], bool, str]:
    """The parameters of intake/store.sql; `compare` when the first of each record may repeat what is stored."""
    final = {entry.owner: entry.place for entry in entries}
    rows = [_row(entry, last=final[entry.owner] == entry.place) for entry in entries]
    bodies = [entry.delivery.body for entry in entries]
    return _encode(rows).decode(), bodies, compare, _encode(_fold_changes(entries)).decode()


def _row(entry: Entry, *, last: bool) -> _Row:
    one = entry.delivery
    return _Row(
        one.source,
        one.entity_type,
        storable(one.source_entity_id),
        entry.owner[2],
        one.operation,
        one.modified_at,
        storable(one.content_type),
        storable(one.query),
        storable(one.correlation_id),
        one.variant,
        entry.key,
        entry.hash,
        one.event_id,
        last,
    )


def _fold_changes(entries: Sequence[Entry]) -> list[_Folded]:
    folded: dict[Owner, _Folded] = {}
    for number, entry in enumerate(entries, 1):
        known = folded.get(entry.owner)
        if known is None:
            folded[entry.owner] = _Folded(number, entry.delivery.operation, 0, number, number)
        else:
            _add(known, entries, number)
    return list(folded.values())


def _add(known: _Folded, entries: Sequence[Entry], number: int) -> None:
    earlier = replace(_change(entries[known.winner - 1]), operation=known.operation)
    later = _change(entries[number - 1])
    known.folded += 1
    known.final = number
    decided = verdict(earlier, later)
    if decided == "earlier":
        return
    known.winner = number
    known.operation = "fetch" if decided == "fetch" else later.operation


def _change(entry: Entry) -> Change:
    return Change(
        entity_type=entry.delivery.entity_type,
        source_entity_id=entry.owner[2],
        operation=entry.delivery.operation,
        payload=entry.delivery.body,
        payload_kind="webhook",
        source_modified_at=entry.delivery.modified_at,
    )
