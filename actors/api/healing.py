"""The healer: a round on request, and what its rounds have put right."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw, Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api import audit
from actors.api.authentication import Caller
from actors.api.endpoints import Because, Endpoint, answer, read
from actors.api.services import Services
from actors.condition import Thresholds
from actors.messages import Heal, Healed
from tds_runtime import sql
from tds_runtime.config import plain
from tds_runtime.errors import NoAnswer, Undeliverable
from tds_runtime.problem import Refusal

PATH = "/api/bff/tds/auto-healing"
PATIENCE = 60.0


class Totals(Struct, frozen=True, kw_only=True):
    """Over all rounds that are on record."""

    rounds: int
    stuck_tasks_recovered: int
    dlq_items_retried: int
    alerts_created: int


class Healings(Struct, frozen=True, kw_only=True):
    """The totals, the newest round (None before the first), and what the rounds go by: the section [healer]."""

    totals: Totals
    last_run: Raw | None
    configuration: dict[str, Any]
    thresholds: Thresholds


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Running it and reading it."""

    async def run(request: Request, caller: Caller) -> Response:
        reason = read(request, Because).reason
        await audit.note(services.database, caller, "healer.run", reason=reason)
        try:
            return answer(await services.healer.ask(Heal(), timeout=PATIENCE))
        except (NoAnswer, Undeliverable) as error:
            raise Refusal(503, "The healer did not finish its round.", headers={"Retry-After": "5"}) from error

    async def stats(_request: Request, _caller: Caller) -> Response:
        row = await services.database.fetchrow(sql.load("api/healings", package="actors"))
        assert row is not None
        figures = dict(row.items())
        last = figures.pop("last_run")
        totals = msgspec.convert(figures, Totals)
        return answer(
            Healings(
                totals=totals,
                last_run=Raw(last.encode()) if last else None,
                configuration=plain(services.healing),
                thresholds=services.thresholds,
            )
        )

    return (
        Endpoint(
            method="POST",
            path=f"{PATH}/run",
            role="operator",
            handler=run,
            summary="Heal now",
            body=Because,
            result=Healed,
        ),
        Endpoint(
            method="GET", path=f"{PATH}/stats", role="viewer", handler=stats, summary="What was healed", result=Healings
        ),
    )
