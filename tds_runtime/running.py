"""Running a run: whoever claims one owns it by (id, fence) and says so at every step.

A step of a run that was cancelled or taken over raises `LeaseLost` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from tds_runtime import sql
from tds_runtime.database import Connection, Database, storable
from tds_runtime.errors import LeaseLost
from tds_runtime.runs import Counts, Kind, Level, Status, encoded

ATTEMPTS = 3
"""A run whose owner ended in the middle this often is at fault itself."""


class Claimed(Struct, frozen=True, kw_only=True):
    """A run in hand; `position` is what the last step left, `listed_at` is set when only its tasks are outstanding."""

    id: int
    fence: int
    parent_id: int | None
    entity_type: str
    kind: Kind
    args: dict[str, Any]
    correlation_id: str
    attempt_count: int
    resumed: bool
    position: dict[str, Any] | None
    started_at: datetime
    listed_at: datetime | None
    schedule: str | None
    enqueued: int


class Cost(Struct, frozen=True, kw_only=True):
    """What calls to a source cost: how many, and bytes of their answers."""

    calls: int = 0
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(calls=self.calls + other.calls, bytes=self.bytes + other.bytes)


class Step(Struct, frozen=True, kw_only=True):
    """What one step of a listing adds; `ids` are what a page of a complete listing saw."""

    position: Mapping[str, Any]
    pages: int = 1
    listed: int = 0
    unchanged: int = 0
    enqueued: int = 0
    coalesced: int = 0
    variant: str = ""
    page: int = 0
    ids: Sequence[str] | None = None
    cost: Cost = Cost()


class Ended(Counts, frozen=True, kw_only=True):
    """What a completed run came to; `seconds` from its first moment."""

    seconds: float


class Cursor(Struct, frozen=True):
    """How far a source was read: up to which stamp, and when it was last listed whole."""

    modified_at: datetime | None = None
    scanned_at: datetime | None = None


class Missing(Struct, frozen=True):
    """What a complete listing did not see: how many records are stored, and ids that were absent, up to a limit."""

    stored: int
    ids: tuple[str, ...]


async def claim(database: Database, boot_id: str, limit: int) -> list[Claimed]:
    """Take up to `limit` waiting runs, at most one per entity."""
    try:
        rows = await database.fetch(sql.load("runs/claim"), boot_id, limit)
    except asyncpg.UniqueViolationError:
        return []  # another node began to list one of these entities in this moment; the next claim sees it
    return [_claimed(row) for row in rows]


async def expand(connection: Connection, run: Claimed, entities: Sequence[str]) -> list[int]:
    """Make one run per entity out of a run of everything."""
    rows = await connection.fetch(sql.load("runs/expand"), run.id, run.fence, list(entities))
    if not rows:
        raise LeaseLost(f"run {run.id} is no longer ours")
    return [row["id"] for row in rows]


async def plan(database: Database, run: Claimed, planned: Mapping[str, Any], expected: int | None) -> None:
    """Keep what the run will take, and how many records the source counted."""
    _held(run, await database.fetchval(sql.load("runs/plan"), run.id, run.fence, encoded(planned), expected))


async def plan_of_part(database: Database, run: Claimed) -> bytes | None:
    """What the run of everything that this run is a part of reckoned for it, as JSON."""
    found = await database.fetchval(sql.load("runs/plan_of_part"), run.parent_id, run.entity_type)
    return None if found is None else str(found).encode()


async def advance(connection: Connection, run: Claimed, step: Step) -> None:
    """Keep one step of the listing, in the transaction that enqueues what it found."""
    held = await connection.fetchval(
        sql.load("runs/progress"),
        run.id,
        run.fence,
        encoded(step.position),
        step.pages,
        step.listed,
        step.unchanged,
        step.enqueued,
        step.coalesced,
        step.variant,
        step.page,
        None if step.ids is None else [storable(one) for one in step.ids],
        step.cost.calls,
        step.cost.bytes,
    )
    _held(run, held)


async def spend(connection: Connection | Database, costs: Mapping[int, Cost]) -> None:
    """Add what calls cost to the runs they were made for."""
    wanted = sorted((run_id, cost) for run_id, cost in costs.items() if cost.calls or cost.bytes)
    if wanted:
        ids, calls, sizes = zip(*((run_id, cost.calls, cost.bytes) for run_id, cost in wanted), strict=True)
        await connection.execute(sql.load("runs/spend"), list(ids), list(calls), list(sizes))


async def finish_listing(connection: Connection, run: Claimed, *, candidates: int = 0, alarm: str = "") -> None:
    """The listing ended: only its tasks are outstanding from now on."""
    _held(run, await connection.fetchval(sql.load("runs/listed"), run.id, run.fence, candidates, alarm))


async def outstanding(database: Database, run: Claimed) -> int:
    """How many of its tasks wait for their first try or are in flight."""
    row = await database.fetchrow(sql.load("runs/outstanding"), run.id, run.fence)
    assert row is not None
    _held(run, row["held"] or None)
    return int(row["outstanding"])


async def complete(database: Database, run: Claimed, *, alarm: str = "") -> Ended:
    """End it well; what is outstanding of it is left to the queue."""
    row = await database.fetchrow(sql.load("runs/complete"), run.id, run.fence, alarm)
    _held(run, row)
    assert row is not None
    return Ended(**dict(row))


async def fail(database: Database, run: Claimed, code: str, message: str) -> None:
    """End it badly."""
    _held(run, await database.fetchval(sql.load("runs/fail"), run.id, run.fence, code, storable(message)))


async def release(database: Database, claimed: Iterable[Claimed], until: datetime | None = None) -> None:
    """Put runs back to wait, the attempt refunded; what is no longer ours stays as it is."""
    ordered = sorted(claimed, key=lambda run: run.id)
    ids, fences = [run.id for run in ordered], [run.fence for run in ordered]
    await database.execute(sql.load("runs/release"), ids, fences, until)


async def return_lost(database: Database, boot_id: str, *, own: bool, held: Iterable[int] = ()) -> dict[int, Status]:
    """Let runs of dead nodes wait again, and with `own` those of this process that it does not have in hand."""
    rows = await database.fetch(sql.load("runs/return_lost"), boot_id, ATTEMPTS, own, list(held))
    return {row["id"]: row["status"] for row in rows}


async def close_parents(database: Database) -> dict[int, Status]:
    """End the runs of everything whose runs have all ended."""
    return {row["id"]: row["status"] for row in await database.fetch(sql.load("runs/close_parents"))}


async def log(
    connection: Connection | Database,
    run: Claimed,
    level: Level,
    event: str,
    message: str = "",
    **detail: object,
) -> None:
    """Add a line to the run's log."""
    await connection.execute(
        sql.load("runs/log"),
        run.id,
        level,
        event,
        run.entity_type,
        storable(message),
        encoded(detail),
        run.correlation_id,
    )


# --- what was read


async def cursor(database: Database, entity_type: str, variant: str) -> Cursor:
    """How far this source was read."""
    row = await database.fetchrow(sql.load("runs/read_cursor"), entity_type, variant)
    return Cursor(row["modified_at"], row["scanned_at"]) if row else Cursor()


async def save_cursor(connection: Connection, run: Claimed, variant: str, cursor: Cursor) -> None:
    """Move a cursor in the transaction of the rows it stands for; it never goes back."""
    await connection.execute(
        sql.load("runs/save_cursor"), run.entity_type, variant, cursor.modified_at, cursor.scanned_at, run.id
    )


async def missing(database: Database, run: Claimed, variant: str, limit: int) -> Missing:
    """What is stored of an entity (of one source, when it has several) and was not seen by this run."""
    row = await database.fetchrow(sql.load("runs/missing"), run.id, run.entity_type, variant, limit)
    assert row is not None
    return Missing(row["stored"], tuple(row["missing"]))


async def stored(database: Database, entity_type: str, variant: str, after: str, limit: int) -> list[str]:
    """Ids of living records in key order, after one."""
    rows = await database.fetch(sql.load("runs/stored"), entity_type, variant, after, limit)
    return [row["source_entity_id"] for row in rows]


def _held(run: Claimed, found: object) -> None:
    if found is None:
        raise LeaseLost(f"run {run.id} was cancelled or taken over")


def _claimed(row: Mapping[str, Any]) -> Claimed:
    position = row["position"]
    return Claimed(
        **{
            **row,
            "args": msgspec.json.decode(row["args"]),
            "position": None if position is None else msgspec.json.decode(position),
        }
    )
