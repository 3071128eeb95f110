"""Asking for a pull and following it: every way to ask writes the same run row, and the row is what is followed."""

from __future__ import annotations

from typing import Any, Literal, cast, get_args

import anyio
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api import audit
from actors.api.authentication import Caller
from actors.api.endpoints import LARGEST_ID, LONGEST_PAGE, Endpoint, answer, flag, number, read, text
from actors.api.services import Services
from actors.zoho.entities import Entities
from tds_runtime import runs
from tds_runtime.gate import STOPPING
from tds_runtime.mailbox import CORRELATION
from tds_runtime.problem import Refusal
from tds_runtime.runs import EVERYTHING, Kind, Line, Run, Status

PREFIX = "/api/zoho/bulk-sync"
POLL = 0.2

Aim = tuple[str, Kind]


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be said beside the path; `kind` overrides what the path means.

    `plan` only says how many calls a full pull would take; `insist` begins one for which the day has not enough left.
    """

    kind: Literal["full", "incremental"] | None = None
    reason: str = ""
    plan: bool = False
    insist: bool = False

    @property
    def args(self) -> dict[str, Any]:
        """What of it the run is to know."""
        return {name: True for name, wanted in (("plan", self.plan), ("insist", self.insist)) if wanted}


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
    pulls = _Pulls(services)
    return (
        Endpoint(method="GET", path=f"{PREFIX}/status", role="viewer", handler=pulls.status, summary="Pulls"),
        Endpoint(method="POST", path=f"{PREFIX}/{{what}}", role="operator", handler=pulls.ask, summary="Pull"),
        Endpoint(method="GET", path="/api/bff/tds/runs", role="viewer", handler=pulls.page, summary="Runs"),
        Endpoint(method="GET", path="/api/bff/tds/runs/{id:int}", role="viewer", handler=pulls.one, summary="Run"),
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


class _Pulls:
    def __init__(self, services: Services) -> None:
        self._services, self._database = services, services.database
        self._aims = aims(services.entities)

    async def ask(self, request: Request, caller: Caller) -> Response:
        aim = self._aims.get(request.path_params["what"])
        if aim is None:
            raise Refusal(404, "There is nothing of this name to pull.", errors=tuple(sorted(self._aims)))
        wish = read(request, Wish)
        kind = wish.kind or aim[1]
        if wish.plan and kind not in ("full", "price_list"):
            raise Refusal(422, "Only a full pull has a plan.")
        run_id = await self._request(aim[0], kind, wish, caller)
        self._services.wake_pull()
        if flag(request, "wait") or wish.plan:
            await self._wait(run_id, request.scope[STOPPING])
        found = await self._outcome(run_id)
        return answer(found, 202 if found.status in ("pending", "running") else 200)

    async def status(self, _request: Request, _caller: Caller) -> Response:
        running = await runs.recent(self._database, status="running", limit=LONGEST_PAGE)
        pending = await runs.recent(self._database, status="pending", limit=LONGEST_PAGE)
        recent = await runs.recent(self._database, limit=20)
        return answer(Runs(running=tuple(running), pending=tuple(pending), recent=tuple(recent)))

    async def page(self, request: Request, _caller: Caller) -> Response:
        limit = number(request, "limit", self._services.options.page, most=LONGEST_PAGE)
        found = await runs.recent(
            self._database,
            before=number(request, "before", LARGEST_ID),
            entity_type=text(request, "entity_type"),
            kind=cast("Kind | None", _one_of(request, "kind", get_args(Kind))),
            status=cast("Status | None", _one_of(request, "status", get_args(Status))),
            limit=limit,
        )
        return answer(Page(items=tuple(found), next=found[-1].id if len(found) == limit else None))

    async def one(self, request: Request, _caller: Caller) -> Response:
        run_id = request.path_params["id"]
        run = await runs.read(self._database, run_id) if run_id <= LARGEST_ID else None
        if run is None:
            raise Refusal(404, "There is no such run.")
        parts = await runs.children(self._database, run_id)
        log = await runs.lines(self._database, run_id)
        return answer(Whole(run=run, runs=tuple(parts), log=tuple(log)))

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

    async def _wait(self, run_id: int, stopping: anyio.Event) -> None:
        """Until the run has ended, the patience has, or the daemon stops."""
        with anyio.move_on_after(self._services.options.wait):
            while not stopping.is_set() and not (await self._read(run_id)).ended:
                with anyio.move_on_after(POLL):
                    await stopping.wait()

    async def _outcome(self, run_id: int) -> Outcome:
        return outcome(await self._read(run_id), await runs.children(self._database, run_id))

    async def _read(self, run_id: int) -> Run:
        run = await runs.read(self._database, run_id)
        if run is None:
            raise Refusal(404, "The run is gone.")
        return run


def _one_of(request: Request, name: str, known: tuple[str, ...]) -> str | None:
    value = text(request, name)
    if value is not None and value not in known:
        raise Refusal(422, f"{name} is one of {', '.join(known)}.")
    return value
