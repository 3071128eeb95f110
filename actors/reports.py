"""Reports of comparisons: what was asked to be compared, by whom, how far it is, and what was found, record by record.

A report is a row: pending -> running -> completed, failed or cancelled. Its entities are stored whole or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

from tds_runtime import sql
from tds_runtime.database import Connection, Database, storable

Depth: TypeAlias = Literal["counts", "records"]
Status: TypeAlias = Literal["pending", "running", "completed", "failed", "cancelled"]
Kind: TypeAlias = Literal["missing", "extra", "different", "in_flight"]

EVERYTHING = "all"
"""The entity of a report of every entity."""


class Report(Struct, frozen=True, kw_only=True):
    """A report as people see it.

    Attributes:
        requests: How many asked for it before it began.
        entities: How many are to be compared; `compared` of these are stored.
        current_entity: The one in hand, with `seen` records of the `expected` that its source counted.
        match_percentage: Over the records of all entities; None until it has ended.
    """

    id: int
    entity_type: str
    depth: Depth
    repair: bool
    status: Status
    requested_by: str
    reason: str
    schedule: str | None
    slot: datetime | None
    correlation_id: str
    requests: int
    requested_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    attempt_count: int
    entities: int
    compared: int
    current_entity: str
    seen: int
    expected: int | None
    match_percentage: float | None
    error_code: str | None
    error_message: str | None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in {"completed", "failed", "cancelled"}


class Result(Struct, frozen=True, kw_only=True):
    """Both sides of one entity.

    Attributes:
        depth: What was really compared; `note` says why it is less than was asked for.
        counted: By the source's count call, None where it has none; `source_count` by sweep, if there was one.
        matched: None, like the following, where only counts were compared.
        in_flight: A task for them waits, or they changed meanwhile: on neither side of sums and checksums.
        repairs: Tasks that were enqueued to put right what was found.
        alarm: `too_many_extra`: so many that none of them was touched.
    """

    entity_type: str
    depth: Depth
    compared_at: datetime
    counted: int | None
    source_count: int
    local_count: int
    match_percentage: float
    matched: int | None
    missing: int | None
    extra: int | None
    different: int | None
    in_flight: int | None
    source_sums: Raw
    local_sums: Raw
    source_checksum: str
    local_checksum: str
    repairs: int
    alarm: str
    note: str
    seconds: float
    report_id: int | None = None


class Finding(Struct, frozen=True, kw_only=True):
    """One record that does not match; `differences` is column to {"source": ..., "local": ...}."""

    entity_type: str
    source_entity_id: str
    kind: Kind
    variant: str
    local_id: str | None
    differences: Raw
    repair: str


async def request(
    connection: Connection,
    entity_type: str,
    requested_by: str,
    *,
    depth: Depth = "records",
    repair: bool = False,
    reason: str = "",
    schedule: str | None = None,
    slot: datetime | None = None,
    correlation_id: str = "",
) -> int:
    """Ask for a report in the caller's transaction; the same wish that has not begun yet is the same report."""
    values = (entity_type, depth, repair, requested_by, storable(reason), schedule, slot, correlation_id)
    return int(await connection.fetchval(_load("request"), *values))


async def read(connection: Connection | Database, report_id: int) -> Report | None:
    """One report, None when there is none of this id."""
    row = await connection.fetchrow(_load("read"), report_id)
    return None if row is None else Report(**row)


async def recent(
    connection: Connection | Database,
    *,
    before: int | None = None,
    entity_type: str | None = None,
    status: Status | None = None,
    limit: int = 50,
) -> list[Report]:
    """Reports, the newest first, a page ending where `before` began."""
    return [Report(**row) for row in await connection.fetch(_load("recent"), before, entity_type, status, limit)]


async def results(connection: Connection | Database, report_id: int) -> list[Result]:
    """Every entity that is stored of a report, by name."""
    return [_result(row) for row in await connection.fetch(_load("results"), report_id)]


async def latest(connection: Connection | Database, entity_type: str) -> Result | None:
    """The newest comparison of an entity, whatever report it belongs to."""
    row = await connection.fetchrow(_load("latest"), entity_type)
    return None if row is None else _result(row)


async def findings(
    connection: Connection | Database,
    report_id: int,
    *,
    after: tuple[str, str] = ("", ""),
    entity_type: str | None = None,
    kind: Kind | None = None,
    record: str | None = None,
    limit: int = 100,
) -> list[Finding]:
    """What did not match, by entity and record, behind the pair `after`."""
    rows = await connection.fetch(_load("findings"), report_id, *after, entity_type, kind, record, limit)
    return [Finding(**{**row, "differences": Raw(row["differences"].encode())}) for row in rows]


async def cancel(connection: Connection | Database, report_id: int, reason: str) -> bool:
    """End a report; False when it has ended already. What is stored of it stays."""
    return await connection.fetchval(_load("cancel"), report_id, storable(reason)) is not None


def differences(finding: Finding) -> Mapping[str, Mapping[str, Any]]:
    """What a finding says, column by column."""
    found: Mapping[str, Mapping[str, Any]] = msgspec.json.decode(finding.differences)
    return found


def _result(row: Mapping[str, Any]) -> Result:
    sums = {side: Raw(row[side].encode()) for side in ("source_sums", "local_sums")}
    return Result(**{**row, **sums})


def _load(name: str) -> str:
    return sql.load(f"reconciler/{name}", package="actors")
