"""Puts the route table, the callers and the public routes together into one Starlette application."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from actors.api import (
    alerts,
    breakers,
    bulk,
    dashboard,
    dead_letters,
    deliveries,
    documentation,
    exposition,
    healing,
    health,
    monitoring,
    openapi,
    pulls,
    reconciliations,
    schedules,
    statistics,
    stock,
    supervision,
    validation,
)
from actors.api.authentication import Authentication, too_often
from actors.api.endpoints import Endpoint
from actors.api.services import Services
from tds_runtime import logs, problem
from tds_runtime.mailbox import CORRELATION


def application(
    services: Services, routes: Iterable[BaseRoute], *, new_id: Callable[[], str] = lambda: uuid.uuid4().hex
) -> Starlette:
    """The whole web application; `routes` are the public ones, which come first because they are the hot ones."""
    authentication = Authentication(services.database, services.options, services.clients)
    admin = [_route(endpoint, authentication, services, new_id) for endpoint in table(services)]
    app = Starlette(routes=[*routes, *admin], exception_handlers=problem.handlers())
    app.router.redirect_slashes = False
    return app


def table(services: Services) -> tuple[Endpoint, ...]:
    """Every admin endpoint, by subject."""
    found = (
        *health.endpoints(services),
        *pulls.endpoints(services),
        *schedules.endpoints(services),
        *supervision.endpoints(services),
        *dead_letters.endpoints(services),
        *healing.endpoints(services),
        *alerts.endpoints(services),
        *reconciliations.endpoints(services),
        *validation.endpoints(services),
        *dashboard.endpoints(services),
        *statistics.endpoints(services),
        *monitoring.endpoints(services),
        *exposition.endpoints(services),
        *bulk.endpoints(services),
        *deliveries.endpoints(services),
        *breakers.endpoints(services),
        *stock.endpoints(services),
    )
    return (*found, *(described := documentation.endpoints(lambda: openapi.document((*found, *described)))))


def _route(endpoint: Endpoint, authentication: Authentication, services: Services, new_id: Callable[[], str]) -> Route:
    async def answer(request: Request) -> Response:
        if endpoint.role == "public" and (wait := services.clients.admit(request.scope)):
            raise too_often(wait, "Too many requests came from here.")
        correlation_id = new_id()
        CORRELATION.set(correlation_id)
        with logs.bound(correlation_id=correlation_id):
            caller = await authentication.admit(request, endpoint.role)
            with logs.bound(user=caller.name or None):
                response = await endpoint.handler(request, caller)
        _redact(response, services.redact)
        response.headers["x-correlation-id"] = correlation_id
        return response

    return Route(endpoint.path, answer, methods=[endpoint.method], name=endpoint.summary)


def _redact(response: Response, redact: Callable[[str], str]) -> None:
    """Mask the secrets that a row has from an error text or a body: those that wrote it did not know them all."""
    if isinstance(response, StreamingResponse):
        return  # whoever streams masks what it sends
    text = bytes(response.body).decode()
    masked = redact(text)
    if masked != text:
        response.body = masked.encode()
        response.headers["content-length"] = str(len(response.body))
