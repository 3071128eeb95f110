"""Service levels and trends over HTTP: what is promised and kept, and how it developed."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api.authentication import Caller
from actors.api.endpoints import Endpoint, answer, parameters
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
    days: Annotated[int, Meta(ge=1, le=MOST_DAYS)] = 7


class TrendsWanted(Struct, frozen=True, kw_only=True):
    """How far back (`"24h"`, at most 14d), and in what steps: by hour up to three days, else by day."""

    window: str = str(trends.USUAL)
    step: Literal["hour", "day"] | None = None


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Reading only."""

    async def levels(request: Request, _caller: Caller) -> Response:
        wanted = parameters(request, LevelsWanted)
        window = _window(wanted.window)
        return answer(await reading.report(services.database, services.levels, window=window, days=wanted.days))

    async def developed(request: Request, _caller: Caller) -> Response:
        wanted = parameters(request, TrendsWanted)
        return answer(await trends.read(services.database, _window(wanted.window) or trends.USUAL, wanted.step))

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


def _window(words: str) -> Duration | None:
    try:
        return reading.window_of(words)
    except ValueError as error:
        raise Refusal(422, f"{error}.") from error
