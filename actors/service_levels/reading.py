"""Tells the service levels from the tables, now or for a day, and keeps what each day's were."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from msgspec import Struct

from actors.service_levels import levels
from actors.service_levels.facts import DAY, Facts, Windows
from actors.service_levels.levels import Level, Options
from tds_runtime import sql
from tds_runtime.database import Connection, Database
from tds_runtime.values import Duration

FURTHEST = 14
"""Days back that the levels of a day can still be told: finished tasks are kept for so long."""
SHORTEST, LONGEST = Duration("1h"), Duration("14d")


class Kept(Struct, frozen=True, kw_only=True):
    """One level of one UTC day."""

    day: date
    level: str
    value: float
    target: float | None
    met: bool | None
    sample: int


class Report(Struct, frozen=True, kw_only=True):
    """The levels now, those of them that are missed, and what they were on the last days, the newest first."""

    timestamp: datetime
    met: bool
    missed: tuple[str, ...]
    levels: tuple[Level, ...]
    days: tuple[Kept, ...] = ()


def window_of(words: str) -> Duration | None:
    """The time that somebody wants all levels told over; None for "". ValueError outside of what is kept."""
    if not words:
        return None
    window = Duration(words)
    if not SHORTEST <= window <= LONGEST:
        raise ValueError(f"window lies between {SHORTEST} and {LONGEST}")
    return window


async def report(database: Database, options: Options, *, window: Duration | None = None, days: int = 0) -> Report:
    """All levels as they are now, over their own windows or over one for all, and the last `days` that are kept.

    Raises:
        DatabaseGone: nothing can be told.
    """
    windows = Windows() if window is None else Windows.of(window)
    async with database.connection() as connection:
        now = await connection.fetchval("SELECT now()")
        found = levels.told(await gather(connection, options, windows, now), options, windows)
        kept = await connection.fetch(_load("days"), days) if days else []
    missed = levels.missed(found)
    return Report(
        timestamp=now,
        met=not missed,
        missed=missed,
        levels=found,
        days=tuple(Kept(**dict(row.items())) for row in kept),
    )


async def keep_days(database: Database, options: Options) -> int:
    """Keep the levels of today so far, and of each day since they were kept last; returns how many days that were."""
    async with database.connection() as connection:
        days = [row["day"] for row in await connection.fetch(_load("unkept"), FURTHEST)]
        for day in days:
            await _keep_day(connection, options, day)
    return len(days)


async def _keep_day(connection: Connection, options: Options, day: date) -> None:
    windows = Windows.of(DAY)
    end = datetime.combine(day + timedelta(days=1), time(), UTC)
    found = levels.told(await gather(connection, options, windows, end), options, windows)
    known = [level for level in found if level.value is not None]
    columns: list[list[Any]] = [
        [getattr(level, name) for level in known] for name in ("name", "value", "target", "met", "sample")
    ]
    await connection.execute(_load("keep"), day, *columns)


async def gather(connection: Connection, options: Options, windows: Windows, until: datetime) -> Facts:
    """Count everything, each over its window before `until`."""

    async def row(name: str, window: float, *more: object) -> Any:
        return await connection.fetchrow(_load(name), until - timedelta(seconds=window), until, *more)

    tasks = await row("tasks", windows.tasks)
    minutes = await row("minutes", windows.availability)
    slots = await row("slots", windows.slots)
    faults = await row("faults", windows.faults, options.recovery)
    letters = await row("dead_letters", windows.letters, options.dead_letters_within)
    acknowledged = await row("acknowledgements", windows.acknowledgements, options.acknowledgement)
    actions = await row("interventions", windows.actions)
    deliveries = await durations(connection, "delivery", until - timedelta(seconds=windows.deliveries), until)
    return Facts(
        completed=tasks["completed"],
        dead_lettered=tasks["dead_lettered"],
        deliveries=deliveries,
        available_minutes=minutes["available"],
        minutes=minutes["minutes"],
        slots_done=slots["done"],
        slots_failed=slots["failed"],
        faults=faults["faults"],
        recovered_alone=faults["alone"],
        recovery_seconds=faults["seconds"],
        letters=letters["letters"],
        letters_overdue=letters["overdue"],
        letters_open=letters["open"],
        acknowledged=acknowledged["alerts"],
        acknowledged_seconds=acknowledged["seconds"],
        actions=actions["actions"],
    )


async def durations(connection: Connection, kind: str, since: datetime, until: datetime) -> dict[int, int]:
    """How many tasks took how long, by bucket; `kind` is delivery or processing."""
    rows: Sequence[Any] = await connection.fetch(_load("durations"), since, until, kind)
    return {row["bucket"]: row["tasks"] for row in rows}


def _load(name: str) -> str:
    return sql.load(f"service_levels/{name}", package="actors")
