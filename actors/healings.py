"""Rounds of the healer as rows: asked for by a slot or a person, begun by one healer, ended with what was put right."""

from __future__ import annotations

from datetime import datetime

from tds_runtime import sql
from tds_runtime.database import Connection, Database, storable


async def request(
    connection: Connection, requested_by: str, *, schedule: str | None = None, slot: datetime | None = None
) -> int:
    """Ask for a round in the caller's transaction; some healer finds it within a second."""
    return int(await connection.fetchval(_load("request"), requested_by, schedule, slot))


async def begin(database: Database, boot_id: str, node: str) -> int | None:
    """Take the round that has waited longest, or one whose owner is gone; None when there is none."""
    found: int | None = await database.fetchval(_load("begin"), boot_id, node)
    return found


async def begin_now(database: Database, boot_id: str, node: str, requested_by: str) -> int:
    """Begin a round for which nobody has left a row."""
    return int(await database.fetchval(_load("begin_now"), boot_id, node, requested_by))


async def cancel(connection: Connection, healing_id: int, reason: str) -> None:
    """End a round that has not ended."""
    await connection.execute(_load("cancel"), healing_id, storable(reason))


def _load(name: str) -> str:
    return sql.load(f"healer/{name}", package="actors")
