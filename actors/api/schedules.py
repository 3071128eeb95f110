"""The schedules: when each runs next, and what became of its newest slot."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api.authentication import Caller
from actors.api.endpoints import Endpoint, answer
from actors.api.services import Services
from tds_runtime import Snapshot, schedule, sql
from tds_runtime.schedule import Schedule

TICKER = "ticker"


class Job(Struct, frozen=True, kw_only=True):
    """One schedule; `trigger` is `cron[0 2 * * *]` or `interval[15m]`, `last_*` are of its newest slot, in UTC."""

    id: str
    name: str
    next_run: datetime | None
    trigger: str
    run: str
    timezone: str
    enabled: bool
    last_slot: datetime | None = None
    last_outcome: str = ""
    last_run_id: int | None = None


class Jobs(Struct, frozen=True, kw_only=True):
    """All schedules, and whether anybody ticks."""

    jobs: tuple[Job, ...]
    count: int
    scheduler_running: bool


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Reading only; schedules are changed by the configuration and the command line."""

    async def jobs(_request: Request, _caller: Caller) -> Response:
        rows = await services.database.fetch(sql.load("api/slots", package="actors"), list(services.schedules))
        newest = {row["schedule"]: row for row in rows}
        now = datetime.now(UTC)
        found = tuple(job(name, plan, newest.get(name), now) for name, plan in services.schedules.items())
        runtime = services.runtime()
        ticks = runtime is not None and _is_ready(runtime.snapshot(), TICKER)
        return answer(Jobs(jobs=found, count=len(found), scheduler_running=ticks))

    path = "/api/tds/monitoring/scheduler/jobs"
    return (Endpoint(method="GET", path=path, role="viewer", handler=jobs, summary="Schedules", result=Jobs),)


def job(name: str, plan: Schedule, newest: Mapping[str, Any] | None, now: datetime) -> Job:
    """One schedule as it is shown."""
    coming = schedule.following(plan, now, 1) if plan.enabled else ()
    return Job(
        id=name,
        name=name.replace("_", " ").capitalize(),
        next_run=coming[0] + schedule.offset(name, plan) if coming else None,
        trigger=f"cron[{plan.cron}]" if plan.cron is not None else f"interval[{plan.every}]",
        run=plan.run,
        timezone=plan.timezone,
        enabled=plan.enabled,
        last_slot=newest["slot"] if newest else None,
        last_outcome=newest["outcome"] if newest else "",
        last_run_id=newest["run_id"] if newest else None,
    )


def _is_ready(node: Snapshot, name: str) -> bool:
    if node.name == name:
        return node.state == "ready"
    return any(_is_ready(child, name) for child in node.children)
