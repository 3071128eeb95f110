"""The supervision tree: what lives, how well, and the one verb that ends a child's life."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from actors.api import audit
from actors.api.authentication import Caller
from actors.api.endpoints import Endpoint, Said, answer, read
from actors.api.services import Services, Tree
from tds_runtime import Snapshot
from tds_runtime.problem import Refusal

LISTENER = "listener"


class Kill(Struct, frozen=True, forbid_unknown_fields=True):
    """Which child, and why; the supervisor restarts it as after a crash."""

    path: Annotated[str, Meta(min_length=1)]
    reason: Said


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
        child = _find(runtime.snapshot(), wanted.path)
        if child is None:
            raise Refusal(404, "There is no such child.")
        await audit.note_or_log(services.database, caller, "tree.kill", wanted.path, wanted.reason)
        end = BackgroundTask(runtime.kill, wanted.path, f"{caller.name}: {wanted.reason}")
        if _holds(child, LISTENER):
            # Whoever answers dies, too: the answer goes first, and nobody is to ask again on this connection.
            last = answer(Killed("killed", wanted.path), background=end)
            last.headers["connection"] = "close"
            return last
        await end()
        return answer(Killed("killed", wanted.path))

    return (
        Endpoint(
            method="GET", path="/api/tree", role="viewer", handler=tree, summary="Supervision tree", result=Snapshot
        ),
        Endpoint(
            method="POST",
            path="/api/tree/kill",
            role="operator",
            handler=kill,
            summary="Kill a child",
            body=Kill,
            result=Killed,
            refuses=(404,),
        ),
    )


def _find(node: Snapshot, path: str) -> Snapshot | None:
    if node.path == path:
        return node
    return next((found for child in node.children if (found := _find(child, path)) is not None), None)


def _holds(node: Snapshot, name: str) -> bool:
    return node.name == name or any(_holds(child, name) for child in node.children)


def _running(services: Services) -> Tree:
    runtime = services.runtime()
    if runtime is None:
        raise Refusal(503, "The tree is not running.")
    return runtime
