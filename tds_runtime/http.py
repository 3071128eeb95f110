"""Starlette under Hypercorn, as an actor: one socket for all incarnations, and a drain that always ends.

Hypercorn speaks the protocol; accepting, knowing and ending connections is done here. Its own `serve` leaves
connections behind when cancelled (hypercorn#184), ignores its grace since Python 3.12.1 (hypercorn#308), and one
refused websocket handshake keeps it from ever returning: see ops/decisions/0020-connections.md.
"""

from __future__ import annotations

import asyncio  # noqa: TID251 - beside database.py the one place: Hypercorn's connections are asyncio streams
import socket
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import anyio
import h11
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed
from hypercorn.logging import Logger as HypercornLogger
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.typing import AppWrapper, ConnectionState, LifespanState
from hypercorn.utils import parse_socket_addr
from msgspec import Meta, Struct
from starlette.types import ASGIApp

from tds_runtime import logs
from tds_runtime.clients import networks
from tds_runtime.context import Context
from tds_runtime.gate import Gate, Limits, Observe, allowed_hosts
from tds_runtime.spec import actor
from tds_runtime.values import Duration

_PEER_TIMEOUT = 10_000  # milliseconds
_LINGER = 1.0  # seconds
_PAUSE = 1.0  # seconds without accepting when the process may open nothing more


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[http]`.

    bind: address and port; port 0 takes a free one.
    hosts: the names under which it is asked, beside those of a loopback `bind`. Behind a proxy: the public name.
    max_body, max_headers: bytes of one request; larger is 413 and 431.
    max_in_flight: requests at work at once; one more is 503.
    body_timeout: from the headers to the last byte of the body; later is 408.
    keep_alive: an idle connection, or one that has not sent its headers, is closed after this time.
    grace: what a stop leaves to the requests in flight.
    trusted_proxies: addresses and ranges whose `X-Forwarded-For` says who the client is; nobody else's is believed.
    public_rate: requests a second of one client to public routes, twice as many at once; more is 429, 0 is no limit.
    """

    bind: str = "127.0.0.1:8001"
    hosts: tuple[str, ...] = ()
    max_body: Annotated[int, Meta(ge=1024)] = 1 << 20
    max_headers: Annotated[int, Meta(ge=1024, le=64 << 10)] = 16 << 10
    max_in_flight: Annotated[int, Meta(ge=1)] = 64
    body_timeout: Duration = Duration("10s")
    keep_alive: Duration = Duration("8s")
    grace: Duration = Duration("10s")
    backlog: Annotated[int, Meta(ge=1)] = 1024
    trusted_proxies: tuple[str, ...] = ("127.0.0.0/8", "::1/128")
    public_rate: Annotated[int, Meta(ge=0)] = 500

    def __post_init__(self) -> None:
        networks(self.trusted_proxies)

    def limits(self) -> Limits:
        """What the gate needs of them."""
        return Limits(
            hosts=allowed_hosts(self.bind, self.hosts),
            max_body=self.max_body,
            max_headers=self.max_headers,
            max_in_flight=self.max_in_flight,
            body_timeout=self.body_timeout,
        )


def listen_socket(bind: str, *, backlog: int = 1024) -> socket.socket:
    """Bind and listen on `host:port` (`[::1]:port` for IPv6).

    Done once, outside the actor: while the listener restarts, the kernel keeps accepting and nobody is refused.
    Raises OSError when the address is taken or not of this machine.
    """
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Inherited by every connection: a client that stops reading its answer is dropped, even while we stop.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _PEER_TIMEOUT)
        # Inherited too; asyncio sets it only where the protocol is said. Without it each answer, head and body, waits
        # 40 ms for the client's delayed acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.bind((host, int(port)))
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def address(sock: socket.socket) -> str:
    """`host:port` of a socket, as a URL wants it."""
    host, port = sock.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def serve(
    app: ASGIApp,
    sock: socket.socket,
    shutdown: Callable[[], Awaitable[object]],
    *,
    options: Options | None = None,
    started: Callable[[], object] = lambda: None,
    observe: Observe | None = None,
) -> None:
    """Answer requests on `sock` until `shutdown()` returns, then drain and return within `options.grace` and a second.

    Cancelling this ends the requests in flight at once. The socket stays open and keeps its queue of connections.
    """
    options = options or Options()
    stop = anyio.Event()
    gate = Gate(app, limits=options.limits(), stopping=stop, observe=observe)
    connections = _Connections(gate, options)
    connections.accept(sock)
    try:
        started()
        await shutdown()
        await connections.refuse()
        stop.set()
        with anyio.move_on_after(options.grace):
            await gate.wait_idle()
    finally:
        stop.set()
        with anyio.CancelScope(shield=True):
            await connections.refuse()
            gate.cancel()
            await connections.close()


class _Connections:
    """Hypercorn's HTTP/1.1 on connections that are accepted, known and ended here."""

    def __init__(self, app: ASGIApp, options: Options) -> None:
        self._app, self._options = _for_hypercorn(app), options
        self._config = _configuration(options)
        self._context = WorkerContext(None)
        self._open: dict[asyncio.StreamWriter, asyncio.Event] = {}
        self._log = logs.get("http")
        self._accepting: asyncio.Task[None] | None = None

    def accept(self, sock: socket.socket) -> None:
        """Accept on a duplicate: closing it leaves the socket listening."""
        self._accepting = asyncio.create_task(self._accept_all(sock.dup()))

    async def _accept_all(self, sock: socket.socket) -> None:
        # Not by asyncio's server: out of descriptors, it tries and logs as often as its backlog is long, each second.
        with sock:
            sock.listen(self._options.backlog)
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

    async def close(self) -> None:
        """Let the connections end; after a second the ones whose client does not read are cut."""
        with anyio.move_on_after(_LINGER):
            await self._wait_closed()
        for writer in tuple(self._open):
            writer.transport.abort()
        await self._wait_closed()

    async def _wait_closed(self) -> None:
        for closed in tuple(self._open.values()):
            await closed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        closed = self._open[writer] = asyncio.Event()
        try:
            loop = asyncio.get_running_loop()
            await _Connection(self._app, loop, self._config, self._context, LifespanState({}), reader, writer)
        finally:
            del self._open[writer]
            closed.set()


class _Connection(TCPServer):
    """One connection that speaks HTTP/1.1 and cannot be talked into anything else."""

    async def run(self) -> None:
        peer = self.writer.get_extra_info("socket")
        try:
            client = parse_socket_addr(peer.family, peer.getpeername())
            server = parse_socket_addr(peer.family, peer.getsockname())
            async with TaskGroup(self.loop) as tasks:
                self._task_group = tasks
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
                await self.idle_task.restart(tasks, self._idle_timeout)
                await self._read_data()
                await self.idle_task.stop()  # or a client that has left would be waited for until keep_alive ends
        except OSError:
            pass  # the client left before it was seen
        finally:
            await self._close()


class _Http1(H11Protocol):
    """HTTP/1.1 alone: who asks for HTTP/2 in the clear or for a websocket is refused before either begins."""

    async def _check_protocol(self, event: h11.Request) -> None:
        """Never another protocol."""

    async def _create_stream(self, request: h11.Request) -> None:
        if request.method == b"PRI" or any(name == b"upgrade" for name, _ in request.headers):
            await self._send_error_response(400)
            await self.send(Closed())
        else:
            await super()._create_stream(request)


def _configuration(options: Options) -> HypercornConfig:
    """Hypercorn's side of the options."""
    config = HypercornConfig()
    config.keep_alive_timeout = options.keep_alive
    config.keep_alive_max_requests = 100_000
    config.h11_max_incomplete_size = options.max_headers
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


@actor(stop=12, start_timeout=15)
async def listener(
    ctx: Context, *, app: ASGIApp, sock: socket.socket, options: Options, observe: Observe | None = None
) -> None:
    """Serve `app` on the socket; ready when it accepts. Give it `.options(stop=options.grace + 2)`."""
    await serve(app, sock, ctx.stopping.wait, options=options, started=ctx.ready, observe=observe)
