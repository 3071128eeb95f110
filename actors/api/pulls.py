"""Asking for a pull and following it: every way to ask writes the same run row, and the row is what is followed."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api import audit, following
from actors.api.authentication import Caller
from actors.api.endpoints import (
    LARGEST_ID,
    LONGEST_PAGE,
    Because,
    Endpoint,
    Id,
    Limit,
    Reason,
    answer,
    parameters,
    path_id,
    read,
)
from actors.api.following import Patience
from actors.api.services import Services
from actors.zoho.entities import Entities
from tds_runtime import runs
from tds_runtime.mailbox import CORRELATION
from tds_runtime.problem import Refusal
from tds_runtime.runs import EVERYTHING, Kind, Line, Run, Status

PREFIX = "/api/zoho/bulk-sync"
PATH = "/api/bff/tds/runs"

Aim = tuple[str, Kind]


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be said beside the path; `kind` overrides what the path means.

    `plan` only says how many calls a full pull would take; `insist` begins one for which the day has not enough left.
    """

    kind: Literal["full", "incremental"] | None = None
    reason: Reason = ""
    plan: bool = False
    insist: bool = False

    @property
    def args(self) -> dict[str, Any]:
        """What of it the run is to know."""
        return {name: True for name, wanted in (("plan", self.plan), ("insist", self.insist)) if wanted}


class Which(Struct, frozen=True, kw_only=True):
    """Which runs, those below `before`."""

    limit: Limit | None = None
    before: Id = LARGEST_ID
    entity_type: str | None = None
    kind: Kind | None = None
    status: Status | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """Where a run is.

    `items` were listed, `failures` of them ended in the dead letters, `success_rate` is in percent; the run of
    everything adds its runs up. `plan` is what it takes in calls, once that has been reckoned.
    """

    run_id: int
    entity_type: str
    kind: Kind
    status: Status
    items: int
    failures: int
    success_rate: float
    duration_seconds: float | None
    error: str | None
    plan: dict[str, Any] | None = None


class Runs(Struct, frozen=True, kw_only=True):
    """What runs, what waits, and what was last."""

    running: tuple[Run, ...]
    pending: tuple[Run, ...]
    recent: tuple[Run, ...]


class Page(Struct, frozen=True, kw_only=True):
    """Newest first; `next` is the `before` of the following page, None on the last one."""

    items: tuple[Run, ...]
    next: int | None


class Whole(Struct, frozen=True, kw_only=True):
    """A run with the runs that it became and the beginning of its log."""

    run: Run
    runs: tuple[Run, ...]
    log: tuple[Line, ...]


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Asking and following."""
    pulls = Pulls(services)
    return (
        Endpoint(
            method="GET", path=f"{PREFIX}/status", role="viewer", handler=pulls.status, summary="Pulls", result=Runs
        ),
        Endpoint(
            method="POST",
            path=f"{PREFIX}/{{what}}",
            role="operator",
            handler=pulls.ask,
            summary="Pull",
            body=Wish,
            query=Patience,
            result=Outcome,
            also={202: Outcome},
        ),
        Endpoint(method="GET", path=PATH, role="viewer", handler=pulls.page, summary="Runs", query=Which, result=Page),
        Endpoint(
            method="GET", path=f"{PATH}/{{id:int}}", role="viewer", handler=pulls.one, summary="Run", result=Whole
        ),
        Endpoint(
            method="POST",
            path=f"{PATH}/{{id:int}}/cancel",
            role="operator",
            handler=pulls.cancel,
            summary="Stop a run",
            body=Because,
            result=Outcome,
            refuses=(409,),
        ),
    )


def aims(entities: Entities) -> dict[str, Aim]:
    """What the last segment of the path means: every entity by its names, and the names that operators know."""
    known: dict[str, Aim] = {}
    for entity in entities:
        dashed = entity.name.replace("_", "-")
        plural = f"{dashed}es" if dashed.endswith("ch") else f"{dashed}s"
        for name in (entity.name, dashed, plural, *(entity.webhook.paths if entity.webhook else ())):
            known.setdefault(name, (entity.name, "full"))
    known |= {
        "stock": ("product", "stock"),
        "items-with-stock": ("product", "stock"),
        "balances": (EVERYTHING, "balance"),
        "pricelists": ("price_list", "price_list"),
        "sync-all": (EVERYTHING, "full"),
    }
    return known


def outcome(run: Run, children: list[Run]) -> Outcome:
    """A run as who asked for it sees it."""
    parts = children or [run]
    items, failures = sum(part.listed for part in parts), sum(part.dead for part in parts)
    began, ended = run.started_at or run.requested_at, run.completed_at
    return Outcome(
        run_id=run.id,
        entity_type=run.entity_type,
        kind=run.kind,
        status=run.status,
        items=items,
        failures=failures,
        success_rate=round(100 * (items - failures) / items, 2) if items else 100.0,
        duration_seconds=round((ended - began).total_seconds(), 3) if ended else None,
        error=run.error_message or run.error_code,
        plan=run.plan,
    )


class Pulls:
    """What is done about runs."""

    def __init__(self, services: Services) -> None:
        self._services, self._database = services, services.database
        self._aims = aims(services.entities)

    async def ask(self, request: Request, caller: Caller) -> Response:
        aim = self._aims.get(request.path_params["what"])
        if aim is None:
            raise Refusal(404, "There is nothing of this name to pull.", errors=tuple(sorted(self._aims)))
        return await self.begin(request, caller, aim, read(request, Wish), parameters(request, Patience))

    async def begin(self, request: Request, caller: Caller, aim: Aim, wish: Wish, patience: Patience) -> Response:
        """Ask for a run, wait for it where that was wished, and answer where it is."""
        kind = wish.kind or aim[1]
        if wish.plan and kind not in ("full", "price_list"):
            raise Refusal(422, "Only a full pull has a plan.")
        run_id = await self._request(aim[0], kind, wish, caller)
        self._services.wake_pull()
        if patience.wait or wish.plan:
            await following.until(lambda: self._ended(run_id), request, self._services.options.wait)
        found = await self._outcome(run_id)
        return answer(found, 202 if found.status in ("pending", "running") else 200)

    async def status(self, _request: Request, _caller: Caller) -> Response:
        running = await runs.recent(self._database, status="running", limit=LONGEST_PAGE)
        pending = await runs.recent(self._database, status="pending", limit=LONGEST_PAGE)
        recent = await runs.recent(self._database, limit=20)
        return answer(Runs(running=tuple(running), pending=tuple(pending), recent=tuple(recent)))

    async def page(self, request: Request, _caller: Caller) -> Response:
        wanted = parameters(request, Which)
        limit = wanted.limit or self._services.options.page
        found = await runs.recent(
            self._database,
            before=wanted.before,
            entity_type=wanted.entity_type,
            kind=wanted.kind,
            status=wanted.status,
            limit=limit,
        )
        return answer(Page(items=tuple(found), next=found[-1].id if len(found) == limit else None))

    async def one(self, request: Request, _caller: Caller) -> Response:
        run = await self._read(path_id(request))
        parts = await runs.children(self._database, run.id)
        log = await runs.lines(self._database, run.id)
        return answer(Whole(run=run, runs=tuple(parts), log=tuple(log)))

    async def cancel(self, request: Request, caller: Caller) -> Response:
        reason, run_id = read(request, Because).reason, path_id(request)
        run = await self._read(run_id)
        async with self._database.transaction() as connection:
            if not await runs.cancel(connection, run_id, f"{caller.name}: {reason}"):
                raise Refusal(409, "The run has ended already.")
            await audit.note(connection, caller, "run.cancel", reason=reason, entity=run.entity_type, run_id=run_id)
        return answer(await self._outcome(run_id))

    async def _request(self, entity: str, kind: Kind, wish: Wish, caller: Caller) -> int:
        async with self._database.transaction() as connection:
            run_id = await runs.request(
                connection, entity, kind, caller.name, args=wish.args, correlation_id=CORRELATION.get()
            )
            detail = {"kind": kind, **wish.args}
            await audit.note(
                connection, caller, "run.request", reason=wish.reason, entity=entity, run_id=run_id, detail=detail
            )
        return run_id

    async def _ended(self, run_id: int) -> bool:
        return (await self._read(run_id)).ended

    async def _outcome(self, run_id: int) -> Outcome:
        return outcome(await self._read(run_id), await runs.children(self._database, run_id))

    async def _read(self, run_id: int) -> Run:
        run = await runs.read(self._database, run_id)
        if run is None:
            raise Refusal(404, "There is no such run.")
        return run
