"""`/metrics`: the registry as Prometheus reads it, for a token or from this machine."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from actors.api.authentication import CHALLENGE, Caller
from actors.api.endpoints import Endpoint
from actors.api.services import Services
from tds_runtime.metrics import CONTENT_TYPE
from tds_runtime.problem import Refusal


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """The scrape."""

    async def metrics(_request: Request, caller: Caller) -> Response:
        if not caller.sees_all:
            raise Refusal(401, "A valid bearer token is needed.", headers=CHALLENGE)
        return Response(services.metrics.exposition(), media_type=CONTENT_TYPE)

    return (
        Endpoint(
            method="GET",
            path="/metrics",
            role="public",
            handler=metrics,
            summary="Metrics",
            refuses=(401,),
            media_type=CONTENT_TYPE,
        ),
    )
