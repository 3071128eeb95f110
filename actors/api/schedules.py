"""The schedules: when each runs next, what became of its slots, and running, pausing and backfilling it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors import timetable
from actors.api import audit
from actors.api.authentication import Caller
from actors.api.endpoints import Because, Endpoint, Limit, answer, parameters, read
from actors.api.services import Services
from actors.timetable import Coming, Past, TooManySlots
from tds_runtime import Snapshot, schedule, sql
from tds_runtime.problem import Refusal
from tds_runtime.schedule import Schedule

TICKER = "ticker"
PATH = "/api/tds/monitoring/scheduler/jobs"


class Job(Struct, frozen=True, kw_only=True):
    """One schedule; `trigger` is `cron[0 2 * * *]` or `interval[15m]`, `last_*` are of its newest slot, in UTC.

    `paused` says why a person has paused it.
    """

    id: str
    name: str
    next_run: datetime | None
    trigger: str
    run: str
    timezone: str
    enabled: bool
    paused: str | None = None
    last_slot: datetime | None = None
    last_outcome: str = ""
    last_run_id: int | None = None


class Jobs(Struct, frozen=True, kw_only=True):
    """All schedules, and whether anybody ticks."""

    jobs: tuple[Job, ...]
    count: int
    scheduler_running: bool


class Whole(Struct, frozen=True, kw_only=True):
    """One schedule with its next five slots, in both zones, and its newest ones."""

    job: Job
    next: tuple[Coming, ...]
    history: tuple[Past, ...]


class Length(Struct, frozen=True, kw_only=True):
    """How many of the newest slots."""

    limit: Limit = 20


class Backfill(Because, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A past time whose slots without an outcome are run; times without a zone are UTC, `until` is now."""

    since: datetime
    until: datetime | None = None
    dry_run: bool = False


class Backfilled(Struct, frozen=True, kw_only=True):
    """Slots in that time, those of them without an outcome, and how many were made to run."""

    slots: int
    undecided: int
    made: int


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Reading, and the same verbs as on the command line; when a schedule runs is said by the configuration."""
    board = _Board(services)
    one = f"{PATH}/{{schedule}}"
    return (
        Endpoint(method="GET", path=PATH, role="viewer", handler=board.jobs, summary="Schedules", result=Jobs),
        Endpoint(
            method="GET", path=one, role="viewer", handler=board.one, summary="Schedule", query=Length, result=Whole,
        ),
        Endpoint(
            method="POST", path=f"{one}/run", role="operator", handler=board.run, summary="Run a schedule now",
            body=Because, result=Past, status=202,
        ),
        Endpoint(
            method="POST", path=f"{one}/pause", role="operator", handler=board.pause, summary="Pause a schedule",
            body=Because, result=Job,
        ),
        Endpoint(
            method="POST", path=f"{one}/resume", role="operator", handler=board.resume, summary="Resume a schedule",
            body=Because, result=Job, refuses=(409,),
        ),
        Endpoint(
            method="POST", path=f"{one}/backfill", role="operator", handler=board.backfill,
            summary="Run missed slots", body=Backfill, result=Backfilled,
        ),
    )  # fmt: skip


class _Board:
    """The handlers."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._database = services.database

    async def jobs(self, _request: Request, _caller: Caller) -> Response:
        found = await self._jobs(self._services.schedules)
        runtime = self._services.runtime()
        ticks = runtime is not None and _is_ready(runtime.snapshot(), TICKER)
        return answer(Jobs(jobs=found, count=len(found), scheduler_running=ticks))

    async def one(self, request: Request, _caller: Caller) -> Response:
        name, plan = self._named(request)
        limit = parameters(request, Length).limit
        return answer(
            Whole(
                job=await self._job(name, plan),
                next=timetable.coming(plan),
                history=await timetable.history(self._database, name, limit),
            )
        )

    async def run(self, request: Request, caller: Caller) -> Response:
        name, plan = self._named(request)
        reason = read(request, Because).reason
        async with self._database.transaction() as connection:
            made = await timetable.run(connection, name, plan)
            detail = {"schedule": name, made.work: made.work_id}
            await audit.note(connection, caller, "schedule.run", reason=reason, detail=detail)
        return answer(made, 202)

    async def pause(self, request: Request, caller: Caller) -> Response:
        name, plan = self._named(request)
        reason = read(request, Because).reason
        async with self._database.transaction() as connection:
            await timetable.pause(connection, name, caller.name, reason)
            await audit.note(connection, caller, "schedule.pause", reason=reason, detail={"schedule": name})
        return answer(await self._job(name, plan))

    async def resume(self, request: Request, caller: Caller) -> Response:
        name, plan = self._named(request)
        reason = read(request, Because).reason
        async with self._database.transaction() as connection:
            if not await timetable.resume(connection, name):
                raise Refusal(409, "This schedule is not paused.")
            await audit.note(connection, caller, "schedule.resume", reason=reason, detail={"schedule": name})
        return answer(await self._job(name, plan))

    async def backfill(self, request: Request, caller: Caller) -> Response:
        name, plan = self._named(request)
        wanted = read(request, Backfill)
        try:
            slots = timetable.missed(plan, wanted.since, wanted.until)
        except TooManySlots as error:
            raise Refusal(422, str(error)) from error
        undecided = await timetable.undecided(self._database, name, slots)
        made = 0
        if not wanted.dry_run:
            async with self._database.transaction() as connection:
                made = await timetable.backfill(connection, name, plan, slots, caller.name)
                detail = {"schedule": name, "since": wanted.since, "until": wanted.until, "made": made}
                await audit.note(connection, caller, "schedule.backfill", reason=wanted.reason, detail=detail)
        return answer(Backfilled(slots=len(slots), undecided=undecided, made=made))

    def _named(self, request: Request) -> tuple[str, Schedule]:
        name = request.path_params["schedule"]
        if name not in self._services.schedules:
            raise Refusal(404, "There is no schedule of this name.")
        return name, self._services.schedules[name]

    async def _job(self, name: str, plan: Schedule) -> Job:
        (found,) = await self._jobs({name: plan})
        return found

    async def _jobs(self, plans: Mapping[str, Schedule]) -> tuple[Job, ...]:
        rows = await self._database.fetch(sql.load("api/slots", package="actors"), list(plans))
        newest = {row["schedule"]: row for row in rows}
        paused = await timetable.paused(self._database)
        now = datetime.now(UTC)
        return tuple(job(name, plan, newest.get(name), paused.get(name), now) for name, plan in plans.items())


def job(name: str, plan: Schedule, newest: Mapping[str, Any] | None, paused: str | None, now: datetime) -> Job:
    """One schedule as it is shown."""
    coming = schedule.following(plan, now - schedule.offset(name, plan), 1) if plan.enabled else ()
    return Job(
        id=name,
        name=name.replace("_", " ").capitalize(),
        next_run=coming[0] + schedule.offset(name, plan) if coming else None,
        trigger=f"cron[{plan.cron}]" if plan.cron is not None else f"interval[{plan.every}]",
        run=plan.run,
        timezone=plan.timezone,
        enabled=plan.enabled,
        paused=paused,
        last_slot=newest["slot"] if newest else None,
        last_outcome=newest["outcome"] if newest else "",
        last_run_id=newest["run_id"] if newest else None,
    )


def _is_ready(node: Snapshot, name: str) -> bool:
    if node.name == name:
        return node.state == "ready"
    return any(_is_ready(child, name) for child in node.children)
