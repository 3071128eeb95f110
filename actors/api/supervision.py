"""The supervision tree: what lives, how well, and the one verb that ends a child's life."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api import audit
from actors.api.authentication import Caller
from actors.api.endpoints import Endpoint, answer, read
from actors.api.services import Services, Tree
from tds_runtime.errors import NoSuchChild
from tds_runtime.problem import Refusal


class Kill(Struct, frozen=True, forbid_unknown_fields=True):
    """Which child, and why; the supervisor restarts it as after a crash."""

    path: Annotated[str, Meta(min_length=1)]
    reason: Annotated[str, Meta(min_length=1, max_length=500)]


class Killed(Struct, frozen=True):
    """What was done."""

    status: str
    path: str


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """The tree and its verb."""

    async def tree(_request: Request, _caller: Caller) -> Response:
        return answer(_running(services).snapshot())

    async def kill(request: Request, caller: Caller) -> Response:
        wanted = read(request, Kill)
        runtime = _running(services)
        await audit.note_or_log(services.database, caller, "tree.kill", wanted.path, wanted.reason)
        try:
            await runtime.kill(wanted.path, f"{caller.name}: {wanted.reason}")
        except NoSuchChild as error:
            raise Refusal(404, "There is no such child.") from error
        return answer(Killed("killed", wanted.path))

    return (
        Endpoint(method="GET", path="/api/tree", role="viewer", handler=tree, summary="Supervision tree"),
        Endpoint(method="POST", path="/api/tree/kill", role="operator", handler=kill, summary="Kill a child"),
    )


def _running(services: Services) -> Tree:
    runtime = services.runtime()
    if runtime is None:
        raise Refusal(503, "The tree is not running.")
    return runtime
