"""Having a report in hand: whoever claims one owns it by (id, fence) and says so at every step.

A step of a report that was cancelled or taken over raises `LeaseLost` and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from actors.reconciling.tally import Finding, Outcome
from actors.reports import Depth, Status
from tds_runtime import sql
from tds_runtime.database import Connection, Database, storable
from tds_runtime.errors import LeaseLost
from tds_runtime.runs import encoded

ATTEMPTS = 3
"""A report whose owner ended in the middle this often is at fault itself."""


class Claimed(Struct, frozen=True, kw_only=True):
    """A report in hand; `stored` are the entities that an earlier owner has compared already."""

    id: int
    fence: int
    entity_type: str
    depth: Depth
    repair: bool
    requested_by: str
    reason: str
    correlation_id: str
    attempt_count: int
    stored: Sequence[str]


class Progress(Struct, kw_only=True):
    """How far the report in hand is: entities, and records of the present one."""

    entities: int = 0
    entity: str = ""
    seen: int = 0
    expected: int | None = None


async def claim(database: Database, boot_id: str) -> Claimed | None:
    """Take the report that has waited longest."""
    row = await database.fetchrow(_load("claim"), boot_id)
    return None if row is None else Claimed(**row)


async def return_lost(database: Database, boot_id: str) -> dict[int, Status]:
    """Let reports of dead nodes wait again, and those of this process; the caller has none in hand."""
    return {row["id"]: row["status"] for row in await database.fetch(_load("return_lost"), boot_id, ATTEMPTS)}


async def advance(database: Database, report: Claimed, at: Progress) -> None:
    """Show how far it is, and learn whether it is still ours."""
    values = (report.id, report.fence, at.entities, at.entity, at.seen, at.expected)
    _held(report, await database.fetchval(_load("progress"), *values))


async def store(
    connection: Connection, report: Claimed, outcome: Outcome, findings: Sequence[Finding], threshold: float
) -> bool:
    """Keep one entity, its findings and its alert, in the caller's transaction; whether the alert is new."""
    _held(report, await connection.fetchval(_load("advance"), report.id, report.fence))
    columns = encoded(outcome.columns)
    new = await connection.fetchval(_load("store"), report.id, outcome.entity, threshold, columns)
    await connection.execute(_load("keep_findings"), report.id, outcome.entity, _listed(findings))
    return bool(new)


def _listed(findings: Sequence[Finding]) -> str:
    return f"[{','.join(encoded(_row(one)) for one in findings)}]"


def _row(finding: Finding) -> Mapping[str, Any]:
    return {
        "record": storable(finding.record),
        "kind": finding.kind,
        "variant": finding.variant,
        "local_id": finding.local_id,
        "differences": finding.told,
        "repair": finding.repair,
    }


async def end(database: Database, report: Claimed, code: str | None = None, message: str | None = None) -> float | None:
    """End it, well or badly; the share of records that match, over all entities."""
    row = await database.fetchrow(
        _load("end"), report.id, report.fence, code, None if message is None else storable(message)
    )
    _held(report, row)
    assert row is not None
    share: float | None = row["match_percentage"]
    return share


async def release(database: Database, report: Claimed) -> None:
    """Put it back to wait, the attempt refunded; what is no longer ours stays as it is."""
    await database.execute(_load("release"), report.id, report.fence)


def _held(report: Claimed, found: object) -> None:
    if found is None:
        raise LeaseLost(f"report {report.id} was cancelled or taken over")


def _load(name: str) -> str:
    return sql.load(f"reconciler/{name}", package="actors")
