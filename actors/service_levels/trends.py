"""How the sync developed, by the hour or by the day: success rate, durations, and what the failures have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from msgspec import Struct

from actors import condition
from actors.service_levels.durations import quantile
from tds_runtime import sql
from tds_runtime.database import Database
from tds_runtime.values import Duration

USUAL = Duration("24h")
FINE = Duration("3d")
"""Longer windows are shown by the day when nothing else is said."""
MOST_PATTERNS = 50

Step = Literal["hour", "day"]


class Processing(Struct, frozen=True, kw_only=True):
    """Seconds from a task's claim to the transaction that completed it; None when nothing was completed."""

    average: float | None
    p50: float | None
    p95: float | None
    p99: float | None


class Point(Struct, frozen=True, kw_only=True):
    """One hour or UTC day from `at` on: tasks that ended, percent of them that ended well, and how long they took.

    `delivery_p95` is from the webhook to the row; `errors` counts dead letters by error code.
    """

    at: datetime
    completed: int
    dead_lettered: int
    success_rate: float
    processing: Processing
    delivery_p95: float | None
    errors: dict[str, int]


class Pattern(Struct, frozen=True, kw_only=True):
    """Failures that share a code: how many over how many records, since when, and the newest message.

    `waiting` of them are tried again by themselves, `unresolved` wait for a decision.
    """

    error_code: str
    entities: tuple[str, ...]
    count: int
    waiting: int
    unresolved: int
    first_at: datetime
    last_at: datetime
    example: str


class Trends(Struct, frozen=True, kw_only=True):
    """The points, oldest first and without gaps, and the commonest failures first."""

    timestamp: datetime
    window: str
    step: Step
    points: tuple[Point, ...]
    error_patterns: tuple[Pattern, ...]


async def read(database: Database, window: Duration, step: str | None = None) -> Trends:
    """Tell the trends of the time before now; DatabaseGone when nothing can be told."""
    chosen: Step = "day" if step == "day" or (step is None and window > FINE) else "hour"
    async with database.connection() as connection:
        now: datetime = await connection.fetchval("SELECT now()")
        since = now - timedelta(seconds=window)
        ended = await connection.fetch(_load("ended"), since, now, chosen)
        errors = await connection.fetch(_load("errors"), since, now, chosen)
        patterns = await connection.fetch(_load("patterns"), since, now, MOST_PATTERNS)
    return Trends(
        timestamp=now,
        window=str(window),
        step=chosen,
        points=_points(ended, errors),
        error_patterns=tuple(Pattern(**_tupled(dict(row.items()))) for row in patterns),
    )


def _points(ended: list[Any], errors: list[Any]) -> tuple[Point, ...]:
    """One point for each step of which there is a row; the statement makes one for each."""
    buckets: dict[datetime, dict[str, dict[int, int]]] = {}
    seconds: dict[datetime, float] = {}
    for row in ended:
        kinds = buckets.setdefault(row["at"], {"processing": {}, "delivery": {}})
        if row["kind"] is not None:
            kinds[row["kind"]][row["bucket"]] = row["tasks"]
            if row["kind"] == "processing":
                seconds[row["at"]] = seconds.get(row["at"], 0.0) + row["seconds"]
    codes: dict[datetime, dict[str, int]] = {}
    for row in errors:
        codes.setdefault(row["at"], {})[row["error_code"]] = row["tasks"]
    return tuple(_point(at, kinds, seconds.get(at, 0.0), codes.get(at, {})) for at, kinds in sorted(buckets.items()))


def _point(at: datetime, kinds: Mapping[str, Mapping[int, int]], seconds: float, codes: dict[str, int]) -> Point:
    processing = kinds["processing"]
    completed, dead = sum(processing.values()), sum(codes.values())
    return Point(
        at=at,
        completed=completed,
        dead_lettered=dead,
        success_rate=condition.success_rate(completed=completed, dead_lettered=dead),
        processing=Processing(
            average=round(seconds / completed, 6) if completed else None,
            p50=quantile(processing, 0.50),
            p95=quantile(processing, 0.95),
            p99=quantile(processing, 0.99),
        ),
        delivery_p95=quantile(kinds["delivery"], 0.95),
        errors=codes,
    )


def _tupled(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"entities": tuple(row["entities"])}


def _load(name: str) -> str:
    return sql.load(f"trends/{name}", package="actors")
