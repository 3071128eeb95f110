"""Runs: what was asked to be pulled from the source, by whom, how far it is, and what came of it.

A run is a row: pending -> running -> completed, failed or cancelled. `listed_at` marks the end of its listing; it is
completed once none of its tasks waits for its first try. Tasks that were tried and put off (a retry, no budget, a
missing parent) are counted as `deferred` and go on without it. How one is run is in `running`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from tds_runtime import sql
from tds_runtime.database import Connection, Database, storable

Kind: TypeAlias = Literal["full", "incremental", "stock", "balance", "price_list"]
Status: TypeAlias = Literal["pending", "running", "completed", "failed", "cancelled"]
Level: TypeAlias = Literal["debug", "info", "warning", "error"]

EVERYTHING = "all"
"""The entity of a run that becomes one run per entity."""

_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")


class Counts(Struct, frozen=True, kw_only=True):
    """What a run came to.

    Attributes:
        pages: read from the source.
        listed: records seen there; each was unchanged or enqueued.
        unchanged: dropped, because they are stored in this version.
        enqueued: became tasks.
        coalesced: of these, folded into a task that waited already.
        candidates: stored here, and absent from a complete listing.
        applied: tasks that are done.
        deferred: tasks that were tried and put off; they go on without the run.
        dead: tasks that ended in the dead letters.
        calls: made to the source for it, detail calls and repetitions included.
        bytes: of the answers, unpacked.
        alarm: Why somebody should look although it was completed; "" when nobody need.
    """

    pages: int
    listed: int
    unchanged: int
    enqueued: int
    coalesced: int
    candidates: int
    applied: int
    deferred: int
    dead: int
    calls: int
    bytes: int
    alarm: str


class Run(Counts, frozen=True, kw_only=True):
    """A run as people see it, with what it has come to so far."""

    id: int
    parent_id: int | None
    entity_type: str
    kind: Kind
    status: Status
    requested_by: str
    schedule: str | None
    slot: datetime | None
    args: dict[str, Any]
    correlation_id: str
    requests: int
    requested_at: datetime
    available_at: datetime | None
    started_at: datetime | None
    listed_at: datetime | None
    completed_at: datetime | None
    attempt_count: int
    resumed: bool
    plan: dict[str, Any] | None
    """What it was reckoned to take before it began; None for what is not reckoned."""
    expected: int | None
    outcomes: dict[str, int]
    error_code: str | None
    error_message: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in {"completed", "failed", "cancelled"}


class Line(Struct, frozen=True, kw_only=True):
    """One line of a run's log."""

    id: int
    run_id: int
    logged_at: datetime
    level: Level
    event: str
    entity_type: str
    message: str
    detail: dict[str, Any]
    correlation_id: str


async def request(
    connection: Connection,
    entity_type: str,
    kind: Kind,
    requested_by: str,
    *,
    schedule: str | None = None,
    slot: datetime | None = None,
    args: Mapping[str, Any] | None = None,
    correlation_id: str = "",
) -> int:
    """Ask for a run in the caller's transaction; the same wish that has not begun yet is the same run."""
    row = await connection.fetchrow(
        sql.load("runs/request"), entity_type, kind, requested_by, schedule, slot, encoded(args or {}), correlation_id
    )
    assert row is not None
    return int(row["id"])


async def read(connection: Connection | Database, run_id: int) -> Run | None:
    """One run, None when there is none of this id."""
    rows = await connection.fetch(sql.load("runs/read"), [run_id])
    return _run(rows[0]) if rows else None


async def children(connection: Connection | Database, run_id: int) -> list[Run]:
    """The runs that a run of everything became."""
    return [_run(row) for row in await connection.fetch(sql.load("runs/children"), run_id)]


async def recent(
    connection: Connection | Database,
    *,
    before: int | None = None,
    entity_type: str | None = None,
    kind: Kind | None = None,
    status: Status | None = None,
    limit: int = 50,
) -> list[Run]:
    """Runs, the newest first, a page ending where `before` began."""
    rows = await connection.fetch(sql.load("runs/recent"), before, entity_type, kind, status, limit)
    return [_run(row) for row in rows]


async def lines(connection: Connection | Database, run_id: int, *, after: int = 0, limit: int = 200) -> list[Line]:
    """The log of a run and of its runs, oldest first."""
    rows = await connection.fetch(sql.load("runs/read_logs"), run_id, after, limit)
    return [Line(**{**row, "detail": msgspec.json.decode(row["detail"])}) for row in rows]


async def cancel(connection: Connection, run_id: int, reason: str) -> list[int]:
    """End a run, and the runs it became; ids that were open. Its tasks stay: what was seen at the source is true."""
    return [row["id"] for row in await connection.fetch(sql.load("runs/cancel"), run_id, storable(reason))]


def encoded(value: Mapping[str, Any]) -> str:
    """JSON that Postgres takes as jsonb: an escaped NUL stays visible as text."""
    return _NUL.sub(r"\1\\\\u0000", storable(msgspec.json.encode(value).decode()))


def _run(row: Mapping[str, Any]) -> Run:
    args, outcomes = msgspec.json.decode(row["args"]), msgspec.json.decode(row["outcomes"])
    plan = None if row["plan"] is None else msgspec.json.decode(row["plan"])
    return Run(**{**row, "args": args, "outcomes": outcomes, "plan": plan})
