"""Hypercorn's HTTP/1.1 on connections that are accepted, known and ended here.

Its own `serve` leaves connections behind when cancelled (hypercorn#184), ignores its grace since Python 3.12.1
(hypercorn#308), and one refused websocket handshake keeps it from ever returning: see
ops/decisions/0020-connections.md.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - beside database.py the one place: Hypercorn's connections are asyncio streams
import socket
from typing import Any

import anyio
import h11
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.logging import Logger as HypercornLogger
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import AppWrapper, ConnectionState, H11SendableEvent, LifespanState
from hypercorn.utils import parse_socket_addr
from starlette.types import ASGIApp

from tds_runtime import logs

_LINGER = 1.0  # seconds
_PAUSE = 1.0  # seconds without accepting when the process may open nothing more


class Connections:
    """The connections of one server.

    `backlog` are those that the kernel holds for us, `keep_alive` the seconds that one may be idle, `max_headers` the
    bytes of a request's head.
    """

    def __init__(self, app: ASGIApp, *, backlog: int, keep_alive: float, max_headers: int) -> None:
        self._app, self._backlog = _for_hypercorn(app), backlog
        self._config = _configuration(keep_alive, max_headers)
        self._context = WorkerContext(None)
        self._open: dict[_Connection, asyncio.Event] = {}
        self._log = logs.get("http")
        self._accepting: asyncio.Task[None] | None = None

    def accept(self, sock: socket.socket) -> None:
        """Accept on a duplicate: closing it leaves the socket listening."""
        self._accepting = asyncio.create_task(self._accept_all(sock.dup()))

    async def _accept_all(self, sock: socket.socket) -> None:
        # Not by asyncio's server: out of descriptors, it tries and logs as often as its backlog is long, each second.
        with sock:
            sock.listen(self._backlog)
            sock.setblocking(False)
            while True:
                try:
                    await self._accept_one(sock)
                except ConnectionAbortedError:
                    continue  # the client left before it was seen
                except OSError as error:
                    self._log.warning("accepting.paused", reason=str(error), seconds=_PAUSE)
                    await anyio.sleep(_PAUSE)

    async def _accept_one(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        accepted, _ = await loop.sock_accept(sock)
        reader = asyncio.StreamReader(loop=loop)
        await loop.connect_accepted_socket(
            lambda: asyncio.StreamReaderProtocol(reader, self._serve, loop=loop), accepted
        )

    async def refuse(self) -> None:
        """Accept nothing more, close what is idle, and close the rest after its present request."""
        if self._accepting is not None:
            self._accepting.cancel()
            await asyncio.wait([self._accepting])
        await self._context.terminated.set()
        for connection in self._open:
            connection.end_if_idle()

    async def close(self) -> None:
        """Let the connections end; after a second the ones whose client does not read are cut."""
        with anyio.move_on_after(_LINGER):
            await self._wait_closed()
        for connection in tuple(self._open):
            connection.writer.transport.abort()
        await self._wait_closed()

    async def _wait_closed(self) -> None:
        for closed in tuple(self._open.values()):
            await closed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        connection = _Connection(self._app, loop, self._config, self._context, LifespanState({}), reader, writer)
        closed = self._open[connection] = asyncio.Event()
        try:
            await connection
        finally:
            del self._open[connection]
            closed.set()


class _Connection(TCPServer):
    """One connection that speaks HTTP/1.1 and cannot be talked into anything else.

    Hypercorn has a task wait while a connection is idle, and ends and begins it with each request, which costs more
    than to read the request; here a timer does that.
    """

    _idle: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        peer = self.writer.get_extra_info("socket")
        try:
            client = parse_socket_addr(peer.family, peer.getpeername())
            server = parse_socket_addr(peer.family, peer.getsockname())
            async with TaskGroup(self.loop) as tasks:
                self.protocol = _Http1(  # type: ignore[assignment] # where TCPServer has its switch between protocols
                    self.app,
                    self.config,
                    self.context,
                    tasks,
                    ConnectionState({}),
                    False,
                    client,
                    server,
                    self.protocol_send,
                )
                self._rest()
                await self._read_data()
        except OSError:
            pass  # the client left before it was seen
        finally:
            self._work()
            await self._close()

    async def protocol_send(self, event: Event) -> None:
        if not isinstance(event, Updated):
            await super().protocol_send(event)
        elif event.idle:
            self._rest()
        else:
            self._work()

    def end_if_idle(self) -> None:
        """Close unless a request is at work."""
        if self._idle is not None:
            self.writer.close()

    def _rest(self) -> None:
        self._work()
        wait = 0 if self.context.terminated.is_set() else self.config.keep_alive_timeout
        self._idle = self.loop.call_later(wait, self.writer.close)

    def _work(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


class _Http1(H11Protocol):
    """HTTP/1.1 alone: who asks for HTTP/2 in the clear or for a websocket is refused before either begins.

    The head of an answer whose length is known leaves with its body: one packet to send, and one to be woken by.
    """

    _head = b""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Never another protocol."""

    async def _create_stream(self, request: h11.Request) -> None:
        if request.method == b"PRI" or any(name == b"upgrade" for name, _ in request.headers):
            await self._send_error_response(400)
            await self.send(Closed())
        else:
            await super()._create_stream(request)

    async def _send_h11_event(self, event: H11SendableEvent) -> None:
        try:
            data = self._head + (self.connection.send(event) or b"")
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            return
        whole = isinstance(event, h11.Response) and any(name == b"content-length" for name, _ in event.headers)
        self._head = data if whole else b""
        if data and not whole:
            await self.send(RawData(data))


def _configuration(keep_alive: float, max_headers: int) -> HypercornConfig:
    """Hypercorn's side of it."""
    config = HypercornConfig()
    config.keep_alive_timeout = keep_alive
    config.keep_alive_max_requests = 100_000
    config.h11_max_incomplete_size = max_headers
    config.include_server_header = False
    config.logger_class = _HypercornLog  # type: ignore[assignment] # annotated as the class itself by inference only
    return config


def _for_hypercorn(app: ASGIApp) -> AppWrapper:
    """The application without the two thread helpers that Hypercorn hands to WSGI."""

    async def call(scope: Any, receive: Any, send: Any, sync_spawn: Any, call_soon: Any) -> None:  # noqa: ARG001 - WSGI's
        await app(scope, receive, send)

    return call


class _HypercornLog(HypercornLogger):
    """Hypercorn's logger interface over ours; its accesses and greetings are nobody's business."""

    def __init__(self, _config: HypercornConfig) -> None:
        self._log = logs.get("http")

    async def access(self, *_: Any) -> None: ...

    async def debug(self, *_: Any) -> None: ...

    async def info(self, *_: Any) -> None: ...

    async def warning(self, message: str, *_: Any) -> None:
        self._log.warning("server.warned", detail=message)

    async def error(self, message: str, *_: Any) -> None:
        self._log.error("server.failed", detail=message)

    async def critical(self, message: str, *_: Any) -> None:
        self._log.error("server.failed", detail=message)

    async def exception(self, *_: Any) -> None:
        self._log.exception("request.failed")

    async def log(self, _level: int, message: str, *_: Any) -> None:
        self._log.info("server.said", detail=message)
