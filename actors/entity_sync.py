"""The actor that writes one entity's records: claim, map, apply and complete, batch after batch, until nothing waits.

It looks at the queue when it is woken, ten times a second at most while nothing is handed to it, and now and then on
its own; its first act is to give back what an earlier life held. Two batches are in flight, so that Postgres works
while Python maps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress

import anyio
from anyio.abc import TaskGroup
from msgspec import Struct

from actors.drift import Drift
from actors.messages import Wake
from actors.refusals import TargetUnfit
from actors.settlement import Prepared, Settled, Settlement
from actors.zoho import tables
from actors.zoho.entities import Entity
from tds_runtime import Context, Inbox, Mailbox, actor, logs, ride_out
from tds_runtime.database import Database
from tds_runtime.errors import LeaseLost, Outage
from tds_runtime.queue import Options, Queue, Task
from tds_runtime.trial import SUSPECT, Suspects

_LOOK = 0.1  # seconds between looks at the lease; a look compares two numbers, and a start waits for it
_LISTED = 10
REST = 0.1
"""Seconds from one drain to the next while only webhooks come: hundreds a second are written in batches then."""


class Synced(Struct, frozen=True, kw_only=True):
    """A batch is settled: what the business and the metrics want to know of it.

    Attributes:
        outcomes: Tasks by how they ended: applied, unchanged, superseded, deleted, refetched, buried, waiting, retried.
        rows: Rows of target and child tables that were written or removed.
        seconds: From the claim to the commit.
        drift: Keys seen for the first time that no mapping knows.
    """

    entity: str
    tasks: int
    outcomes: dict[str, int]
    rows: int
    altered: int
    seconds: float
    drift: tuple[str, ...] = ()


def _always() -> bool:
    return True


def _ignore(_synced: Synced) -> None:
    return None


@actor(mailbox=Mailbox(4, overflow="conflate"), watchdog=120.0, stop=20.0)
async def entity_sync(
    ctx: Context,
    inbox: Inbox[Wake],
    *,
    entity: Entity,
    database: Database,
    queue: Queue,
    holds_lease: Callable[[], bool] = _always,
    observe: Callable[[Synced], None] = _ignore,
    idle: float = 60.0,
) -> None:
    """Apply this entity's tasks to its tables.

    Args:
        ctx: Of this incarnation.
        inbox: Wake-ups; what they say beyond their coming does not matter.
        entity: The compiled mapping.
        database: Where queue and targets are; one Postgres, so that both commit together.
        queue: Of this process.
        holds_lease: Whether this process may still work on what it claimed.
        observe: Told of every batch.
        idle: Seconds without a wake-up until it looks on its own; the queue's own look each second is what wakes it.

    Raises:
        TargetUnfit: The target table is missing, somebody else's, or not what the mapping says.
    """
    ctx.ready()
    settlement = Settlement(entity, database, queue)
    drift = Drift(entity.name, anyio.current_time)
    sync = _Sync(ctx, entity, queue, settlement=settlement, drift=drift, holds_lease=holds_lease, observe=observe)
    with suppress(Outage):  # only raised when the actor is to stop
        await sync.give_back()
        await sync.inspect(database)
        with sync.handed.attended(holds_lease):
            await sync.drain()
            await sync.note_drift(database)
            while not inbox.ended:
                await inbox.receive(within=idle)
                await sync.rest()
                await sync.drain()
                await sync.note_drift(database)
        await sync.give_back_handed()


class _Sync:
    def __init__(
        self,
        ctx: Context,
        entity: Entity,
        queue: Queue,
        *,
        settlement: Settlement,
        drift: Drift,
        holds_lease: Callable[[], bool],
        observe: Callable[[Synced], None],
    ) -> None:
        self._ctx = ctx
        self._entity = entity
        self._queue = queue
        self.handed = queue.handover(entity.name)
        self._settlement = settlement
        self._holds_lease = holds_lease
        self._observe = observe
        self._log = logs.get("entity_sync").bind(entity=entity.name)
        self._options: Options = queue.options
        self._working = 0
        self._helping = anyio.CancelScope()
        self._in_doubt = False
        self._drained = -math.inf
        self._unfit: TargetUnfit | None = None
        self._drift = drift

    async def give_back(self) -> None:
        """Return to the queue what an earlier incarnation of this actor held, and first what it had not begun."""
        await self.give_back_handed()
        moved = await ride_out(self._ctx, "database", lambda: self._queue.return_own([self._entity.name]))
        if moved.ids:
            self._log.warning("tasks.returned", returned=len(moved.returned), buried=len(moved.buried))

    async def give_back_handed(self) -> None:
        """Return to the queue what was taken for this actor and has not been begun."""
        tasks = self.handed.take()
        if tasks:
            self._log.info("tasks.handed_back", returned=await self._release(tasks))

    async def inspect(self, database: Database) -> None:
        """Look at the target before anything is written: a table of that name may be somebody else's.

        Raises:
            TargetUnfit: It is not there, not ours, or not what the mapping says.
        """

        async def faults() -> tuple[str, ...]:
            async with database.connection() as connection:
                return await tables.faults(connection, self._entity.tables)

        found = await ride_out(self._ctx, "database", faults)
        if found:
            raise TargetUnfit("; ".join(found))

    async def note_drift(self, database: Database) -> None:
        """Keep how often which keys were seen that the mapping does not know."""
        if self._drift.is_due:
            await ride_out(self._ctx, "database", lambda: self._drift.write(database))

    async def rest(self) -> None:
        """Wait a moment after the last drain for more to come, unless something was taken for this actor."""
        left = self._drained + REST - anyio.current_time()
        if left > 0 and not self.handed and not self._ctx.stopping.is_set():
            with anyio.move_on_after(left):
                await self.handed.next()

    async def drain(self) -> None:
        """Settle until a claim comes back empty; what was claimed without our hearing of it is taken again."""
        self._drained = anyio.current_time()
        while True:
            async with anyio.create_task_group() as group:
                self._start_worker(group)
                group.start_soon(self._help, group)
            if self._unfit is not None:
                raise self._unfit
            if not (self._in_doubt or self.handed.is_doubted):
                return
            self._in_doubt = self.handed.is_doubted = False
            await self.give_back()

    def _start_worker(self, group: TaskGroup) -> None:
        self._working += 1
        group.start_soon(self._work, group)

    async def _help(self, group: TaskGroup) -> None:
        """Start another worker for what is laid down while the others are at work; ends with the last of them."""
        self._helping = anyio.CancelScope()
        with self._helping:
            while self._working:
                await self.handed.next()
                if 0 < self._working < self._options.workers and self._may_claim():
                    self._start_worker(group)

    async def _work(self, group: TaskGroup) -> None:
        try:
            with suppress(Outage):
                tasks = await self._next()
                while tasks and not await self._left(tasks):
                    if self._is_more_behind(tasks) and self._working < self._options.workers:
                        self._start_worker(group)
                    tasks = await self._settle_all(tasks) or await self._next(more=len(tasks) >= self._options.batch)
        finally:
            self._working -= 1
            if not self._working:
                self._helping.cancel()

    def _is_more_behind(self, tasks: Sequence[Task]) -> bool:
        """Whether there is, or may be, more to do than these."""
        return len(tasks) >= self._options.batch or len(self.handed) > 0

    def _with_handed(self, tasks: list[Task]) -> list[Task]:
        """A batch of what was claimed, which is more urgent or older, and of what was taken for us."""
        room = self._options.batch - len(tasks)
        return [*tasks, *self.handed.take(room)] if room > 0 and self._holds_lease() and self._may_claim() else tasks

    async def _left(self, tasks: Sequence[Task]) -> bool:
        """Whether the actor is to stop; then it gives back what it has taken and not begun."""
        if not self._ctx.stopping.is_set() and self._unfit is None:
            return False
        await self._release(tasks)
        return True

    async def _release(self, tasks: Sequence[Task]) -> int:
        leases = [(task.id, task.fence) for task in tasks]
        return len((await ride_out(self._ctx, "database", lambda: self._queue.release(leases))).ids)

    async def _next(self, *, more: bool = True) -> list[Task]:
        """The next batch, if there may be `more`; suspects before it are settled here, one after the other, alone."""
        trial = self._queue.trial
        while more and self._may_claim() and trial.begin():
            try:
                tasks = await self._claim("alone")
                if not (tasks and tasks[0].attempt_count >= SUSPECT):
                    return self._with_handed(tasks)
                if not await self._left(tasks):
                    await self._settle(tasks, 0)
            finally:
                trial.end()
        return self._with_handed(await self._claim("skip") if more and self._may_claim() else [])

    async def _claim(self, suspects: Suspects) -> list[Task]:
        while not self._holds_lease() and not self._ctx.stopping.is_set():
            async with self._ctx.waiting("lease"):
                with anyio.move_on_after(_LOOK):
                    await self._ctx.stopping.wait()
        if self._ctx.stopping.is_set():
            return []
        tries = 0

        async def claim() -> list[Task]:
            nonlocal tries
            tries += 1
            return await self._queue.claim([self._entity.name], suspects=suspects)

        try:
            return await ride_out(self._ctx, "database", claim)
        finally:
            self._in_doubt = self._in_doubt or tries > 1

    async def _settle_all(self, tasks: Sequence[Task]) -> list[Task]:
        """Settle a claim as one batch; returns the next one, if this one was full or another was laid down."""
        go_on = self._is_more_behind(tasks) and self._holds_lease() and self._may_claim()
        return self._with_handed(await self._settle(tasks, self._options.batch if go_on else 0))

    def _may_claim(self) -> bool:
        """Not while something is held that nobody knows of: it is given back when nothing is in hand."""
        return not (self._in_doubt or self.handed.is_doubted or self._unfit or self._ctx.stopping.is_set())

    async def _settle(self, tasks: Sequence[Task], claim: int) -> list[Task]:
        began = anyio.current_time()
        with logs.bound(**logs.correlation(task.correlation_id for task in tasks)):
            prepared = await self._settlement.prepare(tasks, self._ctx.beat)
            settled = await self._through(prepared, tasks, claim)
            if settled is not None:
                self._report(tasks, prepared, settled, anyio.current_time() - began)
        self._ctx.beat()
        return [] if settled is None else list(settled.claimed)

    async def _through(self, prepared: Prepared, tasks: Sequence[Task], claim: int) -> Settled | None:
        """Settle through outages; None when others hold the tasks by now, or they were settled before the outage."""
        tries = 0

        async def settle() -> Settled:
            nonlocal tries
            tries += 1
            # Nothing is claimed by a repetition: what the lost answer had claimed is given back first.
            return await self._settlement.settle(prepared, claim if tries == 1 else 0)

        try:
            return await ride_out(self._ctx, "database", settle)
        except LeaseLost:
            released = await self._release(tasks)
            self._log.warning("lease.lost", tasks=len(tasks), released=released, after_outage=tries > 1)
            return None
        except TargetUnfit as error:
            # No task is to blame, so none may spend an attempt on it; the actor fails once every batch is given back.
            await self._release(tasks)
            self._unfit = error
            return None
        finally:
            self._in_doubt = self._in_doubt or tries > 1

    def _report(self, tasks: Sequence[Task], prepared: Prepared, settled: Settled, seconds: float) -> None:
        by_id = {task.id: task for task in tasks}
        for failure in settled.failures:
            task = by_id[failure.id]
            self._log.warning(
                "task.failed",
                record=task.source_entity_id,
                task=task.id,
                attempt=task.attempt_count,
                code=failure.error_code,
                reason=failure.error_message,
                correlation_id=task.correlation_id,
            )
        synced = Synced(
            entity=self._entity.name,
            tasks=len(tasks),
            outcomes=dict(settled.outcomes),
            rows=settled.rows,
            altered=len(settled.altered),
            seconds=seconds,
            drift=self._drift.add(work.mapped.unknown for work in prepared.works if work.mapped),
        )
        self._observe(synced)
        self._tell(synced, settled)

    def _tell(self, synced: Synced, settled: Settled) -> None:
        if synced.drift:
            self._log.warning("mapping.drifted", keys=list(synced.drift[:_LISTED]), count=len(synced.drift))
        if settled.altered:
            self._log.warning("target.altered", records=list(settled.altered[:_LISTED]), count=len(settled.altered))
        self._log.info(
            "batch.settled", tasks=synced.tasks, rows=synced.rows, seconds=round(synced.seconds, 4), **synced.outcomes
        )
