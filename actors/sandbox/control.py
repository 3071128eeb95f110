"""The control API below `/sandbox`: plants failures, moves the clock, turns switches, and says what happened."""

from __future__ import annotations

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from actors.sandbox.clock import parse_stamp
from actors.sandbox.control_records import Records, Wrong, json_response
from actors.sandbox.control_webhooks import Deliveries
from actors.sandbox.faults import Fault
from actors.sandbox.guide import PAGES, text
from actors.sandbox.stage import Stage


class ClockChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the sandbox's time is to move."""

    set: str | None = None
    advance: float | None = None
    frozen: bool | None = None
    reset: bool = False


class Tokens(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to happen to tokens."""

    revoke: str | None = None
    restore: bool = False
    scope: str | None = None
    code: bool = False


async def _wrong(_request: Request, error: Exception) -> Response:
    return json_response({"error": str(error)}, 400)


class Control:
    """The control calls that are not about records or webhooks, and the application of all of them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._records = Records(stage)
        self._deliveries = Deliveries(stage, self._records)
        self.app = Starlette(
            routes=[*self._own(), *self._records.routes, *self._deliveries.routes],
            exception_handlers={Wrong: _wrong, msgspec.MsgspecError: _wrong, ValueError: _wrong},
        )

    def _own(self) -> list[Route]:
        return [
            Route("/sandbox", self.overview),
            Route("/sandbox/", self.guide),
            Route("/sandbox/break", self.faults, methods=["GET", "POST", "DELETE"]),
            Route("/sandbox/break/{fault:int}", self.fault, methods=["DELETE"]),
            Route("/sandbox/oauth", self.tokens, methods=["GET", "POST"]),
            Route("/sandbox/limits", self.limits, methods=["GET", "POST"]),
            Route("/sandbox/clock", self.clock, methods=["GET", "POST"]),
            Route("/sandbox/switches", self.switches, methods=["GET", "POST"]),
            Route("/sandbox/calls", self.calls, methods=["GET", "DELETE"]),
            Route("/sandbox/latency", self.latency, methods=["POST"]),
            Route("/sandbox/reset", self.reset, methods=["POST"]),
        ]

    def _time(self) -> dict[str, object]:
        clock = self._stage.clock
        return {"now": clock.stamp(clock.now()), "seconds": clock.now(), "frozen": clock.frozen}

    async def overview(self, _request: Request) -> Response:
        stage = self._stage
        world = stage.world
        return json_response({
            "options": stage.options, "switches": stage.switches, "clock": self._time(),
            "limits": stage.limits.statistics(),
            "counts": {kind.module: world.count(kind.module) for kind in world.catalogue.kinds},
            "oauth": stage.accounts.statistics(), "faults": stage.faults.statistics(),
            "webhooks": self._deliveries.state(),
            "calls": stage.calls.total(),
        })  # fmt: skip

    async def guide(self, request: Request) -> Response:
        if request.query_params.get("format") == "json":
            return json_response({"calls": PAGES})
        return Response(text(), media_type="text/plain")

    async def faults(self, request: Request) -> Response:
        faults = self._stage.faults
        match request.method:
            case "POST":
                return json_response({"fault": faults.plant(msgspec.json.decode(await request.body(), type=Fault))})
            case "DELETE":
                return json_response({"removed": faults.remove()})
            case _:
                return json_response({"faults": faults.statistics()})

    async def fault(self, request: Request) -> Response:
        return json_response({"removed": self._stage.faults.remove(request.path_params["fault"])})

    async def tokens(self, request: Request) -> Response:
        accounts = self._stage.accounts
        if request.method == "GET":
            return json_response(accounts.statistics())
        asked = msgspec.json.decode(await request.body(), type=Tokens)
        if asked.revoke not in {None, "access", "refresh", "all"}:
            raise Wrong("revoke takes access, refresh or all")
        if asked.revoke is not None:
            accounts.revoke_access()
        if asked.revoke in {"refresh", "all"}:
            accounts.revoke_refresh()
        if asked.restore:
            accounts.restore()
        if asked.scope is not None:
            accounts.scope = asked.scope
        code = {"code": accounts.grant_code()} if asked.code else {}
        return json_response(accounts.statistics() | code)

    async def limits(self, request: Request) -> Response:
        limits = self._stage.limits
        if request.method == "POST":
            asked = msgspec.json.decode(await request.body(), type=dict[str, object])
            reset, block = asked.pop("reset", False), asked.pop("block", None)
            limits.rules = msgspec.convert(msgspec.structs.asdict(limits.rules) | asked, type(limits.rules))
            if reset:
                limits.reset()
            if block is not None:
                limits.block(msgspec.convert(block, float))
        return json_response(limits.statistics())

    async def clock(self, request: Request) -> Response:
        clock = self._stage.clock
        if request.method == "POST":
            asked = msgspec.json.decode(await request.body(), type=ClockChange)
            if asked.reset:
                clock.reset()
            if asked.frozen is not None:
                clock.freeze(asked.frozen)
            if asked.set is not None:
                seconds = parse_stamp(asked.set)
                if seconds is None:
                    raise Wrong(f"{asked.set!r} is not a time like 2026-01-02T10:00:00+0300")
                clock.set(seconds)
            if asked.advance is not None:
                clock.advance(asked.advance)
        return json_response(self._time())

    async def switches(self, request: Request) -> Response:
        stage = self._stage
        if request.method == "POST":
            asked = msgspec.json.decode(await request.body(), type=dict[str, object])
            stage.turn(msgspec.convert(msgspec.structs.asdict(stage.switches) | asked, type(stage.switches)))
        return json_response(stage.switches)

    async def calls(self, request: Request) -> Response:
        stage = self._stage
        if request.method == "DELETE":
            stage.calls.clear()
            stage.statuses.clear()
        return json_response(
            {"total": stage.calls.total(), "calls": dict(stage.calls.most_common()), "statuses": stage.statuses}
        )

    async def latency(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=dict[str, float])
        self._stage.latency = asked["ms"] / 1000
        return json_response({"ms": asked["ms"]})

    async def reset(self, request: Request) -> Response:
        await request.body()  # an unread body would close the connection
        self._stage.reset()
        return json_response({"reset": True})
