"""Durable acknowledgement: deliveries and the tasks they cause, committed in groups, before anybody is answered.

Only a repeat of the latest delivery of a record is a duplicate (A, B, A are three changes), and it writes, too. A body
that could not be named is kept under its route's entity with record '' and a task of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from hashlib import blake2b
from typing import Any

import asyncpg
from msgspec import Struct
from msgspec.structs import replace

from tds_runtime import columns, sql
from tds_runtime.context import Context
from tds_runtime.database import Connection, Database, storable
from tds_runtime.errors import DatabaseGone
from tds_runtime.inbox import Inbox
from tds_runtime.mailbox import Mailbox
from tds_runtime.ref import Call
from tds_runtime.spec import actor
from tds_runtime.task import Change, Operation, digest, verdict

AT_ONCE = 256  # deliveries in one commit
TRIES = 3  # for deadlocks and serialization failures, which say that nothing was stored

OnStored = Callable[[frozenset[str]], None]


class Delivery(Struct, frozen=True, kw_only=True):
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


class Receipt(Struct, frozen=True):
    """What was stored, or, for a duplicate, where its first delivery was stored."""

    inbox_id: int
    duplicate: bool
    event_id: str


class Store(Call[Receipt], frozen=True):
    """Ask the writer to store a delivery; the answer comes after its commit."""

    delivery: Delivery


class _Entry(Struct, frozen=True):
    """A delivery with its place in the batch, the record its task is about, and what makes it a repeat."""

    place: int
    delivery: Delivery
    record: str
    hash: bytes
    key: bytes

    @property
    def owner(self) -> tuple[str, str, str]:
        return self.delivery.source, self.delivery.entity_type, self.record


class _Folded(Struct):
    """The one change that several deliveries of a record add up to; numbers count from 1 within the statement."""

    change: Change
    winner: int
    count: int
    first: int
    final: int


async def store(database: Database, deliveries: Sequence[Delivery]) -> list[Receipt]:
    """Commit deliveries and their tasks together; the receipts are in the order given.

    Raises:
        DatabaseGone: nothing is known about the outcome; storing the same again is harmless.
        asyncpg.PostgresError: the server rejected at least one of them; nothing was stored.
    """
    entries = [_entry(place, delivery) for place, delivery in enumerate(deliveries)]
    for _ in range(TRIES - 1):
        try:
            return await _store(database, entries)
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            continue
    return await _store(database, entries)


@actor(mailbox=Mailbox(2048, overflow="reject"), watchdog=60, stop=10)
async def writer(
    ctx: Context, inbox: Inbox[Store], *, database: Database, on_stored: OnStored = lambda _entities: None
) -> None:
    """Store what waits, answer each after its commit; what cannot be stored now is let go, which fails its asker."""
    ctx.ready()
    while questions := await inbox.batch(AT_ONCE):
        try:
            receipts = await _store_each(database, [question.delivery for question in questions])
        except DatabaseGone:
            continue  # letting go of a question without a reply fails its asker at once
        stored = set()
        for question, receipt in zip(questions, receipts, strict=True):
            if receipt is not None:
                inbox.reply(question, receipt)
                stored.add(question.delivery.entity_type)
        on_stored(frozenset(stored))


async def replay(database: Database, inbox_ids: Sequence[int], *, correlation_id: str = "") -> int:
    """Enqueue again what was received before, the latest of each record; returns how many tasks that is."""
    return int(await database.fetchval(sql.load("intake/replay"), sorted(inbox_ids), correlation_id))


async def _store_each(database: Database, deliveries: Sequence[Delivery]) -> list[Receipt | None]:
    """Store them together; when the server rejects one, halve until only that one is refused (None)."""
    try:
        return [*await store(database, deliveries)]
    except asyncpg.PostgresError:
        if len(deliveries) == 1:
            return [None]
    half = len(deliveries) // 2
    return [*await _store_each(database, deliveries[:half]), *await _store_each(database, deliveries[half:])]


async def _store(database: Database, entries: Sequence[_Entry]) -> list[Receipt]:
    fresh, repeats = _fold_repeats(entries)
    first, later = _rounds(fresh)
    if not later and not any(entry.delivery.event_id for entry in first):
        rows = await database.fetch(sql.load("intake/store"), *_arguments(first, compare=True), pool="ingest")
        receipts = _receipts(first, rows)
    else:
        async with database.transaction("ingest") as connection:
            receipts = await _store_rounds(connection, fresh)
    for repeat, original in repeats.items():
        receipts[repeat] = Receipt(receipts[original].inbox_id, True, receipts[original].event_id)
    return [receipts[entry.place] for entry in entries]


async def _store_rounds(connection: Connection, fresh: Sequence[_Entry]) -> dict[int, Receipt]:
    """Store several deliveries of one record: the first is compared with what is stored, the others follow it."""
    receipts = await _known_events(connection, fresh)
    new = [entry for entry in fresh if entry.place not in receipts]
    for compare, entries in zip((True, False), _rounds(new), strict=True):
        if entries:
            rows = await connection.fetch(sql.load("intake/store"), *_arguments(entries, compare=compare))
            receipts |= _receipts(entries, rows)
    named = [(entry.delivery, receipts[entry.place].inbox_id) for entry in new if entry.delivery.event_id]
    if named:
        await connection.execute(
            sql.load("intake/name_events"),
            [one.source for one, _ in named], [one.event_id for one, _ in named], [inbox_id for _, inbox_id in named],
        )  # fmt: skip
    return receipts


async def _known_events(connection: Connection, entries: Sequence[_Entry]) -> dict[int, Receipt]:
    """Take the senders' own event ids; returns the receipts of those that were delivered before."""
    numbered = {(one.delivery.source, one.delivery.event_id): one for one in entries if one.delivery.event_id}
    if not numbered:
        return {}
    keys = sorted(numbered)
    rows = await connection.fetch(
        sql.load("intake/take_events"), [source for source, _ in keys], [event_id for _, event_id in keys]
    )
    return {numbered[source, event_id].place: Receipt(inbox_id, True, event_id) for source, event_id, inbox_id in rows}


def _fold_repeats(entries: Iterable[_Entry]) -> tuple[list[_Entry], dict[int, int]]:
    """Split off what repeats its predecessor of the same record, or an event id of the batch: place -> place."""
    latest: dict[tuple[str, str, str], _Entry] = {}
    events: dict[tuple[str, str], _Entry] = {}
    fresh: list[_Entry] = []
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


def _rounds(entries: Iterable[_Entry]) -> tuple[list[_Entry], list[_Entry]]:
    """The first delivery of each record, which may repeat what is stored, and the others, which cannot."""
    first: list[_Entry] = []
    later: list[_Entry] = []
    seen: set[tuple[str, str, str]] = set()
    for entry in entries:
        (later if entry.owner in seen else first).append(entry)
        seen.add(entry.owner)
    return first, later


def _entry(place: int, delivery: Delivery) -> _Entry:
    content = digest(delivery.body)
    stamp = "" if delivery.modified_at is None else delivery.modified_at.isoformat()
    words = f"{delivery.operation}\0{stamp}\0{delivery.variant}\0{delivery.query}".encode("utf-8", "replace")
    key = blake2b(content + words, digest_size=16).digest()
    record = storable(delivery.source_entity_id) or f"body:{content.hex()}"
    return _Entry(place, delivery, record, content, key)


def _receipts(entries: Sequence[_Entry], rows: Sequence[Any]) -> dict[int, Receipt]:
    return {
        entry.place: Receipt(inbox_id, duplicate, entry.delivery.event_id or f"evt-{inbox_id}")
        for entry, (inbox_id, duplicate) in zip(entries, rows, strict=True)
    }


def _arguments(entries: Sequence[_Entry], *, compare: bool) -> tuple[str, list[bytes], bool, str]:
    """Lay out the parameters of intake/store.sql."""
    final = {entry.owner: entry.place for entry in entries}
    rows = [_row(entry, last=final[entry.owner] == entry.place) for entry in entries]
    changes = [
        {
            "winner": one.winner,
            "operation": one.change.operation,
            "folded": one.count,
            "first": one.first,
            "final": one.final,
        }
        for one in _fold_changes(entries)
    ]
    return columns.encoded(rows), [entry.delivery.body for entry in entries], compare, columns.encoded(changes)


def _row(entry: _Entry, *, last: bool) -> dict[str, Any]:
    one = entry.delivery
    return {
        "source": one.source,
        "entity_type": one.entity_type,
        "source_entity_id": storable(one.source_entity_id),
        "record": entry.record,
        "operation": one.operation,
        "modified_at": one.modified_at,
        "content_type": storable(one.content_type),
        "query": storable(one.query),
        "correlation_id": storable(one.correlation_id),
        "variant": one.variant,
        "key": entry.key.hex(),
        "hash": entry.hash.hex(),
        "event_id": one.event_id,
        "last": last,
    }


def _fold_changes(entries: Sequence[_Entry]) -> list[_Folded]:
    folded: dict[tuple[str, str, str], _Folded] = {}
    for number, entry in enumerate(entries, 1):
        change = _change(entry)
        known = folded.get(entry.owner)
        if known is None:
            folded[entry.owner] = _Folded(change, number, 0, number, number)
        else:
            _add(known, change, number)
    return list(folded.values())


def _add(known: _Folded, change: Change, number: int) -> None:
    known.count += 1
    known.final = number
    decided = verdict(known.change, change)
    if decided == "earlier":
        return
    known.winner, known.change = number, change
    if decided == "fetch":
        known.change = replace(change, operation="fetch")


def _change(entry: _Entry) -> Change:
    return Change(
        entity_type=entry.delivery.entity_type,
        source_entity_id=entry.record,
        operation=entry.delivery.operation,
        payload=entry.delivery.body,
        payload_kind="webhook",
        source_modified_at=entry.delivery.modified_at,
    )
