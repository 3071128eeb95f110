"""The listener: what it refuses, and that a stop always ends."""

from __future__ import annotations

import asyncio  # noqa: TID251 - whose streams Hypercorn writes to
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import msgspec
import pytest
from anyio.abc import SocketStream
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tds_runtime import http, problem
from tds_runtime.context import Context
from tds_runtime.gate import STOPPING, Gate, Limits, allowed_hosts, is_loopback
from tds_runtime.http import Options

pytestmark = pytest.mark.anyio

HOST = b"Host: localhost\r\n"
PATIENCE = 10


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Work:
    """An application whose requests can be held."""

    def __init__(self) -> None:
        self.entered = anyio.Event()
        self.release = anyio.Event()
        self.ended = anyio.Event()

    async def echo(self, request: Request) -> Response:
        return PlainTextResponse(str(len(await request.body())))

    async def held(self, _request: Request) -> Response:
        self.entered.set()
        try:
            await self.release.wait()
        finally:
            self.ended.set()
        return PlainTextResponse("done")

    async def stream(self, request: Request) -> Response:
        self.entered.set()
        await request.scope[STOPPING].wait()
        return PlainTextResponse("end of stream")

    async def broken(self, _request: Request) -> Response:
        raise RuntimeError("the inner secret")

    def app(self) -> Starlette:
        routes = [
            Route("/echo", self.echo, methods=["GET", "POST"]),
            Route("/held", self.held),
            Route("/stream", self.stream),
            Route("/broken", self.broken),
        ]
        return Starlette(routes=routes, exception_handlers=problem.handlers())


class Server:
    def __init__(self, sock: socket.socket, work: Work) -> None:
        self.sock, self.work = sock, work
        self.stop, self.ended = anyio.Event(), anyio.Event()

    async def connect(self) -> SocketStream:
        return await anyio.connect_tcp("127.0.0.1", self.sock.getsockname()[1])

    async def talk(self, *parts: bytes) -> bytes:
        """Send everything and read until the server closes; the test fails when it does not."""
        async with await self.connect() as stream:
            for part in parts:
                await stream.send(part)
            return await read_all(stream)

    async def get(self, path: bytes, *, headers: bytes = b"") -> bytes:
        return await self.talk(b"GET %s HTTP/1.1\r\n%s%sConnection: close\r\n\r\n" % (path, HOST, headers))


async def read_all(stream: SocketStream) -> bytes:
    received = b""
    with anyio.fail_after(PATIENCE):
        try:
            while True:
                received += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return received


async def read_one(stream: SocketStream) -> bytes:
    """One answer with its announced length; the connection may stay."""
    received = b""
    with anyio.fail_after(PATIENCE):
        while b"\r\n\r\n" not in received:
            received += await stream.receive()
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        while len(body) < length:
            body += await stream.receive()
    return head + b"\r\n\r\n" + body


@asynccontextmanager
async def serving(**options: object) -> AsyncIterator[Server]:
    work = Work()
    settings = Options(bind="127.0.0.1:0", **options)
    with http.listen_socket(settings.bind) as sock:
        server = Server(sock, work)
        started = anyio.Event()

        async def serve() -> None:
            await http.serve(work.app(), sock, server.stop.wait, options=settings, started=started.set)
            server.ended.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(serve)
            with anyio.fail_after(PATIENCE):
                await started.wait()
                yield server
                server.stop.set()
                await server.ended.wait()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def document(answer: bytes) -> dict[str, object]:
    return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])


async def test_a_request_is_answered_with_the_security_headers() -> None:
    """Every answer carries the headers that keep a browser from guessing, framing and storing."""
    async with serving() as server:
        answer = await server.get(b"/echo")
    assert status(answer) == 200
    for header in (b"x-content-type-options: nosniff", b"x-frame-options: DENY", b"cache-control: no-store"):
        assert header in answer
    assert b"server:" not in answer


async def test_a_body_arrives_whole_in_any_pieces() -> None:
    """A chunked body is put together before the application sees it."""
    async with serving() as server:
        answer = await server.talk(
            b"POST /echo HTTP/1.1\r\nConnection: close\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"4\r\ndefg\r\n",
            b"0\r\n\r\n",
        )
    assert answer.endswith(b"7")


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (b"GET /echo HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421),
        (b"GET /echo HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /echo HTTP/1.1\r\nHost: localhost:80@evil\r\n\r\n", 421),
        (b"CONNECT evil.example:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"TRACE /echo HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
        (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", 400),
        (b"GET /echo HTTP/1.1\r\n" + HOST + b"X: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 431),
        (b"GET /echo HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\nx", 400),
        (b"GET /echo HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: upgrade, HTTP2-Settings\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 400),
        (b"GET /echo HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ],
)
async def test_what_is_no_plain_request_is_refused_and_closed(request_bytes: bytes, expected: int) -> None:
    """Wrong names, lengths, methods and protocols get a 4xx or 505 and the end of their connection."""
    async with serving() as server:
        assert status(await server.talk(request_bytes)) == expected


async def test_the_same_connection_serves_many_requests() -> None:
    """Connections are kept alive between requests."""
    async with serving() as server, await server.connect() as stream:
        for _ in range(3):
            await stream.send(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
            assert (await read_one(stream)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("head", [b"Content-Length: 3000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nbb8\r\n"])
async def test_a_body_over_the_cap_is_told_so(head: bytes) -> None:
    """Too large is 413, announced or not, and the client gets to read it."""
    async with serving(max_body=1024) as server:
        answer = await server.talk(b"POST /echo HTTP/1.1\r\n" + HOST + head, b"x" * 3000, b"\r\n0\r\n\r\n")
    assert status(answer) == 413
    assert document(answer)["status"] == 413


async def test_a_slow_body_ends_at_its_deadline() -> None:
    """A body that does not arrive in time is 408; the deadline is for the whole of it."""
    async with serving(body_timeout=0.2) as server:
        assert status(await server.talk(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nabc")) == 408


async def test_unfinished_headers_are_closed() -> None:
    """A connection that does not say what it wants is closed after the keep-alive time."""
    async with serving(keep_alive=0.2) as server:
        assert await server.talk(b"GET /echo HTTP/1.1\r\nX: ") == b""


async def test_idle_connections_are_closed_and_busy_ones_are_not() -> None:
    """The keep-alive time begins anew after each answer, and does not run while a request is at work."""
    async with serving(keep_alive=0.2) as server, await server.connect() as busy, await server.connect() as idle:
        await busy.send(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\n")
        await idle.send(b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (await read_one(idle)).startswith(b"HTTP/1.1 200")
        assert await read_all(idle) == b""
        server.work.release.set()
        assert (await read_one(busy)).startswith(b"HTTP/1.1 200")
        assert await read_all(busy) == b""


async def test_an_answer_leaves_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """Head and body are one write when the length is known: each write wakes the client."""
    pieces: list[bytes] = []
    write = asyncio.StreamWriter.write

    def noted(writer: asyncio.StreamWriter, data: bytes) -> None:
        pieces.append(bytes(data))
        write(writer, data)

    monkeypatch.setattr(asyncio.StreamWriter, "write", noted)
    async with serving() as server:
        answer = await server.get(b"/echo")
    assert pieces == [answer]


async def test_slow_bodies_take_no_place_from_others() -> None:
    """Requests whose bodies are still on the way are not in flight."""
    async with serving(max_in_flight=1) as server, await server.connect() as slow:
        await slow.send(b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nabc")
        assert status(await server.get(b"/echo")) == 200
        await slow.send(b"defghi")
        assert (await read_one(slow)).endswith(b"9")


async def test_one_request_too_many_is_asked_to_come_again() -> None:
    """At the bound of requests in flight the next one gets 503 with Retry-After, and the others go on."""
    async with serving(max_in_flight=1) as server, await server.connect() as first:
        await first.send(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\n")
        await server.work.entered.wait()
        refused = await server.get(b"/echo")
        server.work.release.set()
        assert (await read_one(first)).startswith(b"HTTP/1.1 200")
        accepted = await server.get(b"/echo")
    assert status(refused) == 503
    assert b"retry-after: 1" in refused
    assert status(accepted) == 200


async def test_a_failure_keeps_its_inside_to_itself() -> None:
    """An endpoint's defect is a problem document without a word of the exception."""
    async with serving() as server:
        answer = await server.get(b"/broken")
    assert status(answer) == 500
    assert b"application/problem+json" in answer
    assert b"secret" not in answer


@pytest.mark.parametrize(("path", "expected"), [(b"/nothing", 404), (b"/held?x=%00", 405)])
async def test_refusals_of_the_router_are_problems_too(path: bytes, expected: int) -> None:
    """404 and 405 are problem documents."""
    async with serving() as server:
        answer = await server.talk(b"POST %s HTTP/1.1\r\n%sConnection: close\r\n\r\n" % (path, HOST))
    assert status(answer) == expected
    assert document(answer)["title"]


async def test_a_stop_waits_for_the_requests_in_flight() -> None:
    """The request at work is answered, and its connection closed, before serve returns."""
    async with serving() as server, await server.connect() as stream:
        await stream.send(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\n")
        await server.work.entered.wait()
        server.stop.set()
        await anyio.wait_all_tasks_blocked()
        assert not server.ended.is_set()
        server.work.release.set()
        assert (await read_all(stream)).startswith(b"HTTP/1.1 200")
        await server.ended.wait()


async def test_a_stop_ends_event_streams_first() -> None:
    """An endpoint that watches the stop event ends by itself and delays nobody."""
    async with serving() as server, await server.connect() as stream:
        await stream.send(b"GET /stream HTTP/1.1\r\n" + HOST + b"\r\n")
        await server.work.entered.wait()
        server.stop.set()
        assert (await read_all(stream)).endswith(b"end of stream")


async def test_a_request_that_outlives_the_grace_is_ended() -> None:
    """After the grace the request is cancelled and its client told 503."""
    async with serving(grace=0.2) as server, await server.connect() as stream:
        await stream.send(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\n")
        await server.work.entered.wait()
        server.stop.set()
        assert (await read_all(stream)).startswith(b"HTTP/1.1 503")
        assert server.work.ended.is_set()


@pytest.mark.parametrize(
    "leaving",
    [
        b"",
        b"GET /echo HTTP/1.1\r\nX: ",
        b"GET /echo HTTP/1.1\r\n" + HOST + b"\r\n",
        b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nabc",
        b"GET /echo HTTP/1.1\r\n" + HOST + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\nx",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_no_connection_keeps_a_stop_from_ending(leaving: bytes) -> None:
    """Idle, half-said and refused connections whose client stays are closed by the stop."""
    async with serving(grace=0.2) as server, await server.connect() as stream:
        if leaving:
            await stream.send(leaving)
        await anyio.wait_all_tasks_blocked()
        server.stop.set()
        await server.ended.wait()


async def test_a_client_that_does_not_read_is_cut() -> None:
    """An answer that nobody reads ends with the stop, not with the client's patience."""

    async def flood(scope: dict[str, object], receive: Callable[[], Awaitable[object]], send: object) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})

    stop, started = anyio.Event(), anyio.Event()
    with http.listen_socket("127.0.0.1:0") as sock:
        async with anyio.create_task_group() as tasks:
            options = Options(bind="127.0.0.1:0", grace=0.1)
            tasks.start_soon(lambda: http.serve(flood, sock, stop.wait, options=options, started=started.set))
            await started.wait()
            async with await anyio.connect_tcp("127.0.0.1", sock.getsockname()[1]) as stream:
                await stream.send(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
                await stream.receive(1)
                stop.set()
                with anyio.fail_after(PATIENCE):
                    while tasks._tasks:
                        await anyio.wait_all_tasks_blocked()
                        await anyio.lowlevel.checkpoint()


async def test_the_socket_outlives_the_server() -> None:
    """While nobody serves, the kernel takes connections; the next server answers them."""
    work = Work()
    with http.listen_socket("127.0.0.1:0") as sock:
        for _ in range(2):
            async with await anyio.connect_tcp("127.0.0.1", sock.getsockname()[1]) as stream:
                await stream.send(b"GET /echo HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
                stop = anyio.Event()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(http.serve, work.app(), sock, stop.wait)
                    assert (await read_all(stream)).startswith(b"HTTP/1.1 200")
                    stop.set()


async def test_cancelling_a_server_leaves_no_connection_behind() -> None:
    """A cancelled serve ends the requests at work at once and closes every connection before it returns."""
    work = Work()
    with http.listen_socket("127.0.0.1:0") as sock:
        async with await anyio.connect_tcp("127.0.0.1", sock.getsockname()[1]) as stream:
            await stream.send(b"GET /held HTTP/1.1\r\n" + HOST + b"\r\n")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(http.serve, work.app(), sock, anyio.Event().wait)
                await work.entered.wait()
                tasks.cancel_scope.cancel()
            assert work.ended.is_set()
            assert (await read_all(stream)).startswith(b"HTTP/1.1 503")


async def test_the_listener_is_ready_when_it_accepts_and_ends_when_it_should() -> None:
    """As an actor it reports ready once it accepts, and returns on stop."""
    ready = anyio.Event()
    context = Context("tds/listener", on_ready=ready.set)
    with http.listen_socket("127.0.0.1:0") as sock:
        async with anyio.create_task_group() as tasks:
            work = Work()
            tasks.start_soon(lambda: http.listener.function(context, app=work.app(), sock=sock, options=Options()))
            with anyio.fail_after(PATIENCE):
                await ready.wait()
                context.stopping.set()


async def test_answers_are_told_to_the_observer_under_their_route() -> None:
    """Each answer is observed once with its status; the route is the template, not the path."""
    seen: list[tuple[str, int]] = []
    work, stop, started = Work(), anyio.Event(), anyio.Event()

    def observe(scope: dict[str, object], code: int, seconds: float) -> None:
        seen.append((getattr(scope.get("route"), "path", ""), code))
        assert seconds >= 0

    with http.listen_socket("127.0.0.1:0") as sock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: http.serve(work.app(), sock, stop.wait, started=started.set, observe=observe))
            await started.wait()
            server = Server(sock, work)
            await server.get(b"/echo")
            await server.get(b"/unknown")
            await server.talk(b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
            stop.set()
    assert seen == [("/echo", 200), ("", 404), ("", 421)]


@pytest.mark.parametrize(
    ("client", "headers", "expected"),
    [
        (("127.0.0.1", 1), [], True),
        (("127.8.9.1", 1), [], True),
        (("::1", 1), [], True),
        (("fe80::1%eth0", 1), [], False),
        (("203.0.113.9", 1), [], False),
        (("127.0.0.1", 1), [(b"x-forwarded-for", b"127.0.0.1")], False),
        (("127.0.0.1", 1), [(b"forwarded", b"for=127.0.0.1")], False),
        (("no address", 1), [], False),
        (None, [], False),
    ],
)
def test_local_is_who_is_here_without_a_proxy(
    client: tuple[str, int] | None, headers: list[tuple[bytes, bytes]], expected: bool
) -> None:
    """A loopback address counts only when nobody says that the request was forwarded."""
    assert is_loopback({"client": client, "headers": headers}) is expected


@pytest.mark.parametrize(
    ("bind", "configured", "host", "expected"),
    [
        ("127.0.0.1:8001", [], "localhost:8001", True),
        ("127.0.0.1:8001", [], "[::1]:8001", True),
        ("127.0.0.1:8001", [], "sync.example", False),
        ("127.0.0.1:8001", ["Sync.Example"], "sync.example", True),
        ("0.0.0.0:8001", [], "anything.example:80", True),
        ("0.0.0.0:8001", [], "any thing", False),
        ("0.0.0.0:8001", [], "", False),
        ("0.0.0.0:8001", ["sync.example"], "localhost", False),
        ("127.0.0.1:8001", [], "localhost:http", False),
    ],
)
async def test_the_name_that_is_asked_for_must_be_served(
    bind: str, configured: list[str], host: str, expected: bool
) -> None:
    """Loopback names on loopback, the configured ones everywhere, any well-formed one where none is configured."""
    seen: list[int] = []

    async def app(scope: dict[str, object], receive: object, send: Callable[[object], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if "status" in message:
            seen.append(message["status"])

    gate = Gate(app, limits=Limits(hosts=allowed_hosts(bind, configured)), stopping=anyio.Event())
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "raw_path": b"/", "query_string": b"", "path": "/"}
    await gate({**scope, "headers": [(b"host", host.encode())]}, receive, send)
    assert seen == [200 if expected else 421]
    assert gate.statistics().served == int(expected)
    assert gate.statistics().refused == ({} if expected else {"host": 1})


def test_a_taken_address_is_an_error_at_once() -> None:
    """Binding a second time fails with OSError and leaves no socket open."""
    with http.listen_socket("127.0.0.1:0") as sock, pytest.raises(OSError, match="in use"):
        http.listen_socket(http.address(sock))


def test_an_address_is_written_as_a_url_wants_it() -> None:
    """IPv6 addresses are bracketed."""
    with http.listen_socket("127.0.0.1:0") as sock:
        assert http.address(sock).startswith("127.0.0.1:")


def test_connections_do_not_wait_for_delayed_acknowledgements() -> None:
    """An accepted connection sends the end of a small answer at once."""
    with http.listen_socket("127.0.0.1:0") as sock:
        host, _, port = http.address(sock).rpartition(":")
        with socket.create_connection((host, int(port)), timeout=5):
            sock.settimeout(5)
            accepted, _ = sock.accept()
            with accepted:
                assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
