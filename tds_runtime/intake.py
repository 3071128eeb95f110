"""Durable acknowledgement: deliveries and the tasks they cause, committed in groups, before anybody is answered.

Only a repeat of the latest delivery of a record is a duplicate (A, B, A are three changes), and it writes, too. A body
that could not be named is kept under its route's entity with record '' and a task of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import asyncpg
from msgspec import Struct

from tds_runtime import sql
from tds_runtime.account import Account
from tds_runtime.connection import is_lost
from tds_runtime.context import Context
from tds_runtime.database import Connection, Database
from tds_runtime.delivery import Delivery, Entry, fold_repeats, parameters, rounds
from tds_runtime.errors import DatabaseGone
from tds_runtime.inbox import Inbox
from tds_runtime.mailbox import Mailbox
from tds_runtime.ref import Call
from tds_runtime.spec import actor

__all__ = ["Delivery", "Receipt", "Store", "replay", "store", "writer"]

AT_ONCE = 16
"""Deliveries in one commit, or half of what waits: with all of them in it there is nobody left to read meanwhile."""

TRIES = 3  # for deadlocks and serialization failures, which say that nothing was stored
KEPT = 30.0  # seconds that an idle writer keeps its connection
ADMITTED = 5.0  # seconds that deliveries wait for a database that has not answered since the start
LOOK = 0.02  # seconds between looks whether it has

OnStored = Callable[[frozenset[str]], None]


class Receipt(Struct, frozen=True, gc=False):
    """What was stored, or, for a duplicate, where its first delivery was stored."""

    inbox_id: int
    duplicate: bool
    event_id: str


class Store(Call[Receipt], frozen=True, gc=False):
    """Ask the writer to store a delivery; the answer comes after its commit."""

    delivery: Delivery


async def store(database: Database, deliveries: Sequence[Delivery]) -> list[Receipt]:
    """Commit deliveries and their tasks together; the receipts are in the order given.

    Raises:
        DatabaseGone: nothing is known about the outcome; storing the same again is harmless.
        asyncpg.PostgresError: the server rejected at least one of them; nothing was stored.
    """
    async with database.connection("ingest") as connection:
        return await _store(database, connection, deliveries)


@actor(mailbox=Mailbox(2048, overflow="reject"), watchdog=60, stop=10)
async def writer(
    ctx: Context, inbox: Inbox[Store], *, database: Database, on_stored: OnStored = lambda _entities: None
) -> None:
    """Store what waits, answer each after its commit; what cannot be stored now is let go, which fails its asker."""
    ctx.ready()
    writing = _Writer(inbox, database, on_stored)
    try:
        questions = await writing.taken()
        await writing.admitted()
        while questions:
            questions = await writing.write(questions) or await writing.taken()
    finally:
        writing.account.say()


class _Writer:
    """Writes on one connection for as long as deliveries come: to lend one costs more than to store three."""

    def __init__(self, inbox: Inbox[Store], database: Database, on_stored: OnStored) -> None:
        self._inbox, self._database, self._on_stored = inbox, database, on_stored
        self.account = Account()

    async def taken(self) -> list[Store]:
        """Wait for deliveries and take the oldest; none when the actor is to stop."""
        while True:
            with anyio.move_on_after(self.account.wait):
                return await self._inbox.batch(max(AT_ONCE, len(self._inbox.box.waiting) // 2))
            self.account.say()

    async def admitted(self) -> None:
        """Hold the first deliveries back until the database answers: a restart refuses nobody, for few ask twice."""
        with anyio.move_on_after(ADMITTED):
            while self._database.begins:  # noqa: ASYNC110 - a look is one comparison, and only at a start
                await anyio.sleep(LOOK)

    async def write(self, questions: list[Store]) -> list[Store]:
        """Store these and what comes after them; returns what came when the connection had been lost meanwhile."""
        try:
            async with self._database.connection("ingest") as connection:
                while questions and not is_lost(connection.wire):
                    self._answer(questions, await self._stored(connection, [one.delivery for one in questions]))
                    questions = await self._soon()
        except DatabaseGone:
            return []  # letting go of a question without a reply fails its asker at once
        return questions

    async def _soon(self) -> list[Store]:
        if self._database.options.ingest_connections == 1:
            return []  # the heartbeat needs it as well
        with anyio.move_on_after(KEPT):
            return await self.taken()
        return []

    def _answer(self, questions: Sequence[Store], receipts: Sequence[Receipt | None]) -> None:
        stored = []
        for question, receipt in zip(questions, receipts, strict=True):
            if receipt is not None:
                self._inbox.reply(question, receipt)
                stored.append((question.delivery, receipt.duplicate))
        self._on_stored(frozenset(delivery.entity_type for delivery, _ in stored))
        self.account.add(stored, len(questions) - len(stored))

    async def _stored(self, connection: Connection, deliveries: Sequence[Delivery]) -> list[Receipt | None]:
        """Store them together; when the server rejects one, halve until only that one is refused (None)."""
        try:
            return [*await _store(self._database, connection, deliveries)]
        except asyncpg.PostgresError:
            if len(deliveries) == 1:
                return [None]
        half = len(deliveries) // 2
        first = await self._stored(connection, deliveries[:half])
        return [*first, *await self._stored(connection, deliveries[half:])]


async def replay(connection: Connection | Database, inbox_ids: Sequence[int], *, correlation_id: str = "") -> int:
    """Enqueue again what was received before, the latest of each record; returns how many tasks that is."""
    return int(await connection.fetchval(sql.load("intake/replay"), sorted(inbox_ids), correlation_id))


async def _store(database: Database, connection: Connection, deliveries: Sequence[Delivery]) -> list[Receipt]:
    entries = [Entry.of(place, delivery) for place, delivery in enumerate(deliveries)]
    for _ in range(TRIES - 1):
        try:
            return await _store_entries(database, connection, entries)
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
            continue
    return await _store_entries(database, connection, entries)


async def _store_entries(database: Database, connection: Connection, entries: Sequence[Entry]) -> list[Receipt]:
    fresh, repeats = fold_repeats(entries)
    first, later = rounds(fresh)
    if not later and not any(entry.delivery.event_id for entry in first):
        receipts = await _store_round(connection, first, compare=True)
    else:
        async with database.transaction_on(connection):
            receipts = await _store_rounds(connection, fresh)
    for repeat, original in repeats.items():
        receipts[repeat] = Receipt(receipts[original].inbox_id, True, receipts[original].event_id)
    return [receipts[entry.place] for entry in entries]


async def _store_rounds(connection: Connection, fresh: Sequence[Entry]) -> dict[int, Receipt]:
    """Store several deliveries of one record: the first is compared with what is stored, the others follow it."""
    receipts = await _known_events(connection, fresh)
    new = [entry for entry in fresh if entry.place not in receipts]
    for compare, entries in zip((True, False), rounds(new), strict=True):
        if entries:
            receipts |= await _store_round(connection, entries, compare=compare)
    named = [(entry.delivery, receipts[entry.place].inbox_id) for entry in new if entry.delivery.event_id]
    if named:
        await connection.execute(
            sql.load("intake/name_events"),
            [one.source for one, _ in named], [one.event_id for one, _ in named], [inbox_id for _, inbox_id in named],
        )  # fmt: skip
    return receipts


async def _store_round(connection: Connection, entries: Sequence[Entry], *, compare: bool) -> dict[int, Receipt]:
    rows = await connection.fetch(sql.load("intake/store"), *parameters(entries, compare=compare))
    return _receipts(entries, rows)


async def _known_events(connection: Connection, entries: Sequence[Entry]) -> dict[int, Receipt]:
    """Take the senders' own event ids; returns the receipts of those that were delivered before."""
    numbered = {(one.delivery.source, one.delivery.event_id): one for one in entries if one.delivery.event_id}
    if not numbered:
        return {}
    keys = sorted(numbered)
    rows = await connection.fetch(
        sql.load("intake/take_events"), [source for source, _ in keys], [event_id for _, event_id in keys]
    )
    return {numbered[source, event_id].place: Receipt(inbox_id, True, event_id) for source, event_id, inbox_id in rows}


def _receipts(entries: Sequence[Entry], rows: Sequence[Any]) -> dict[int, Receipt]:
    return {
        entry.place: Receipt(inbox_id, duplicate, entry.delivery.event_id or f"evt-{inbox_id}")
        for entry, (inbox_id, duplicate) in zip(entries, rows, strict=True)
    }
