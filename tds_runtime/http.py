"""Starlette under Hypercorn, as an actor: one socket for all incarnations, and a drain that always ends."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Annotated

import anyio
from msgspec import Meta, Struct
from starlette.types import ASGIApp

from tds_runtime.clients import networks
from tds_runtime.connections import Connections
from tds_runtime.context import Context
from tds_runtime.gate import Gate, Limits, Observe, allowed_hosts
from tds_runtime.spec import actor
from tds_runtime.values import Duration

_PEER_TIMEOUT = 10_000  # milliseconds


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
    connections = Connections(
        gate, backlog=options.backlog, keep_alive=options.keep_alive, max_headers=options.max_headers
    )
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


@actor(stop=12, start_timeout=15)
async def listener(
    ctx: Context, *, app: ASGIApp, sock: socket.socket, options: Options, observe: Observe | None = None
) -> None:
    """Serve `app` on the socket; ready when it accepts. Give it `.options(stop=options.grace + 2)`."""
    await serve(app, sock, ctx.stopping.wait, options=options, started=ctx.ready, observe=observe)
