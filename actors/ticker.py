"""Turns schedules into work: each slot is decided once in the fleet, and what it asks for commits with the decision.

The node that leads decides. That only saves work: what makes a second leader harmless is the key (schedule, slot).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from math import inf
from typing import Any, Protocol

from anyio import current_time, move_on_after
from msgspec import Struct

from tds_runtime import Context, actor, logs, ride_out, runs, schedule, sql
from tds_runtime.database import Connection, Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.leader import Leader
from tds_runtime.schedule import Decision, Schedule, Standing
from tds_runtime.values import Duration

OFFICE = "ticker"
LEASE = 30.0
"""Seconds after which another node ticks instead of one that is gone: less than makes a slot late."""
LONGEST_SLEEP = 20.0
"""Seconds between two looks at the database, so that a pause, a failure or a changed clock is noticed."""
RENEW_AFTER = 2 / 3
"""The part of a term after which its leader renews it; what is left is for a database that is slow to answer."""
SETTLE_EVERY = 60.0
"""Seconds between two looks at what became of the work of slots: has it failed, does it take longer than it may."""

logger = logs.get("ticker")


class Start(Protocol):
    """Makes the work of a slot, in the transaction that decides the slot; returns the id of a run of pulling."""

    async def __call__(
        self, connection: Connection, /, *, schedule: str, slot: datetime, args: Mapping[str, Any]
    ) -> int | None: ...


class Cancel(Protocol):
    """Ends work that takes too long, in the caller's transaction."""

    async def __call__(self, connection: Connection, work_id: int, reason: str, /) -> object: ...


class Action(Struct, frozen=True):
    """What a schedule's `run` means: how its work is made, whom to wake after the commit, and how it is ended.

    `work` is what the view tds_scheduled_work calls it: run, report or healing.
    """

    start: Start
    wake: Callable[[], object]
    work: str = "run"
    cancel: Cancel = runs.cancel


class Tick(Struct, frozen=True):
    """What one look at the schedules did."""

    started: tuple[str, ...]
    """The schedules whose work was made."""
    sleep: float
    """Seconds until the next slot, by the database's clock."""
    epoch: int | None = None
    """The term in which this node decided; None when another one leads."""


@actor(watchdog=None)
async def ticker(
    ctx: Context,
    *,
    database: Database,
    schedules: Mapping[str, Schedule],
    actions: Mapping[str, Action],
    boot_id: str,
    lease: float = LEASE,
) -> None:
    """Decide slots as they come; with the database away nothing is lost, the slots are caught up."""
    ctx.ready()
    leader = Leader(database, name=OFFICE, boot_id=boot_id, lease=lease)
    settled_at = -inf
    while not ctx.stopping.is_set():
        settle = current_time() - settled_at >= SETTLE_EVERY
        look = partial(tick, database, schedules, actions, leader, settle=settle)
        found = await ride_out(ctx, "database", look)
        settled_at = current_time() if settle and found.epoch is not None else settled_at
        for name in found.started:
            actions[schedules[name].run].wake()
        async with ctx.waiting("slot"):
            with move_on_after(min(found.sleep, LONGEST_SLEEP, lease * RENEW_AFTER)):
                await ctx.stopping.wait()
    with suppress(DatabaseGone):
        await leader.resign()


async def tick(
    database: Database,
    schedules: Mapping[str, Schedule],
    actions: Mapping[str, Action],
    leader: Leader,
    *,
    now: datetime | None = None,
    settle: bool = True,
) -> Tick:
    """Decide everything that is due at `now` (default: by the database's clock); nothing while another node leads.

    `settle` also ends what takes too long, and fails the slots whose work has failed.
    """
    async with database.transaction() as connection:
        epoch = await leader.hold(connection)
        if epoch is None:
            return Tick((), LONGEST_SLEEP)
        if settle:
            await _cancel_overdue(connection, schedules, actions)
            await _fail_slots(connection)
        started: list[str] = []
        sleep = LONGEST_SLEEP
        enabled = [name for name, plan in schedules.items() if plan.enabled]
        for row in await connection.fetch(sql.load("ticker/standing", package="actors"), enabled, now):
            name = row["name"]
            decided = await _decide(connection, schedules[name], actions, row, epoch)
            started += [name] if decided else []
            sleep = min(sleep, _until_next(name, schedules[name], row["now"]))
    return Tick(tuple(started), sleep, epoch)


async def _cancel_overdue(
    connection: Connection, schedules: Mapping[str, Schedule], actions: Mapping[str, Action]
) -> None:
    allowed = [float(plan.timeout) for plan in schedules.values()]
    work = [actions[plan.run].work for plan in schedules.values()]
    for row in await connection.fetch(sql.load("ticker/overdue", package="actors"), list(schedules), allowed, work):
        action = actions[schedules[row["schedule"]].run]
        await action.cancel(connection, row["id"], f"longer than the {Duration(row['seconds'])} its schedule allows")
        logger.warning("run.overdue", schedule=row["schedule"], **{f"{action.work}_id": row["id"]})


async def _fail_slots(connection: Connection) -> None:
    for row in await connection.fetch(sql.load("ticker/settle", package="actors")):
        logger.warning("slot.failed", schedule=row["schedule"], slot=row["slot"], **{f"{row['work']}_id": row["id"]})


async def _decide(connection: Connection, plan: Schedule, actions: Mapping[str, Action], row: Any, epoch: int) -> bool:
    """Record an outcome for each slot that has come; True when one of them runs."""
    name = row["name"]
    if row["last"] is None or row["timing"] not in {"", schedule.describe(plan)}:
        await _begin(connection, name, plan, row, epoch)
        return False
    standing = Standing(
        last=row["last"],
        waiting=row["waiting"],
        running=row["running"],
        failures=row["failures"],
        skipped=row["skipped"],
        tried=row["tried"],
        paused=row["paused"],
    )
    runs = False
    for decision in schedule.decide(name, plan, standing, row["now"]):
        if await record(connection, name, decision, epoch):
            if decision.runs:
                await start(connection, name, plan, actions[plan.run].start, decision.slot)
            runs = runs or decision.runs
    return runs


async def _begin(connection: Connection, name: str, plan: Schedule, row: Any, epoch: int) -> None:
    """Let its slots begin now: what was none until now was not missed either."""
    why = "the schedule was seen for the first time" if row["last"] is None else "its times are new, or it is on again"
    newest = schedule.latest(plan, row["now"] - schedule.offset(name, plan))
    await record(connection, name, Decision(newest, "skipped_catchup", why), epoch)
    await connection.execute(sql.load("ticker/begin", package="actors"), name, schedule.describe(plan))


async def record(connection: Connection, name: str, decision: Decision, epoch: int | None = None) -> bool:
    """Write down what becomes of a slot; False when that was decided before."""
    values = (name, decision.slot, decision.outcome, decision.detail, epoch)
    recorded = await connection.fetchval(sql.load("ticker/decide", package="actors"), *values)
    if recorded:
        logger.info("slot.decided", schedule=name, slot=decision.slot, outcome=decision.outcome, epoch=epoch)
    return recorded is not None


async def start(connection: Connection, name: str, plan: Schedule, start: Start, slot: datetime) -> None:
    """Make the work of a slot, and name it in the slot when it is a run of pulling."""
    run_id = await start(connection, schedule=name, slot=slot, args=plan.args)
    if run_id is not None:
        await connection.execute(sql.load("ticker/attach", package="actors"), name, slot, run_id)


def _until_next(name: str, plan: Schedule, now: datetime) -> float:
    late = schedule.offset(name, plan)
    following = schedule.following(plan, now - late, 1)
    if not following:
        return LONGEST_SLEEP
    return max((following[0] + late - now) / timedelta(seconds=1), 0.05)
