"""Puts right what a comparison found: tasks like those of a pull, in one transaction with who asked for it and why.

What is known of a record's content is dropped first. Else its task would end as unchanged: the state says what was
written, and somebody else has written since.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from actors.pulling import sift
from actors.pulling.sift import Asked
from actors.reconciling.desk import Desk
from actors.reconciling.judging import Record
from actors.zoho.entities import Entity, Source
from tds_runtime import audit, records, sql
from tds_runtime.database import Connection
from tds_runtime.task import FULL, Change


def of_record(entity: Entity, record: Record, report_id: int, correlation_id: str) -> Change:
    """A detail call where documents are written from details, else the list row itself."""
    if record.source.details == "changed" and record.source.detail_path:
        return of_detail(entity, record.id, record.source.name, report_id, correlation_id)
    return Change(
        entity_type=entity.name,
        source_entity_id=record.id,
        payload=record.raw,
        variant=record.source.name,
        source_modified_at=record.modified_at,
        observed_at=record.asked_at,
        priority=FULL,
        correlation_id=correlation_id,
        reason=because(report_id),
    )


def of_detail(entity: Entity, record: str, variant: str, report_id: int, correlation_id: str) -> Change:
    """A detail call, whatever of the record is known."""
    return Change(
        entity_type=entity.name,
        source_entity_id=record,
        operation="fetch",
        variant=variant,
        priority=FULL,
        correlation_id=correlation_id,
        reason=because(report_id),
    )


def because(report_id: int) -> str:
    """How the audit trail and the queue name the cause."""
    return f"reconciliation {report_id}"


def confirmations(
    entity: Entity, extra: Sequence[str], report_id: int, correlation_id: str, asked_at: datetime
) -> list[Change]:
    """Ask for records that the source does not list; nothing for those of which there can be no proof.

    Of an entity with several sources each is asked, as a record may have moved from one to the other.
    """
    source = _provable(entity)
    if source is None:
        return []
    asked = Asked(run_id=None, priority=FULL, correlation_id=correlation_id, observed_at=asked_at)
    found = sift.confirmations(entity, source, extra, asked, because(report_id))
    return found if len(entity.sources) == 1 else [replace(one, variant="") for one in found]


def _provable(entity: Entity) -> Source | None:
    first = entity.sources[0]
    if entity.can_refetch or (len(entity.sources) == 1 and not first.paged):
        return first
    return None


async def enqueue(desk: Desk, entity: Entity, changes: Sequence[Change], *, unknown: Iterable[str] = ()) -> None:
    """Enqueue repairs; of `unknown` rows, which nobody pulled, it is first noted that they are there."""
    if not changes:
        return
    await desk.ride(lambda: _enqueue(desk, entity, changes, list(unknown)))
    desk.due({(entity.name, "fetch" if one.operation == "fetch" else "upsert") for one in changes})


async def _enqueue(desk: Desk, entity: Entity, changes: Sequence[Change], unknown: Sequence[str]) -> None:
    async with desk.database.transaction() as connection:
        if unknown:
            await connection.execute(sql.load("reconciler/adopt", package="actors"), entity.name, unknown)
        await records.forget(connection, entity.name, [one.source_entity_id for one in changes])
        await desk.queue.enqueue(connection, changes)
        await _note(connection, desk, entity, changes)


async def _note(connection: Connection, desk: Desk, entity: Entity, changes: Sequence[Change]) -> None:
    report = desk.report
    detail = {"report_id": report.id, "tasks": len(changes), "records": [one.source_entity_id for one in changes[:100]]}
    await audit.note(
        connection,
        report.requested_by,
        "reconciliation.repair",
        reason=report.reason,
        entity=entity.name,
        correlation_id=report.correlation_id,
        detail=detail,
    )
