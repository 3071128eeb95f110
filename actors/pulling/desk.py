"""What a run in hand works with: it writes step after step, waits out short pauses, and keeps the run's log."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any, TypeVar

import anyio
import asyncpg
from msgspec import Meta, Struct

from actors.pulling import sift
from actors.pulling.backlog import Backlog
from actors.pulling.sift import Asked, Row
from actors.zoho.client import Client
from actors.zoho.entities import Entity, Source
from actors.zoho.metering import Meter
from actors.zoho.picking import Picker
from tds_runtime import Context, logs, records, ride_out, running, sql
from tds_runtime.clock import DatabaseClock
from tds_runtime.config import Duration
from tds_runtime.database import Connection, Database
from tds_runtime.errors import DatabaseGone, Outage
from tds_runtime.queue import Queue
from tds_runtime.running import Claimed, Cost, Cursor, Step
from tds_runtime.runs import Level
from tds_runtime.task import FULL, INCREMENTAL, Change, Enqueued, Task

T = TypeVar("T")

MOST_PICTURES = 10_000

log = logs.get("pull")

ROOM_WITHIN = 1.0
"""Seconds that a step waits for its entity's actor to be ready for its tasks; the queue takes them then."""

Enqueue = Callable[[Connection, Iterable[Change]], Awaitable[Enqueued]]

Due = Callable[[Iterable[tuple[str, str]]], object]
"""Told (entity, "upsert" or "fetch") of what was just enqueued; a hint, the queue's own poll finds it as well."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [pull]."""

    parallel: int = 3
    """Runs at once; each lists one entity."""
    poll: Duration = Duration("60s")
    """A run whose wake-up was lost begins this late at most."""
    overlap: Duration = Duration("5m")
    """An incremental run reads again what changed this long before its cursor."""
    scan_every: Duration = Duration("6h")
    """Entities that cannot be asked for changes are listed whole by incremental runs, this often at most."""
    patience: Duration = Duration("2m")
    """A shorter outage of the source is waited out in the middle of a listing; a longer one puts the run back."""
    timeout: Duration = Duration("1h")
    """For the listing of one entity, and then for its tasks; what it waits for its entity to keep up is not counted."""
    backlog: Annotated[int, Meta(ge=1)] = 5000
    """Changes that may wait for one entity; with more of them its listing waits until it has written some."""
    missing: int = 5
    missing_share: float = 0.01
    """More absent records than both of these stop a sweep with an alarm instead of a deletion."""


class Batch(Struct, frozen=True, kw_only=True):
    """One step of a run: an answer's rows, the place behind them, and the cursor if they were the last.

    `complete` keeps the ids as seen by a complete listing; `missing` are ids that a bulk answer left out.
    """

    source: Source
    rows: Sequence[Row]
    asked: Asked
    position: Mapping[str, Any]
    page: int = 0
    complete: bool = False
    cursor: Cursor | None = None
    missing: Sequence[str] = ()

    @property
    def operation(self) -> str:
        """What its tasks wait for: their detail call, or their entity."""
        by_detail = self.asked.kind == "list" and self.source.details == "changed"
        return "fetch" if by_detail or self.missing else "upsert"


class _Written(Struct, frozen=True, kw_only=True):
    """What one step has brought: changes, and those tasks among them that were taken at once."""

    enqueued: int
    taken: tuple[Task, ...]

    @property
    def waiting(self) -> int:
        """Those that wait in the queue."""
        return self.enqueued - len(self.taken)


class Desk:
    """One run in hand; all its statements are fenced by it. `apis` names the API of each entity's details."""

    def __init__(
        self,
        ctx: Context,
        run: Claimed,
        entity: Entity,
        *,
        database: Database,
        queue: Queue,
        client: Client,
        options: Options,
        due: Due,
        images: bool,
        apis: Mapping[str, str],
        meter: Meter,
    ) -> None:
        self.ctx = ctx
        self.run = run
        self.entity = entity
        self.database = database
        self.client = client
        self.options = options
        self.apis = apis
        self.bulk = run.kind != "incremental"
        """Whether this run leaves the reserve of the day's calls to others."""
        self.picker = Picker(entity)
        self.limit = anyio.CancelScope()
        """Ends the listing when it takes too long."""
        self._queue = queue
        self._due = due
        self._images = images and entity.name == "product"
        self._clock = DatabaseClock()
        self._backlog = Backlog(entity.name, options.backlog, self._waiting)
        self._meter = meter

    @property
    def insists(self) -> bool:
        """Whether somebody said that it is to begin, whatever the day has left."""
        return bool(self.run.args.get("insist"))

    @property
    def is_closed(self) -> bool:
        """Whether the source takes no calls for this entity for longer than this run is patient."""
        apis = {source.api for source in self.entity.sources}
        closed = max((self.client.closed_until(api, bulk=self.bulk) or 0.0 for api in apis), default=0.0)
        return closed > time.time() + self.options.patience

    async def ride(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do something with the database, waiting out its outages."""
        return await ride_out(self.ctx, "database", operation)

    async def note(self, event: str, message: str = "", level: Level = "info", **detail: Any) -> None:
        """Add to the run's log and to the process's."""
        getattr(log, level)(f"run.{event}", kind=self.run.kind, message=message, **detail)
        await self.ride(lambda: running.log(self.database, self.run, level, event, message, **detail))

    async def count(self, source: Source, params: Mapping[str, str] | None = None) -> int | None:
        """What the source counts; waits out outages of the database, which keeps the token that the call needs."""
        count = partial(self.client.count, source, params)
        return await ride_out(self.ctx, "database", count, outages=(DatabaseGone,))

    # --- time

    async def set_clock(self) -> None:
        """Learn the database's time: what a call sees is at least as new as the time before it was asked."""
        await self.ride(lambda: self._clock.set(self.database))

    def asked(self, asked_at: float, *, kind: Any = "list") -> Asked:
        """What the changes of an answer to a call of that moment have in common."""
        return Asked(
            run_id=self.run.id,
            priority=FULL if self.bulk and self.run.kind in {"full", "incremental"} else INCREMENTAL,
            correlation_id=self.run.correlation_id,
            observed_at=self._clock.at(asked_at),
            kind=kind,
            force=bool(self.run.args.get("force")) or self.run.kind == "price_list",
        )

    async def sit_out(self, error: Outage) -> None:
        """Wait until a short outage should be over; a long one is raised again."""
        until = getattr(error, "until", None)
        seconds = 5.0 if until is None else (until - datetime.now(until.tzinfo)).total_seconds()
        if seconds > self.options.patience or self.ctx.stopping.is_set():
            raise error
        await self.note("waiting", str(error), "warning", seconds=round(seconds, 1))
        async with self.ctx.waiting("zoho"):
            with anyio.move_on_after(max(seconds, 0.1)):
                await self.ctx.stopping.wait()

    # --- steps

    async def write(self, batch: Batch) -> int:
        """One step, one transaction: what is not stored is enqueued, with the run's place and the cursor; how much.

        Raises `Backlogged`, after the step, where its entity does not keep up.
        """
        written = await self._through(batch, self._meter.take())
        self._hand_over(batch, written.taken)
        if written.enqueued:
            self._due([(self.entity.name, batch.operation)])
        self.ctx.beat()
        if written.waiting and batch.operation == "upsert":
            self._backlog.add(written.waiting)
            await self._backlog.wait(self.ctx, self._grant)
        return written.enqueued

    def _hand_over(self, batch: Batch, tasks: Sequence[Task]) -> None:
        """Give the entity's actor what was taken for it, mapped where the rows had to be mapped to be compared."""
        mapped = {row.id: row.mapped for row in batch.rows if row.mapped} if tasks else {}
        for task in tasks:
            if task.payload is not None and task.source_entity_id in mapped:
                self.entity.drafts.keep(task.payload, task.payload_kind, task.variant, mapped[task.source_entity_id])
        self._queue.hand_over(tasks)

    async def _through(self, batch: Batch, cost: Cost) -> _Written:
        """Write it, taking its tasks for the entity's actor if that is ready for them soon."""
        if batch.operation == "upsert" and await self._has_room(len(batch.rows)):
            try:
                return await self._taking(batch, cost)
            except asyncpg.UniqueViolationError:
                pass  # another node has claimed one of these records in this very moment: all of them are put then
        return await self.ride(lambda: self._write(batch, cost, self._queue.enqueue))

    async def _taking(self, batch: Batch, cost: Cost) -> _Written:
        """What was taken while the answer got lost is given back by the actor, once nothing is in its hands."""
        tries = 0

        async def write() -> _Written:
            nonlocal tries
            tries += 1
            return await self._write(batch, cost, self._queue.enqueue_taken if tries == 1 else self._queue.enqueue)

        try:
            return await self.ride(write)
        finally:
            if tries > 1:
                self._queue.handover(self.entity.name).is_doubted = True

    async def _has_room(self, tasks: int) -> bool:
        began = anyio.current_time()
        async with self.ctx.waiting("entity"):
            room = await self._queue.handover(self.entity.name).wait(tasks, ROOM_WITHIN)
        self._grant(anyio.current_time() - began)
        return room

    async def _waiting(self, entity: str, most: int) -> int:
        return await self.ride(lambda: self._queue.backlog(entity, most))

    def _grant(self, seconds: float) -> None:
        self.limit.deadline += seconds

    async def save_cursor(self, source: Source, cursor: Cursor) -> None:
        """Move the cursor behind rows that are written already."""
        await self.ride(lambda: self._save_cursor(source, cursor))

    async def _save_cursor(self, source: Source, cursor: Cursor) -> None:
        async with self.database.transaction() as connection:
            await running.save_cursor(connection, self.run, source.name, cursor)

    async def spend(self) -> None:
        """Keep what the calls since the last step cost."""
        costs = {self.run.id: self._meter.take()}
        await self.ride(lambda: running.spend(self.database, costs))

    async def _write(self, batch: Batch, cost: Cost, enqueue: Enqueue) -> _Written:
        async with self.database.transaction() as connection:
            changes = await self._changes(connection, batch)
            pictures = await self._pictures(connection, batch)
            enqueued = await enqueue(connection, [*changes, *pictures])
            if batch.cursor is not None:
                await running.save_cursor(connection, self.run, batch.source.name, batch.cursor)
            step = Step(
                position=batch.position,
                listed=len(batch.rows) + len(batch.missing),
                unchanged=len(batch.rows) + len(batch.missing) - len(changes),
                enqueued=len(changes),
                coalesced=enqueued.coalesced,
                variant=batch.source.name,
                page=batch.page,
                ids=[row.id for row in batch.rows] if batch.complete else None,
                cost=cost,
            )
            await running.advance(connection, self.run, step)
        return _Written(enqueued=len(changes), taken=enqueued.taken)

    async def _changes(self, connection: Connection, batch: Batch) -> list[Change]:
        ids = [row.id for row in batch.rows]
        known = await records.known(connection, self.entity.name, ids) if ids else {}
        changes = sift.sift(self.entity, batch.source, batch.rows, known, batch.asked)
        return changes + sift.confirmations(
            self.entity, batch.source, batch.missing, batch.asked, "missing_from_answer"
        )

    async def _pictures(self, connection: Connection, batch: Batch) -> list[Change]:
        """Pictures that are due with these rows; they belong to no run, and wait for nobody."""
        if not (self._images and batch.rows):
            return []
        ids = [row.id for row in batch.rows]
        kept = await connection.fetch(sql.load("images/known", package="actors"), ids)
        return sift.pictures(batch.rows, {row["source_entity_id"]: row["document_id"] for row in kept}, batch.asked)

    async def clear_pictures(self) -> None:
        """Have the pictures of items removed that are gone; those that go with this run, after the next one."""
        if self._images:
            await self.ride(self._clear_pictures)

    async def _clear_pictures(self) -> None:
        async with self.database.transaction() as connection:
            gone = await connection.fetch(sql.load("images/gone", package="actors"), MOST_PICTURES)
            asked = self.asked(anyio.current_time())
            await self._queue.enqueue(connection, sift.unpictured([row["source_entity_id"] for row in gone], asked))
        if gone:
            self._due([(sift.IMAGE, "fetch")])

    async def confirm(self, source: Source, ids: Sequence[str]) -> None:
        """Ask for records one by one that a complete listing did not show."""
        asked = self.asked(anyio.current_time())
        changes = sift.confirmations(self.entity, source, ids, asked, "missing_from_listing")
        await self.ride(lambda: self._confirm(source, changes))
        self._due([(self.entity.name, "fetch" if source.detail_path else "upsert")])

    async def _confirm(self, source: Source, changes: Sequence[Change]) -> None:
        async with self.database.transaction() as connection:
            enqueued = await self._queue.enqueue(connection, changes)
            place = {"candidates_of": source.name}
            await running.advance(
                connection,
                self.run,
                Step(position=place, pages=0, enqueued=len(changes), coalesced=enqueued.coalesced),
            )
