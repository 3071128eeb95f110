"""Rows that lack something: records that a comparison missed here, and children whose parent is gone, are fetched."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg

from actors.zoho.entities import Entities, Entity
from actors.zoho.target import Children
from tds_runtime import logs, records, sql
from tds_runtime.database import Connection, Database
from tds_runtime.queue import INCREMENTAL, Change, Queue
from tds_runtime.values import Duration

MISSING = "healer: missing here"
ORPHANED = "healer: children without parent"

log = logs.get("healer")


async def fetch_missing(database: Database, queue: Queue, entities: Entities, limit: int) -> int:
    """Enqueue what the newest comparison of each entity found missing here, each finding once; returns how many."""
    found = 0
    for entity in _fetchable(entities):
        async with database.transaction() as connection:
            rows = await connection.fetch(_load("missing"), entity.name, limit - found)
            await _fetch(connection, queue, entity, [(row["record"], row["variant"]) for row in rows], MISSING)
        found += len(rows)
        if found >= limit:
            break
    return found


async def fetch_orphaned(database: Database, queue: Queue, entities: Entities, limit: int, every: Duration) -> int:
    """Enqueue the records whose rows are gone while their children are there; looks once in `every` in the fleet."""
    if await database.fetchval(_load("look_for_orphans"), every) is None:
        return 0
    found = 0
    for entity in _fetchable(entities):
        for children in entity.target.children:
            parents = await _orphaned(database, children, limit - found)
            async with database.transaction() as connection:
                idle = [row["record"] for row in await connection.fetch(_load("idle"), entity.name, parents)]
                await _fetch(connection, queue, entity, [(record, "") for record in idle], ORPHANED)
            found += len(idle)
            if found >= limit:
                return found
    return found


async def _orphaned(database: Database, children: Children, limit: int) -> list[str]:
    """Parents that are gone; none where the table is not as the mapping says, which `entity check` tells."""
    try:
        rows = await database.fetch(children.orphans, limit)
    except asyncpg.SyntaxOrAccessError as error:  # no such table or column, or no right to read it
        log.warning("healer.table_unreadable", table=children.table, reason=str(error))
        return []
    return sorted({row["parent"] for row in rows})


def _fetchable(entities: Entities) -> list[Entity]:
    return [entity for entity in entities if entity.can_refetch]


async def _fetch(
    connection: Connection, queue: Queue, entity: Entity, wanted: Sequence[tuple[str, str]], reason: str
) -> None:
    """What is known of their content is dropped first, or the task would end as unchanged."""
    if not wanted:
        return
    await records.forget(connection, entity.name, [record for record, _ in wanted])
    await queue.enqueue(
        connection,
        [
            Change(
                entity_type=entity.name,
                source_entity_id=record,
                operation="fetch",
                variant=variant,
                priority=INCREMENTAL,
                reason=reason,
            )
            for record, variant in wanted
        ],
    )


def _load(name: str) -> str:
    return sql.load(f"healer/{name}", package="actors")
