"""Circuit breakers: whether each upstream may be asked, what is left of its day, and closing a breaker by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api import audit
from actors.api.authentication import Caller
from actors.api.endpoints import Because, Endpoint, answer, read
from actors.api.services import Services
from tds_runtime.breaker import Phase
from tds_runtime.problem import Refusal
from tds_runtime.upstreams import Outlook, Shared, Upstream, outlook, reset_breaker

PATH = "/api/bff/tds/circuit-breakers"


class Breaker(Struct, frozen=True, kw_only=True):
    """One upstream: `paused_seconds` are left of a pause that it ordered, `budget` is what its day still allows."""

    name: str
    state: Phase
    failures: int
    opened_at: datetime | None
    reason: str
    paused_seconds: float
    pause_reason: str
    budget: Outlook


class Breakers(Struct, frozen=True):
    """All upstreams that were ever asked, by name."""

    circuit_breakers: tuple[Breaker, ...]
    count: int
    open: int


class Reset(Struct, frozen=True):
    """A breaker that is closed, on every node within seconds."""

    name: str
    state: Literal["closed"] = "closed"


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Looking and closing."""
    shared = Shared(services.database)

    async def all_(_request: Request, _caller: Caller) -> Response:
        found = tuple(_shown(upstream) for upstream in (await shared.read()).values())
        return answer(Breakers(found, len(found), sum(one.state != "closed" for one in found)))

    async def reset(request: Request, caller: Caller) -> Response:
        reason, name = read(request, Because).reason, request.path_params["name"]
        async with services.database.transaction() as connection:
            if not name.isprintable() or not await reset_breaker(connection, name):
                raise Refusal(404, "There is no such upstream.")
            await audit.note(connection, caller, "breaker.reset", reason=reason, detail={"name": name})
        return answer(Reset(name))

    return (
        Endpoint(method="GET", path=PATH, role="viewer", handler=all_, summary="Circuit breakers", result=Breakers),
        Endpoint(
            method="POST",
            path=f"{PATH}/{{name}}/reset",
            role="operator",
            handler=reset,
            summary="Close a breaker",
            body=Because,
            result=Reset,
        ),
    )


def _shown(upstream: Upstream) -> Breaker:
    state = upstream.breaker
    return Breaker(
        name=upstream.name,
        state=state.phase,
        failures=state.failures,
        opened_at=datetime.fromtimestamp(state.opened_at, UTC) if state.opened_at else None,
        reason=state.reason,
        paused_seconds=round(upstream.paused, 3),
        pause_reason=upstream.pause_reason,
        budget=outlook(upstream.budget, datetime.now(UTC)),
    )
