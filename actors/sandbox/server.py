"""Starts a sandbox: binds the port, announces it, serves until the process is asked to end."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable

import anyio
from hypercorn.asyncio import serve as hypercorn_serve
from hypercorn.config import Config

from actors.sandbox.app import App
from actors.sandbox.control import Control
from actors.sandbox.options import Announcement, Options
from actors.sandbox.stage import Stage

BACKLOG = 512
GRACE = 1.0


async def serve(options: Options, *, ready: Callable[[Announcement], None], tied: bool = False) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told the addresses once connections are accepted.

    `tied` ends it also when stdin is closed, which happens when a parent that holds the other end dies.
    Raises OSError when the port is taken.
    """
    listening = socket.create_server((options.host, options.port), backlog=BACKLOG)
    url = f"http://{options.host}:{listening.getsockname()[1]}"
    stage = Stage(options, api_url=lambda: url)
    app = App(stage, Control(stage).app)
    stop = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(_stop_on_signal, stop)
        group.start_soon(stage.post.run)
        group.start_soon(_listen, app, listening, stop)
        if tied:
            group.start_soon(_stop_on_end_of_input, stop)
        ready(Announcement(accounts=url, api=url, control=f"{url}/sandbox", pid=os.getpid()))
        await stop.wait()
        await anyio.sleep(GRACE / 10)
        group.cancel_scope.cancel()


async def _stop_on_signal(stop: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            stop.set()


async def _stop_on_end_of_input(stop: anyio.Event) -> None:
    descriptor = sys.stdin.fileno()
    while True:
        await anyio.wait_readable(descriptor)
        if not os.read(descriptor, 4096):
            stop.set()
            return


async def _listen(app: App, listening: socket.socket, stop: anyio.Event) -> None:
    """Hypercorn without our gate: its security headers are no headers of Zoho's."""
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.include_date_header = False
    config.keep_alive_timeout = 75
    config.keep_alive_max_requests = 1_000_000
    config.graceful_timeout = GRACE
    await hypercorn_serve(app, config, shutdown_trigger=stop.wait, mode="asgi")  # type: ignore[arg-type] # ours is narrower
