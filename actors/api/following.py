"""Waiting, inside a request, for something that a row says has ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from msgspec import Struct
from starlette.requests import Request

from tds_runtime.gate import STOPPING

POLL = 0.2
"""Seconds between two looks."""


class Patience(Struct, frozen=True):
    """Whether the answer waits for the end, at most as long as `[api] wait`."""

    wait: bool = False


async def until(ended: Callable[[], Awaitable[bool]], request: Request, patience: float) -> None:
    """Return when it has ended, when `patience` seconds have, or when the daemon stops."""
    stopping: anyio.Event = request.scope[STOPPING]
    with anyio.move_on_after(patience):
        while not stopping.is_set() and not await ended():
            with anyio.move_on_after(POLL):
                await stopping.wait()
