"""Carries out the bulk actions that people asked for, a portion at a time: each commits together with its place.

So a kill in the middle repeats nothing and leaves nothing out, and a job that is cancelled changes nothing more.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import anyio

from actors import jobs
from actors.jobs import Claimed
from actors.messages import JobWake
from tds_runtime import Context, Inbox, Mailbox, actor, intake, logs, ride_out
from tds_runtime.database import Connection, Database
from tds_runtime.errors import DatabaseGone, Outage
from tds_runtime.queue import Queue, Selection

T = TypeVar("T")

PORTION = 500
"""Rows of one transaction: small enough that nobody waits for it and that a cancelled job stops soon."""

ATTEMPTS = 3
"""A job whose owner ended this often without a portion is at fault itself."""

POLL = 60.0
"""Seconds between looks for jobs that lost their owner. Who takes a request wakes the clerk of his own node."""

log = logs.get("clerk")


def _nobody(_: Iterable[tuple[str, str]]) -> None:
    return None


@actor(mailbox=Mailbox(1, overflow="drop_newest"), watchdog=120, stop=15)
async def clerk(
    ctx: Context,
    inbox: Inbox[JobWake],
    *,
    database: Database,
    queue: Queue,
    due: Callable[[set[tuple[str, str]]], None] = _nobody,
    portion: int = PORTION,
    poll: float = POLL,
) -> None:
    """Carry out what is asked for, whenever told that something is. `due` is told what has work after a portion."""
    ctx.ready()  # with the database away the daemon starts all the same
    office = Office(ctx, database, queue, due, portion)
    with suppress(Outage):  # only raised when the actor is to stop
        await office.work()
        while not inbox.ended:
            await inbox.receive(within=poll)
            await office.work()


class Office:
    """The jobs of one incarnation, one in hand at a time."""

    def __init__(
        self,
        ctx: Context,
        database: Database,
        queue: Queue,
        due: Callable[[set[tuple[str, str]]], None],
        portion: int,
    ) -> None:
        self._ctx, self._database, self._queue, self._due, self._portion = ctx, database, queue, due, portion

    async def work(self) -> None:
        """Carry out every job that waits, those that lost their owner first among them."""
        while not self._ctx.stopping.is_set():
            await self._take_back()
            job = await self._ride(lambda: jobs.claim(self._database, self._queue.boot_id))
            if job is None:
                return
            with logs.bound(job=job.id, correlation_id=job.correlation_id):
                await self._carry_out(job)

    async def _take_back(self) -> None:
        lost = await self._ride(lambda: jobs.return_lost(self._database, self._queue.boot_id, ATTEMPTS))
        for job_id, status in lost.items():
            log.warning("job.returned", job=job_id, status=status)

    async def _ride(self, operation: Callable[[], Awaitable[T]]) -> T:
        return await ride_out(self._ctx, "database", operation)

    async def _carry_out(self, job: Claimed) -> None:
        """Until it is done, cancelled, or the actor is to stop: then it waits for whoever comes next."""
        log.info("job.started", kind=job.kind, user=job.requested_by)
        while not self._ctx.stopping.is_set():
            going_on = await self._ride(lambda: self.step(job))
            self._ctx.beat()
            if not going_on:
                await self._end(job)
                return
        with anyio.CancelScope(shield=True), suppress(DatabaseGone):  # without a database it comes back by its lease
            await jobs.release(self._database, job)

    async def _end(self, job: Claimed) -> None:
        changed = await self._ride(lambda: jobs.finish(self._database, job))
        if changed is None:
            log.warning("job.lost", reason="it was cancelled or taken over")
        else:
            log.info("job.ended", kind=job.kind, changed=changed)

    async def step(self, job: Claimed) -> bool:
        """One portion in one transaction; False when there is nothing more to do for us."""
        async with self._database.transaction() as connection:
            place = await jobs.hold(connection, job)
            if place is None:
                return False
            ids = await jobs.portion(connection, job, place, self._portion)
            if not ids:
                return False
            await jobs.advance(connection, job, ids, await self._change(connection, job, ids))
        self._due(await self._queue.due())
        return True

    async def _change(self, connection: Connection, job: Claimed, ids: list[int]) -> int:
        chosen = Selection(ids=tuple(ids))
        match job.kind:
            case "dead_letter.retry":
                return await self._queue.retry_dead(chosen, by=job.requested_by, limit=len(ids), connection=connection)
            case "dead_letter.discard":
                return await self._queue.discard_dead(
                    chosen, by=job.requested_by, note=job.reason, limit=len(ids), connection=connection
                )
            case "inbox.replay":
                return await intake.replay(connection, ids, correlation_id=job.correlation_id)
