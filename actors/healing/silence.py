"""A source that used to send webhooks and sends none: until one comes, what they would have told is pulled."""

from __future__ import annotations

from tds_runtime import logs, runs, sql
from tds_runtime.database import Database
from tds_runtime.values import Duration

SLACK = 60.0
"""Seconds by which one round may be earlier after the last than their interval says."""

log = logs.get("healer")


async def pull(database: Database, silence: Duration, every: Duration) -> int:
    """Ask for an incremental pull of everything when it is silent, at most one in `every`; returns how many."""
    async with database.transaction() as connection:
        row = await connection.fetchrow(sql.load("healer/silent", package="actors"), silence, every - SLACK)
        if row is None:
            return 0
        since = row["received_at"].isoformat(timespec="seconds")
        why = f"healer: no webhook from {row['source']} since {since}"
        run_id = await runs.request(connection, runs.EVERYTHING, "incremental", why)
    log.warning("source.silent", source=row["source"], since=since, run_id=run_id)
    return 1
