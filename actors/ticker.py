"""Turns schedules into runs: each slot is decided once in the fleet, and its run commits together with the decision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from anyio import move_on_after
from msgspec import Struct

from tds_runtime import Context, actor, logs, ride_out, runs, schedule, sql
from tds_runtime.database import Connection, Database
from tds_runtime.schedule import Decision, Schedule, Standing
from tds_runtime.values import Duration

LOCK = 7_305_801_316_121_089_640
LONGEST_SLEEP = 15.0
"""Seconds between two looks at the database, so that a pause, a failure or a changed clock is noticed."""

logger = logs.get("ticker")


class Start(Protocol):
    """Makes the run of a slot, in the transaction that decides the slot; returns the run's id, if it has one."""

    async def __call__(
        self, connection: Connection, /, *, schedule: str, slot: datetime, args: Mapping[str, Any]
    ) -> int | None: ...


class Action(Struct, frozen=True):
    """What a schedule's `run` means: how a run is made, and whom to wake after its commit."""

    start: Start
    wake: Callable[[], object]


class Tick(Struct, frozen=True):
    """What one look at the schedules did."""

    started: tuple[str, ...]
    """The schedules whose run was made."""
    sleep: float
    """Seconds until the next slot, by the database's clock."""


@actor(watchdog=None)
async def ticker(
    ctx: Context, *, database: Database, schedules: Mapping[str, Schedule], actions: Mapping[str, Action]
) -> None:
    """Decide slots as they come; with the database away nothing is lost, the slots are caught up."""
    ctx.ready()
    while not ctx.stopping.is_set():
        found = await ride_out(ctx, "database", lambda: tick(database, schedules, actions))
        for name in found.started:
            actions[schedules[name].run].wake()
        async with ctx.waiting("slot"):
            with move_on_after(min(found.sleep, LONGEST_SLEEP)):
                await ctx.stopping.wait()


async def tick(database: Database, schedules: Mapping[str, Schedule], actions: Mapping[str, Action]) -> Tick:
    """Decide everything that is due now; does nothing while another node does it."""
    async with database.transaction() as connection:
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK):
            return Tick((), 1.0)
        await _cancel_overdue(connection, schedules)
        for row in await connection.fetch(sql.load("ticker/settle", package="actors")):
            logger.warning("slot.failed", schedule=row["schedule"], slot=row["slot"], run_id=row["run_id"])
        started: list[str] = []
        sleep = LONGEST_SLEEP
        enabled = [name for name, plan in schedules.items() if plan.enabled]
        for row in await connection.fetch(sql.load("ticker/standing", package="actors"), enabled):
            name = row["name"]
            started += [name] if await _decide(connection, name, schedules[name], actions, row) else []
            sleep = min(sleep, _until_next(name, schedules[name], row["now"]))
    return Tick(tuple(started), sleep)


async def _cancel_overdue(connection: Connection, schedules: Mapping[str, Schedule]) -> None:
    allowed = [float(plan.timeout) for plan in schedules.values()]
    for row in await connection.fetch(sql.load("ticker/overdue", package="actors"), list(schedules), allowed):
        await runs.cancel(connection, row["id"], f"longer than the {Duration(row['seconds'])} its schedule allows")
        logger.warning("run.overdue", schedule=row["schedule"], run_id=row["id"])


async def _decide(connection: Connection, name: str, plan: Schedule, actions: Mapping[str, Action], row: Any) -> bool:
    """Record an outcome for each slot that has come; True when one of them runs."""
    if row["last"] is None:
        begin = Decision(
            schedule.latest(plan, row["now"]), "skipped_catchup", "the schedule was seen for the first time"
        )
        await record(connection, name, begin)
        return False
    standing = Standing(
        last=row["last"],
        waiting=row["waiting"],
        running=row["running"],
        failures=row["failures"],
        skipped=row["skipped"],
        paused=row["paused"],
    )
    runs = False
    for decision in schedule.decide(name, plan, standing, row["now"]):
        if await record(connection, name, decision) and decision.runs:
            await _start(connection, name, plan, actions[plan.run].start, decision)
            runs = True
    return runs


async def record(connection: Connection, name: str, decision: Decision) -> bool:
    """Write down what becomes of a slot; False when that was decided before."""
    values = (name, decision.slot, decision.outcome, decision.detail)
    recorded = await connection.fetchval(sql.load("ticker/decide", package="actors"), *values)
    if recorded:
        logger.info("slot.decided", schedule=name, slot=decision.slot, outcome=decision.outcome)
    return recorded is not None


async def _start(connection: Connection, name: str, plan: Schedule, start: Start, decision: Decision) -> None:
    run_id = await start(connection, schedule=name, slot=decision.slot, args=plan.args)
    if run_id is not None:
        await connection.execute(sql.load("ticker/attach", package="actors"), name, decision.slot, run_id)


def _until_next(name: str, plan: Schedule, now: datetime) -> float:
    late = schedule.offset(name, plan)
    following = schedule.following(plan, now - late, 1)
    if not following:
        return LONGEST_SLEEP
    return max((following[0] + late - now) / timedelta(seconds=1), 0.05)
