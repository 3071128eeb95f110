"""What people do about alerts, and what they are shown: the verbs of the command line and of the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from actors.alerting import storing
from actors.alerting.routing import Matchers, Silence
from tds_runtime import sql
from tds_runtime.database import Connection, Database


async def acknowledge(
    connection: Connection | Database, alert: int, *, by: str, comment: str, seconds: float
) -> datetime | None:
    """Somebody looks at it, until then; None when there is no open alert of this id."""
    row = await connection.fetchrow(_load("acknowledge"), alert, by, comment, seconds)
    return None if row is None else row["acknowledged_until"]


async def silence(
    connection: Connection | Database, matchers: Matchers, *, author: str, comment: str, seconds: float
) -> Silence:
    """Nobody is told of these for a while."""
    row = await connection.fetchrow(_load("silence"), msgspec.json.encode(matchers).decode(), author, comment, seconds)
    return storing.silence_of(row)


async def unsilence(connection: Connection | Database, number: int) -> bool:
    """End a silence; false when it is over or unknown."""
    return await connection.fetchval(_load("unsilence"), number) is not None


async def silences(database: Database, *, over: bool = False) -> list[Silence]:
    """The silences, with `over` also the latest that have ended."""
    now = await database.fetchval("SELECT now()")
    return [storing.silence_of(row) for row in await database.fetch(_load("silences"), now, over)]


async def listed(
    database: Database,
    *,
    resolved: bool = False,
    limit: int = 50,
    before: int | None = None,
    alert_type: str | None = None,
    severity: str | None = None,
) -> list[dict[str, Any]]:
    """Alerts as they are shown, newest first."""
    rows = await database.fetch(_load("list"), resolved, limit, before, alert_type, severity)
    return [_shown(row) for row in rows]


async def read(database: Database, alert: int, limit: int = 1_000) -> dict[str, Any] | None:
    """One alert with its log and its notifications; None when there is none of this id."""
    row = await database.fetchrow(_load("read"), alert)
    if row is None:
        return None
    sent = await database.fetch(_load("notifications"), alert, limit)
    return {**_shown(row), "events": await events(database, alert, limit), "notifications": [dict(one) for one in sent]}


async def events(database: Database, alert: int, limit: int = 1_000) -> list[dict[str, Any]]:
    """What happened to an alert."""
    return [dict(row.items()) for row in await database.fetch(_load("events"), alert, limit)]


def _shown(row: Any) -> dict[str, Any]:
    fields = dict(row.items())
    return fields | {name: msgspec.json.decode(fields[name]) for name in ("labels", "metadata")}


def _load(name: str) -> str:
    return sql.load(f"alert/{name}", package="actors")
