"""Service levels and trends over HTTP: what is promised and kept, and how it developed."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api.authentication import Caller
from actors.api.endpoints import Endpoint, answer, number, text
from actors.api.services import Services
from actors.service_levels import reading, trends
from actors.service_levels.reading import Report
from actors.service_levels.trends import Trends
from tds_runtime.problem import Refusal
from tds_runtime.values import Duration

MOST_DAYS = 400


class LevelsWanted(Struct, frozen=True, kw_only=True):
    """`window` (1h to 14d) instead of each level's own; how many `days` of those that are kept."""

    window: str = ""
    days: int = 7


class TrendsWanted(Struct, frozen=True, kw_only=True):
    """How far back (`"24h"`, at most 14d), and in what steps: by hour up to three days, else by day."""

    window: str = "24h"
    step: Literal["", "hour", "day"] = ""


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Reading only."""

    async def levels(request: Request, _caller: Caller) -> Response:
        days = number(request, "days", 7, most=MOST_DAYS)
        window = _window(request, None)
        return answer(await reading.report(services.database, services.levels, window=window, days=days))

    async def developed(request: Request, _caller: Caller) -> Response:
        window = _window(request, trends.USUAL) or trends.USUAL
        step = text(request, "step")
        if step not in {None, "hour", "day"}:
            raise Refusal(422, "step is hour or day.")
        return answer(await trends.read(services.database, window, step))

    return (
        Endpoint(
            method="GET",
            path="/api/bff/tds/stats/slo",
            role="viewer",
            handler=levels,
            summary="Service levels",
            query=LevelsWanted,
            result=Report,
        ),
        Endpoint(
            method="GET",
            path="/api/bff/tds/stats/trends",
            role="viewer",
            handler=developed,
            summary="Trends",
            query=TrendsWanted,
            result=Trends,
        ),
    )


def _window(request: Request, default: Duration | None) -> Duration | None:
    try:
        return reading.window_of(text(request, "window") or "") or default
    except ValueError as error:
        raise Refusal(422, f"{error}.") from error
