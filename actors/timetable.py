"""What people do with schedules, by command or over HTTP: look, run, pause, resume, and run what was missed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from actors import schedules, ticker
from actors.bell import Bell
from tds_runtime import schedule, sql
from tds_runtime.database import Connection, Database
from tds_runtime.errors import Error
from tds_runtime.schedule import Decision, Schedule


class TooManySlots(Error):
    """There are more slots in that time than may be run at once; take a shorter one."""


class Coming(Struct, frozen=True, kw_only=True):
    """One slot to come, in both zones."""

    slot: datetime
    """In UTC."""
    local: datetime
    """In the zone of the schedule."""


class Past(Struct, frozen=True, kw_only=True):
    """What became of one slot.

    Attributes:
        outcome: ran, late, failed, skipped_overlap, skipped_catchup, skipped_paused.
        work: What it made: run, report, healing, "" for nothing; `work_id` names it among its kind.
        status: Of that work.
        seconds: How long it took, None while it has not ended.
    """

    slot: datetime
    outcome: str
    detail: str
    decided_at: datetime
    work: str = ""
    work_id: int | None = None
    status: str = ""
    seconds: float | None = None
    error: str = ""


def coming(plan: Schedule, count: int = 5, *, after: datetime | None = None) -> tuple[Coming, ...]:
    """The next slots of a schedule."""
    zone = ZoneInfo(plan.timezone)
    following = schedule.following(plan, after or datetime.now(UTC), count)
    return tuple(Coming(slot=slot, local=slot.astimezone(zone)) for slot in following)


async def history(
    database: Database, name: str, limit: int = 20, *, before: datetime | None = None
) -> tuple[Past, ...]:
    """The newest slots of a schedule before a moment, newest first."""
    rows = await database.fetch(sql.load("schedule/history", package="actors"), name, limit, before)
    return tuple(_past(row) for row in rows)


async def paused(database: Database) -> dict[str, str]:
    """The schedules that a person has paused, with why."""
    rows = await database.fetch(sql.load("schedule/paused", package="actors"))
    return {row["name"]: row["reason"] or "" for row in rows}


async def pause(connection: Connection | Database, name: str, by: str, reason: str) -> None:
    """Skip its slots from now on; each is recorded."""
    await connection.execute(sql.load("schedule/pause", package="actors"), name, by, reason)


async def resume(connection: Connection | Database, name: str) -> bool:
    """Go on with the next slot; False when nobody had paused it."""
    return await connection.fetchval(sql.load("schedule/resume", package="actors"), name) is not None


async def run(connection: Connection, name: str, plan: Schedule) -> Past:
    """Make the work of a schedule now, besides its slots."""
    slot = datetime.now(UTC)
    await ticker.start(connection, name, plan, _action(name, plan).start, slot)
    row = await connection.fetchrow(sql.load("schedule/work", package="actors"), name, slot)
    assert row is not None
    return _past({"slot": slot, "outcome": "ran", "detail": "by hand", "decided_at": slot, **row})


def missed(plan: Schedule, since: datetime, until: datetime | None = None) -> list[datetime]:
    """The slots of a past time, oldest first; times without a zone are UTC.

    Raises:
        TooManySlots: more than may be run at once.
    """
    now = datetime.now(UTC)
    end = min(_aware(until or now), now)
    found: list[datetime] = []
    for slot in schedule.slots(plan, _aware(since)):
        if slot > end:
            return found
        if len(found) == schedule.MOST_AT_ONCE:
            raise TooManySlots(f"that is more than {schedule.MOST_AT_ONCE} slots; take a shorter time.")
        found.append(slot)
    return found


async def backfill(connection: Connection, name: str, plan: Schedule, slots: list[datetime], by: str) -> int:
    """Run those of the slots that have no outcome yet, each once; returns how many."""
    made = 0
    for slot in slots:
        if await ticker.record(connection, name, Decision(slot, "late", f"backfilled by {by}")):
            await ticker.start(connection, name, plan, _action(name, plan).start, slot)
            made += 1
    return made


async def undecided(database: Database, name: str, slots: list[datetime]) -> int:
    """How many of the slots have no outcome yet."""
    return int(await database.fetchval(sql.load("schedule/undecided", package="actors"), name, slots))


def _action(name: str, plan: Schedule) -> ticker.Action:
    actions = schedules.actions(Bell(()))  # nobody is to be woken: the daemon looks for itself
    schedules.check({name: plan}, actions)
    return actions[plan.run]


def _past(row: Mapping[str, Any]) -> Past:
    took = row["took"]
    return Past(
        slot=row["slot"],
        outcome=row["outcome"],
        detail=row["detail"],
        decided_at=row["decided_at"],
        work=row["work"] or "",
        work_id=row["id"],
        status=row["status"] or "",
        seconds=None if took is None else round(took.total_seconds(), 3),
        error=row["error"] or "",
    )


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
