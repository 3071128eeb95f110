"""Executes runs: claims those that wait, lists their entities, and stays with each until its tasks have been tried."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup
from msgspec import structs

from actors.messages import RunWake
from actors.pulling import listings, planning, sweeps
from actors.pulling.desk import Desk, Due, Options
from actors.pulling.listings import Outcome
from actors.pulling.sift import IMAGE
from actors.zoho.client import Client
from actors.zoho.entities import Entities, Entity
from actors.zoho.metering import Meter, metered
from tds_runtime import Context, Inbox, Mailbox, actor, logs, ride_out, running
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone, Error, LeaseLost, Outage, code_of
from tds_runtime.queue import Queue
from tds_runtime.running import Claimed, Ended
from tds_runtime.runs import EVERYTHING, Status

__all__ = ["Options", "pull"]

log = logs.get("pull")

SHORTEST_LOOK, LOOK_PER_TASK, LONGEST_LOOK = 0.03, 0.0005, 1.0
"""Seconds between two looks at what is outstanding of a run that was listed: the less it is, the sooner it is done."""

T = TypeVar("T")


def _nobody(_: Iterable[tuple[str, str]]) -> None:
    return None


@actor(mailbox=Mailbox(1, overflow="drop_newest"), redeliver=0, stop=15)
async def pull(
    ctx: Context,
    inbox: Inbox[RunWake],
    *,
    database: Database,
    queue: Queue,
    client: Client,
    entities: Entities,
    options: Options,
    due: Due = _nobody,
    images: bool = False,
) -> None:
    """Run what is asked for, `options.parallel` runs at once.

    `due` is told what was enqueued for whom, so that nobody waits for the queue's next poll. With `images`, changed
    pictures of items are enqueued with their items.
    """
    apis = {entity.name: entity.sources[0].api for entity in entities} | {IMAGE: "inventory"}

    def desk(run: Claimed, entity: Entity, meter: Meter) -> Desk:
        return Desk(
            ctx,
            run,
            entity,
            database=database,
            queue=queue,
            client=client,
            options=options,
            due=due,
            images=images,
            apis=apis,
            meter=meter,
        )

    await Office(ctx, inbox, database, queue.boot_id, entities, options, desk).open()


class Office:
    """The runs in hand of one incarnation."""

    def __init__(  # noqa: PLR0917 - what one incarnation works with, passed once
        self,
        ctx: Context,
        inbox: Inbox[RunWake],
        database: Database,
        boot_id: str,
        entities: Entities,
        options: Options,
        desk: Callable[[Claimed, Entity, Meter], Desk],
    ) -> None:
        self._ctx = ctx
        self._inbox = inbox
        self._database = database
        self._boot_id = boot_id
        self._entities = entities
        self._options = options
        self._desk = desk
        self._listing: set[int] = set()
        self._held: dict[int, Claimed] = {}
        self._suspects: set[int] = set()
        self._woken = anyio.Event()

    async def open(self) -> None:
        """Work until the actor is to stop; then put back what is in hand, to go on where it was."""
        self._ctx.ready()  # with the database away the daemon starts all the same
        # One of these may have ended the last incarnation: alone it spends nobody else's attempts.
        self._suspects.update(await self._return_lost(own=True))
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._listen)
                while not self._ctx.stopping.is_set():
                    await self._look(group)
                group.cancel_scope.cancel()
        finally:
            if self._ctx.stopping.is_set():
                await self._put_back()

    async def _listen(self) -> None:
        async for _ in self._inbox:
            self._woken.set()
        self._woken.set()

    async def _look(self, group: TaskGroup) -> None:
        """Take what there is room for, then wait for a message, an ending, or the next poll."""
        self._woken = anyio.Event()
        most = 1 if self._suspects else self._options.parallel
        free = most - len(self._listing)
        claimed = await self._claim(free) if free > 0 else []
        for run in claimed:
            if run.listed_at is None:
                self._listing.add(run.id)
            group.start_soon(self._execute, run)
        if claimed:
            return
        with anyio.move_on_after(self._options.poll):
            await self._woken.wait()
            return
        await self._return_lost(own=False)

    async def _claim(self, most: int) -> list[Claimed]:
        """Take runs; what was taken while the answer got lost waits again, or it would block its entity."""
        tries = 0

        async def claim() -> list[Claimed]:
            nonlocal tries
            tries += 1
            return await running.claim(self._database, self._boot_id, most)

        claimed = await self._ride(claim)
        self._held.update((run.id, run) for run in claimed)
        if tries > 1 and await self._return_lost(own=True):
            self._woken.set()
        return claimed

    async def _return_lost(self, *, own: bool) -> dict[int, Status]:
        held = list(self._held)
        returned = await self._ride(lambda: running.return_lost(self._database, self._boot_id, own=own, held=held))
        for run_id, status in returned.items():
            log.warning("run.returned", run_id=run_id, status=status)
        await self._close_parents()
        return returned

    async def _close_parents(self) -> None:
        for run_id, status in (await self._ride(lambda: running.close_parents(self._database))).items():
            log.info("run.completed" if status == "completed" else "run.failed", run_id=run_id, entity=EVERYTHING)

    async def _ride(self, operation: Callable[[], Awaitable[T]]) -> T:
        return await ride_out(self._ctx, "database", operation)

    async def _put_back(self) -> None:
        """Give the runs in hand to whoever comes next; without a database they come back by their lease."""
        with anyio.CancelScope(shield=True), suppress(DatabaseGone):
            await running.release(self._database, self._held.values())

    # --- one run

    async def _execute(self, run: Claimed) -> None:
        fields = {"run_id": run.id, "entity": run.entity_type, "correlation_id": run.correlation_id}
        with logs.bound(**fields):
            try:
                await self._conclude(run)
            except DatabaseGone:
                return  # stopping in the middle of an outage: the run comes back by its lease
            finally:
                self._listing.discard(run.id)
                self._suspects.discard(run.id)
            del self._held[run.id]
        await self._close_parents()
        self._woken.set()

    async def _conclude(self, run: Claimed) -> None:
        """Run it, and write down its ending, whatever it is."""
        try:
            await (self._expand(run) if run.entity_type == EVERYTHING else self._pull(run))
        except LeaseLost as error:
            log.warning("run.lost", reason=str(error))
        except Outage as error:
            if self._ctx.stopping.is_set() and isinstance(error, DatabaseGone):
                raise  # nothing more can be written: it comes back by its lease
            await self._put_off(run, error)
        except Error as error:
            await self._fail(run, code_of(error), str(error))

    async def _expand(self, run: Claimed) -> None:
        names = run.args.get("entities") or [entity.name for entity in self._entities if fits(entity, run.kind)]
        if run.kind == "full":
            with metered() as meter:
                known = [one for name in names if (one := self._entities.get(name))]
                await planning.begin_all([self._desk(run, one, meter) for one in known])
                await self._ride(lambda: running.spend(self._database, {run.id: meter.take()}))
        log.info("run.expanded", entities=names)
        await self._ride(lambda: self._expanded(run, names))

    async def _expanded(self, run: Claimed, names: list[str]) -> None:
        async with self._database.transaction() as connection:
            await running.expand(connection, run, names)

    async def _pull(self, run: Claimed) -> None:
        entity = self._entities.get(run.entity_type)
        if entity is None or not fits(entity, run.kind):
            return await self._fail(run, "unknown_entity", f"there is no {run.kind} run of {run.entity_type}")
        with metered() as meter:
            desk = self._desk(run, entity, meter)
            if run.listed_at is None and not await self._metered(desk):
                return await self._fail(run, "timeout", f"not listed within {self._options.timeout}")
        self._listing.discard(run.id)
        self._woken.set()
        return await self._settle(desk)

    async def _metered(self, desk: Desk) -> bool:
        """Read the source, and keep what that cost however it ends."""
        try:
            listed = await self._list(desk)
        except DatabaseGone:
            raise
        except Error:
            await desk.spend()
            raise
        await desk.spend()
        return listed

    async def _list(self, desk: Desk) -> bool:
        """Read the source; false when that took too long."""
        run = desk.run
        await desk.set_clock()
        await desk.note("resumed" if run.resumed else "started", attempt=run.attempt_count, schedule=run.schedule)
        with anyio.move_on_after(self._options.timeout) as scope:
            desk.limit = scope
            outcome = await LISTINGS[run.kind](desk)
            await desk.ride(lambda: _listed(self._database, run, outcome))
            await desk.note("listed", candidates=outcome.candidates)
        return not scope.cancelled_caught

    async def _settle(self, desk: Desk) -> None:
        """Wait until every task of the run was tried once, then write down what became of them."""
        run = desk.run
        with anyio.move_on_after(self._options.timeout) as scope:
            while left := await desk.ride(lambda: running.outstanding(self._database, run)):
                if desk.is_closed:
                    break  # what is left are detail calls that nobody can make for a while; they wait without the run
                async with self._ctx.waiting("tasks"):
                    await anyio.sleep(min(LONGEST_LOOK, max(SHORTEST_LOOK, left * LOOK_PER_TASK)))
        alarm = "unsettled" if scope.cancelled_caught else ""
        ended = await desk.ride(lambda: running.complete(self._database, run, alarm=alarm))
        await desk.note("completed", **_counts(ended))

    async def _put_off(self, run: Claimed, error: Outage) -> None:
        """Something is away: the run waits, goes on at its place, and burns no attempt."""
        away = 1 if isinstance(error, DatabaseGone) else 60
        until = getattr(error, "until", None) or datetime.now(UTC) + timedelta(seconds=away)
        log.warning("run.put_off", reason=str(error), until=until.isoformat())
        await self._ride(lambda: running.log(self._database, run, "warning", "put_off", str(error), until=until))
        await self._ride(lambda: running.release(self._database, [run], until))

    async def _fail(self, run: Claimed, code: str, message: str) -> None:
        log.error("run.failed", code=code, message=message)
        await self._ride(lambda: running.log(self._database, run, "error", "failed", message, code=code))
        with suppress(LeaseLost):
            await self._ride(lambda: running.fail(self._database, run, code, message))


LISTINGS: Mapping[str, Callable[[Desk], Awaitable[Outcome]]] = {
    "full": listings.full,
    "incremental": listings.incremental,
    "stock": sweeps.stock,
    "balance": listings.balance,
    "price_list": listings.full,
}


def fits(entity: Entity, kind: str) -> bool:
    """Whether this kind of run makes sense for an entity."""
    match kind:
        case "stock":
            return any(source.bulk_path for source in entity.sources)
        case "balance":
            return any(source.balances for source in entity.sources)
        case "price_list":
            return entity.name == "price_list"
        case _:
            return True


async def _listed(database: Database, run: Claimed, outcome: Outcome) -> None:
    async with database.transaction() as connection:
        await running.finish_listing(connection, run, candidates=outcome.candidates, alarm=outcome.alarm)


def _counts(ended: Ended) -> dict[str, Any]:
    counts = structs.asdict(ended)
    rate = ended.listed / ended.seconds if ended.seconds > 0 else 0.0
    return {**counts, "seconds": round(ended.seconds, 3), "records_per_second": round(rate, 1)}
