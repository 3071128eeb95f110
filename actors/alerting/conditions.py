"""What is wrong by the tables themselves: many waiting tasks or dead letters, silence, lost nodes, failed schedules."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from actors.alerting import storing
from actors.alerting.storing import Finding, Opened, Over
from actors.condition import Thresholds
from tds_runtime import sql
from tds_runtime.database import Database
from tds_runtime.values import Duration


class Conditions(Struct, frozen=True, kw_only=True):
    """From where on something is wrong, as `[healer]` says, and by schedule how late its success may be."""

    thresholds: Thresholds = Thresholds()
    silence: Duration = Duration("6h")
    heartbeat: Duration = Duration("5m")
    graces: Mapping[str, Duration] = {}


async def watch(
    database: Database, conditions: Conditions, recovered: int | None = None, missing: int | None = None
) -> list[Opened]:
    """Keep an alert for each cause that holds, resolve those whose cause is gone; returns the new ones.

    `recovered` is how many stuck tasks were just given back and `missing` how many missing records are being fetched;
    without them the alerts of stuck tasks and of missing records stay as they are.
    """
    limits = conditions.thresholds
    rows = await database.fetch(
        sql.load("alert/causes", package="actors"),
        recovered, limits.queue_warning, limits.queue_critical, limits.dlq_warning, limits.dlq_critical,
        conditions.silence, conditions.heartbeat, list(conditions.graces), list(conditions.graces.values()), missing,
    )  # fmt: skip
    if not rows:
        return []
    found = [
        Finding(
            alert_type=row["alert_type"],
            severity=row["severity"],
            cause=row["cause"],
            title=row["title"],
            message=row["message"],
            metadata=msgspec.json.decode(row["metadata"]),
        )
        for row in rows
        if row["holds"]
    ]
    return await storing.keep(
        database, found, [Over(row["alert_type"], row["cause"]) for row in rows if not row["holds"]]
    )
