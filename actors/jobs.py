"""Jobs: bulk actions that a person asked for, each a row with who asked, why, how far it is, and how it ended.

pending -> running -> completed, failed or cancelled. A job touches what matched when it was asked for, and nothing that
came later: a dead letter that is retried and fails again is a new one, and not of this job.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from tds_runtime import sql
from tds_runtime.database import Connection, Database, storable
from tds_runtime.runs import encoded

Kind: TypeAlias = Literal["dead_letter.retry", "dead_letter.discard", "inbox.replay"]
Status: TypeAlias = Literal["pending", "running", "completed", "failed", "cancelled"]

_CHOSEN: Mapping[Kind, str] = {
    "dead_letter.retry": "letters",
    "dead_letter.discard": "letters",
    "inbox.replay": "deliveries",
}


class Selection(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which dead letters or deliveries: every condition that is given must hold.

    `since` and `until` are of the burial or the arrival; deliveries have no error code.
    """

    ids: tuple[int, ...] | None = None
    entity_type: str | None = None
    source_entity_id: str | None = None
    error_code: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def arguments(self) -> tuple[Any, ...]:
        """What the shared clauses of the statements take."""
        ids = None if self.ids is None else list(self.ids)
        return (ids, self.entity_type, self.source_entity_id, self.error_code, self.since, self.until)


class Job(Struct, frozen=True, kw_only=True):
    """A job as people see it.

    Attributes:
        matched: How many it was to touch, counted when it was asked for.
        looked_at: How many of these it has come to; what was resolved meanwhile is not looked at.
        changed: How many tasks went back to the queue, or letters that were discarded.
        attempt_count: How often somebody took it in hand since its last portion.
    """

    id: int
    kind: Kind
    selection: Selection
    status: Status
    requested_by: str
    reason: str
    correlation_id: str
    requested_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    matched: int
    looked_at: int
    changed: int
    attempt_count: int
    error_code: str | None
    error_message: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in {"completed", "failed", "cancelled"}


class Count(Struct, frozen=True):
    """How many match, and the newest of them."""

    matched: int
    last_id: int


async def count(connection: Connection | Database, kind: Kind, selection: Selection) -> Count:
    """How many a job of this kind would touch now."""
    row = await connection.fetchrow(_load(f"count_{_CHOSEN[kind]}"), *selection.arguments)
    assert row is not None
    return Count(row["matched"], row["last_id"])


async def request(
    connection: Connection,
    kind: Kind,
    selection: Selection,
    requested_by: str,
    *,
    counted: Count,
    reason: str = "",
    correlation_id: str = "",
) -> int:
    """Ask for a job in the caller's transaction; its id."""
    chosen = encoded(msgspec.to_builtins(selection))
    values = (kind, chosen, requested_by, storable(reason), correlation_id, counted.matched, counted.last_id)
    return int(await connection.fetchval(_load("request"), *values))


async def read(connection: Connection | Database, job_id: int) -> Job | None:
    """One job, None when there is none of this id."""
    row = await connection.fetchrow(_load("read"), job_id)
    return None if row is None else _job(row)


async def recent(
    connection: Connection | Database,
    *,
    before: int | None = None,
    kind: Kind | None = None,
    status: Status | None = None,
    limit: int = 50,
) -> list[Job]:
    """Jobs, the newest first, a page ending where `before` began."""
    return [_job(row) for row in await connection.fetch(_load("recent"), before, kind, status, limit)]


async def cancel(connection: Connection | Database, job_id: int, reason: str) -> bool:
    """End a job; False when it has ended already. What it has done stays done."""
    return await connection.fetchval(_load("cancel"), job_id, storable(reason)) is not None


def _job(row: Mapping[str, Any]) -> Job:
    return Job(**{**row, "selection": msgspec.json.decode(row["selection"], type=Selection)})


# --- having one in hand: whoever claims a job owns it by (id, fence)


class Claimed(Struct, frozen=True, kw_only=True):
    """A job in hand."""

    id: int
    fence: int
    kind: Kind
    selection: Selection
    requested_by: str
    reason: str
    correlation_id: str
    last_id: int
    position: int


async def claim(database: Database, boot_id: str) -> Claimed | None:
    """Take the job that has waited longest."""
    row = await database.fetchrow(_load("claim"), boot_id)
    if row is None:
        return None
    return Claimed(**{**row, "selection": msgspec.json.decode(row["selection"], type=Selection)})


async def return_lost(database: Database, boot_id: str, attempts: int) -> dict[int, Status]:
    """Let jobs of dead nodes wait again, and those of this process; the caller has none in hand."""
    return {row["id"]: row["status"] for row in await database.fetch(_load("return_lost"), boot_id, attempts)}


async def hold(connection: Connection, job: Claimed) -> int | None:
    """Lock it for one portion of work in this transaction; its place, None when it is no longer the caller's."""
    place: int | None = await connection.fetchval(_load("hold"), job.id, job.fence)
    return place


async def portion(connection: Connection, job: Claimed, place: int, limit: int) -> list[int]:
    """The ids that come next; none when all were looked at."""
    rows = await connection.fetch(_load(_CHOSEN[job.kind]), *job.selection.arguments, place, job.last_id, limit)
    return [row["id"] for row in rows]


async def advance(connection: Connection, job: Claimed, ids: list[int], changed: int) -> None:
    """Keep the place behind `ids` in the transaction that holds the job and has carried the portion out."""
    await connection.execute(_load("advance"), job.id, ids[-1], len(ids), changed)


async def finish(database: Database, job: Claimed) -> int | None:
    """End it; how many it changed, None when it is no longer the caller's."""
    changed: int | None = await database.fetchval(_load("finish"), job.id, job.fence)
    return changed


async def release(database: Database, job: Claimed) -> None:
    """Put it back to wait, the attempt refunded; what is no longer ours stays as it is."""
    await database.execute(_load("release"), job.id, job.fence)


def _load(name: str) -> str:
    return sql.load(f"job/{name}", package="actors")
