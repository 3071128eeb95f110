"""Proves, or disproves, that both sides hold the same: carries out the reports that were asked for, one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TypeVar

import anyio

from actors.messages import Compare
from actors.reconciling import counting, holding
from actors.reconciling.desk import Desk, Due, Options, Origin, Unaffordable
from actors.reconciling.holding import Claimed
from actors.reconciling.sweeping import Sweep
from actors.reconciling.tally import Outcome, Tally
from actors.reports import EVERYTHING
from actors.zoho.entities import Entities, Entity
from tds_runtime import Context, Inbox, Mailbox, actor, logs, ride_out
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone, Error, LeaseLost, Outage, code_of
from tds_runtime.queue import Queue

__all__ = ["Options", "reconciler"]

T = TypeVar("T")

LOOK = 1.0
"""Seconds between two looks whether the report in hand was cancelled."""

log = logs.get("reconciler")


def _nobody(_: Iterable[tuple[str, str]]) -> None:
    return None


@actor(mailbox=Mailbox(1, overflow="drop_newest"), redeliver=0, watchdog=900, stop=15)
async def reconciler(
    ctx: Context,
    inbox: Inbox[Compare],
    *,
    database: Database,
    queue: Queue,
    client: Origin,
    entities: Entities,
    options: Options,
    due: Due = _nobody,
) -> None:
    """Carry out what is asked for, whenever told that something is; the schedule asks once a day.

    Outages of either side are waited out. `due` is told what was enqueued for whom by repairs.
    """
    ctx.ready()  # with the database away the daemon starts all the same

    def desk(report: Claimed) -> Desk:
        return Desk(ctx, report, database=database, queue=queue, client=client, options=options, due=due)

    office = Office(ctx, database, queue.boot_id, entities, options, desk)
    with suppress(Outage):  # only raised when the actor is to stop
        await office.work()
        while not inbox.ended:
            await inbox.receive(within=options.poll)
            await office.work()


class Office:
    """The reports of one incarnation, one in hand at a time."""

    def __init__(  # noqa: PLR0917 - what one incarnation works with, passed once
        self,
        ctx: Context,
        database: Database,
        boot_id: str,
        entities: Entities,
        options: Options,
        desk: Callable[[Claimed], Desk],
    ) -> None:
        self._ctx = ctx
        self._database = database
        self._boot_id = boot_id
        self._entities = entities
        self._options = options
        self._desk = desk

    async def work(self) -> None:
        """Carry out every report that waits, those that lost their owner first among them."""
        while not self._ctx.stopping.is_set():
            for report_id, status in (
                await self._ride(lambda: holding.return_lost(self._database, self._boot_id))
            ).items():
                log.warning("report.returned", report=report_id, status=status)
            report = await self._ride(lambda: holding.claim(self._database, self._boot_id))
            if report is None:
                return
            with logs.bound(report=report.id, correlation_id=report.correlation_id):
                await self._carry_out(report)

    async def _ride(self, operation: Callable[[], Awaitable[T]]) -> T:
        return await ride_out(self._ctx, "database", operation)

    async def _carry_out(self, report: Claimed) -> None:
        """Compare until it ends, is cancelled, or the actor is to stop: then it waits for whoever comes next."""
        desk, ended = self._desk(report), False
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._watch, desk, group.cancel_scope)
                with suppress(Outage):  # only raised when the actor is to stop
                    await self._compare(desk)
                    ended = True
                group.cancel_scope.cancel()
        finally:
            if not ended and self._ctx.stopping.is_set():
                await self._put_back(report)

    async def _watch(self, desk: Desk, scope: anyio.CancelScope) -> None:
        """Show how far the report is; end the work on it when the actor is to stop or the report is ours no more."""
        with suppress(Outage):
            while not self._ctx.stopping.is_set():
                try:
                    await desk.ride(lambda: holding.advance(self._database, desk.report, desk.progress))
                except LeaseLost as error:
                    log.warning("report.lost", reason=str(error))
                    break
                with anyio.move_on_after(LOOK):
                    await self._ctx.stopping.wait()
        scope.cancel()

    async def _put_back(self, report: Claimed) -> None:
        """Without a database it comes back by its lease."""
        with anyio.CancelScope(shield=True), suppress(DatabaseGone):
            await holding.release(self._database, report)

    # --- one report

    async def _compare(self, desk: Desk) -> None:
        try:
            await self._all(desk)
        except LeaseLost as error:
            log.warning("report.lost", reason=str(error))

    async def _all(self, desk: Desk) -> None:
        report = desk.report
        names = self._entities.names if report.entity_type == EVERYTHING else (report.entity_type,)
        desk.progress.entities = len(names)
        log.info("report.started", depth=report.depth, entity=report.entity_type, repair=report.repair)
        failures = [await self._one(desk, name) for name in names if name not in report.stored]
        await self._end(desk, [failure for failure in failures if failure])

    async def _end(self, desk: Desk, failures: list[str]) -> None:
        code, message = ("entity_failed", "; ".join(failures)) if failures else (None, None)
        match = await desk.ride(lambda: holding.end(self._database, desk.report, code, message))
        level = log.error if failures else log.info
        level("report.ended", match=None if match is None else round(match, 2), failures=failures)

    async def _one(self, desk: Desk, name: str) -> str:
        """Compare an entity; why it could not be, empty when it was. One that fails does not stop the others."""
        entity = self._entities.get(name)
        if entity is None:
            return f"{name}: there is no such entity"
        desk.progress.entity, desk.progress.seen, desk.progress.expected = name, 0, None
        try:
            await self._store(desk, *await self._both(desk, entity))
        except (LeaseLost, Outage):
            raise
        except Error as error:
            log.exception("entity.failed", entity=name, code=code_of(error))
            return f"{name}: {code_of(error)}: {error}"
        return ""

    async def _both(self, desk: Desk, entity: Entity) -> tuple[Outcome, Tally | None]:
        """Record by record where that was asked for and the day's calls allow it, else by counts."""
        counts = await counting.counted(desk, entity)
        desk.progress.expected = counting.total(counts)
        if desk.report.depth == "counts":
            return await counting.compare(desk, entity, counts), None
        note = desk.shortage(entity, [(source, count or 0) for source, count in counts])
        if not note:
            try:
                sweep = Sweep(desk, entity, counts)
                return await sweep.compare(), sweep.tally
            except Unaffordable as error:
                note = str(error)
        log.warning("sweep.skipped", entity=entity.name, reason=note)
        return await counting.compare(desk, entity, counts, f"only counts: {note}"), None

    async def _store(self, desk: Desk, outcome: Outcome, tally: Tally | None) -> None:
        findings = tally.findings if tally else ()
        threshold = self._options.threshold

        async def store() -> bool:
            async with self._database.transaction() as connection:
                return await holding.store(connection, desk.report, outcome, findings, threshold)

        new = await desk.ride(store)
        told = {name: value for name, value in outcome.columns.items() if value not in (None, "", {}, 0)}
        log.info("entity.compared", entity=outcome.entity, **told)
        if new:
            log.warning(
                "match.low", entity=outcome.entity, match=round(outcome.match_percentage, 2), alarm=outcome.alarm
            )
