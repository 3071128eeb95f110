"""The tables in shape: partitions ahead of time, sums by the hour and by the day, and what is old let go of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import asyncpg
from msgspec import Struct

from actors.service_levels import levels as service_levels
from actors.service_levels import reading
from tds_runtime import logs, sql
from tds_runtime.database import Database
from tds_runtime.values import Duration

AT_A_TIME = 5_000
"""Rows that one statement removes at most."""

ROUNDS = 20
"""Statements of one table in one round; the rest is for the next."""

UNJUDGED = Duration("1d")
"""What nodes have seen and nobody has judged for so long is no news any more."""

log = logs.get("healer")


class Retention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[retention]`: how long finished things are kept. Dead letters stay until they are resolved."""

    completed: Duration = Duration("14d")
    inbox: Duration = Duration("30d")
    event_ids: Duration = Duration("30d")
    logs: Duration = Duration("30d")
    metrics: Duration = Duration("7d")
    hourly_metrics: Duration = Duration("400d")
    runs: Duration = Duration("400d")
    alerts: Duration = Duration("400d")
    audit: Duration = Duration("400d")
    slots: Duration = Duration("400d")
    healings: Duration = Duration("400d")
    minutes: Duration = Duration("14d")
    faults: Duration = Duration("400d")
    service_levels: Duration = Duration("400d")
    dead_letters: Duration = Duration("400d")


class Upkeep(Struct, frozen=True, kw_only=True):
    """What a round did to the tables: partitions made and dropped, rows summed up and removed."""

    partitions_made: int
    partitions_dropped: int
    hours_rolled_up: int
    days_rolled_up: int
    rows_pruned: dict[str, int]


async def keep_up(
    database: Database, keep: Retention, levels: service_levels.Options, ahead: int, beat: Callable[[], None]
) -> Upkeep:
    """Do all of it for one round; `ahead` days of partitions, `beat` is called between statements."""
    made = await _unless_locked(database, "make_partitions", ahead)
    hours = await _value(database, "roll_up")
    await all_of(lambda: _value(database, "roll_up_durations"), beat)
    days = await reading.keep_days(database, levels)
    dropped = await _unless_locked(database, "drop_partitions", keep.completed, keep.audit)
    pruned = {table: await _pruned(database, table, age, beat) for table, age in _ages(keep)}
    return Upkeep(
        partitions_made=made,
        partitions_dropped=dropped,
        hours_rolled_up=hours,
        days_rolled_up=days,
        rows_pruned={table: rows for table, rows in pruned.items() if rows},
    )


async def all_of(move: Callable[[], Awaitable[int]], beat: Callable[[], None]) -> int:
    """Repeat a bounded statement until it finds nothing more, or until enough was done for one round."""
    total = 0
    for _ in range(ROUNDS):
        moved = await move()
        beat()
        total += moved
        if moved == 0:
            break
    return total


def _ages(keep: Retention) -> tuple[tuple[str, Duration], ...]:
    return (
        ("undated", keep.completed),
        ("inbox", keep.inbox),
        ("unnamed", keep.inbox),
        ("event_ids", keep.event_ids),
        ("logs", keep.logs),
        ("metrics", keep.metrics),
        ("hourly_metrics", keep.hourly_metrics),
        ("runs", keep.runs),
        ("findings", keep.runs),
        ("reports", keep.runs),
        ("comparisons", keep.runs),
        ("jobs", keep.runs),
        ("alerts", keep.alerts),
        ("notifications", keep.alerts),
        ("silences", keep.alerts),
        ("observations", UNJUDGED),
        ("slots", keep.slots),
        ("healings", keep.healings),
        ("minutes", keep.minutes),
        ("durations", keep.minutes),
        ("faults", keep.faults),
        ("service_levels", keep.service_levels),
        ("dead_letters", keep.dead_letters),
    )


async def _pruned(database: Database, table: str, age: Duration, beat: Callable[[], None]) -> int:
    return await all_of(lambda: _value(database, f"prune_{table}", age, AT_A_TIME), beat)


async def _unless_locked(database: Database, name: str, *arguments: object) -> int:
    try:
        return await _value(database, name, *arguments)
    except asyncpg.LockNotAvailableError:  # a long reader or another node; there are partitions for two weeks
        log.warning("healer.locked_out", statement=name)
        return 0


async def _value(database: Database, name: str, *arguments: object) -> int:
    return int(await database.fetchval(sql.load(f"healer/{name}", package="actors"), *arguments) or 0)
