"""What every request must satisfy before an application sees it, and what every answer carries.

The body is read here, under a deadline and a cap, before the request takes one of the few places for work in flight:
a hundred clients that send one byte a second keep nobody waiting.
"""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import anyio
from msgspec import Struct
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tds_runtime import problem

BODY = "tds.body"
STOPPING = "tds.stopping"

Observe = Callable[[Scope, int, float], None]

_SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
)
_NO_STORE = (b"cache-control", b"no-store")
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
_FORWARDING = frozenset({b"forwarded", b"x-forwarded-for", b"x-real-ip"})
_REFUSED_METHODS = frozenset({"CONNECT", "TRACE"})
_TOO_LARGE = "too_large"
_LINGER = 1.0


class Limits(Struct, frozen=True, kw_only=True):
    """Bounds of one request (bytes, seconds) and of all together; `hosts` empty means any well-formed Host."""

    hosts: frozenset[str] = frozenset()
    max_body: int = 1 << 20
    max_headers: int = 16 << 10
    max_reading: int = 64 << 20
    max_in_flight: int = 64
    body_timeout: float = 10.0


class Statistics(Struct, frozen=True, kw_only=True):
    """`arrived` requests are here, `in_flight` of them at work; `reading` bytes of unfinished bodies are held."""

    arrived: int
    in_flight: int
    reading: int
    served: int
    refused: Mapping[str, int]


class _Refused(Exception):
    """The request ends here with this status; `reason` is the label it is counted under."""

    def __init__(self, status: int, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.reason, self.detail = status, reason, detail


class _Gone(Exception):
    """The client left before its body was complete; nobody is there to be answered."""


class Gate:
    """The outermost ASGI application around `app`.

    `stopping` ends event streams (an endpoint finds it in `scope[STOPPING]`); `observe(scope, status, seconds)` is told
    about every answer, refusals included.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: Limits,
        stopping: anyio.Event,
        observe: Observe | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._app, self._limits, self._stopping = app, limits, stopping
        self._observe, self._clock = observe, clock
        self._requests: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()
        self._in_flight = self._reading = self._served = 0
        self._refused: Counter[str] = Counter()

    def statistics(self) -> Statistics:
        """Present load and counts since the start."""
        return Statistics(
            arrived=len(self._requests),
            in_flight=self._in_flight,
            reading=self._reading,
            served=self._served,
            refused=dict(self._refused),
        )

    async def wait_idle(self) -> None:
        """Return when no request is left."""
        while self._requests:
            self._idle = anyio.Event()
            await self._idle.wait()

    def cancel(self) -> None:
        """End every request that is still there."""
        for request in tuple(self._requests):
            request.cancel("the server stops")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._track(scope, receive, send)
        # A lifespan is left unanswered: the supervisor owns the order of start and stop.

    async def _track(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = _Answer(send)
        started = self._clock()
        try:
            with anyio.CancelScope() as request:
                self._requests.add(request)
                await self._admit(scope, receive, answer)
            if request.cancelled_caught:
                await answer.refuse(503, "The server stops.", retry=True)
        finally:
            self._requests.discard(request)
            if not self._requests:
                self._idle.set()
            if self._observe is not None:
                self._observe(scope, answer.status, self._clock() - started)

    async def _admit(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        try:
            _check(scope, self._limits)
            body = await self._body(scope, receive)
            self._check_load()
        except _Refused as refusal:
            self._refused[refusal.reason] += 1
            if refusal.reason == _TOO_LARGE:
                await _discard(receive, 8 * self._limits.max_body)
            await answer.refuse(refusal.status, refusal.detail, retry=refusal.status == 503)  # noqa: PLR2004 - HTTP
        except _Gone:
            self._refused["disconnect"] += 1
        else:
            await self._work(scope, body, receive, answer)

    async def _work(self, scope: Scope, body: bytes, receive: Receive, answer: _Answer) -> None:
        scope[BODY] = body
        scope[STOPPING] = self._stopping
        self._in_flight += 1
        try:
            await self._app(scope, _replay(body, receive), answer)
        finally:
            self._in_flight -= 1
            self._served += 1

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        """The whole body, at most `max_body` bytes, at most `body_timeout` after its headers."""
        if not _announces_body(scope, self._limits.max_body):
            await receive()
            return b""
        body = bytearray()
        try:
            with anyio.fail_after(self._limits.body_timeout):
                while (chunk := await receive())["type"] == "http.request":
                    body += chunk["body"]
                    self._reading += len(chunk["body"])
                    self._check_size(len(body))
                    if not chunk["more_body"]:
                        return bytes(body)
        except TimeoutError:
            raise _Refused(408, "slow_body", "The body did not arrive in time.") from None
        finally:
            self._reading -= len(body)
        raise _Gone

    def _check_load(self) -> None:
        if self._in_flight >= self._limits.max_in_flight:
            raise _Refused(503, "busy", "Too many requests are in flight.")

    def _check_size(self, size: int) -> None:
        if size > self._limits.max_body:
            raise _too_large(self._limits.max_body)
        if self._reading > self._limits.max_reading:
            raise _Refused(503, "memory", "Too many bodies are being read.")


class _Answer:
    """The `send` of one request: adds the security headers and remembers what was said."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = _secured(message.get("headers", ()))
        await self._send(message)

    async def refuse(self, status: int, detail: str, *, retry: bool) -> None:
        """Answer with a problem and close the connection; nothing, when an answer has begun."""
        if self.status:
            return
        body = problem.document(status, detail)
        headers = [
            (b"content-type", problem.MEDIA_TYPE.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        if retry:
            headers.append((b"retry-after", b"1"))
        await self({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def allowed_hosts(bind: str, configured: Iterable[str]) -> frozenset[str]:
    """The Host names that are answered, without port.

    On a loopback address these are its names and the configured ones (a page elsewhere that rebinds its name to
    127.0.0.1 gets nothing); on any other address the configured ones, or every well-formed name when there are none.
    """
    names = frozenset(name.lower() for name in configured)
    host = bind.rpartition(":")[0]
    if host in _LOOPBACK_NAMES or host.startswith("127."):
        return names | {*_LOOPBACK_NAMES, host}
    return names


def is_loopback(scope: Scope) -> bool:
    """Whether the client is on this machine and no proxy stands between: a forwarded request never counts as local."""
    client = scope.get("client")
    if client is None or any(name in _FORWARDING for name, _ in scope["headers"]):
        return False
    try:
        return ipaddress.ip_address(client[0].partition("%")[0]).is_loopback
    except ValueError:
        return False  # a transport without addresses


def _check(scope: Scope, limits: Limits) -> None:
    if scope["http_version"] not in ("1.1", "1.0"):
        raise _Refused(505, "protocol", "Speak HTTP/1.1.")
    if scope["method"] in _REFUSED_METHODS:
        raise _Refused(405, "method", "This method is not answered here.")
    headers = scope["headers"]
    size = len(scope["raw_path"]) + len(scope["query_string"])
    size += sum(len(name) + len(value) for name, value in headers)
    if size > limits.max_headers:
        raise _Refused(431, "headers", "The headers are too large.")
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or not _is_allowed(hosts[0] if hosts else b"", limits.hosts):
        raise _Refused(421, "host", "This name is not served here.")


def _is_allowed(host: bytes, allowed: frozenset[str]) -> bool:
    name = host.decode("latin-1").lower()
    if not name.endswith("]"):
        name, colon, port = name.rpartition(":") if ":" in name else (name, "", "")
        if colon and not port.isdecimal():
            return False
    if allowed:
        return name in allowed
    return bool(name) and all(character.isalnum() or character in "-._[]:" for character in name)


def _announces_body(scope: Scope, limit: int) -> bool:
    announced, lengths = False, 0
    for name, value in scope["headers"]:
        if name == b"content-length":
            if int(value) > limit:
                raise _too_large(limit)
            announced = announced or int(value) > 0
            lengths += 1
        elif name == b"transfer-encoding":
            announced = True
            lengths += 1
    if lengths > 1:
        raise _Refused(400, "length", "The body has two lengths.")
    return announced


def _too_large(limit: int) -> _Refused:
    return _Refused(413, _TOO_LARGE, f"The body is larger than {limit} bytes.")


async def _discard(receive: Receive, limit: int) -> None:
    """Read on for a moment: closing a socket with unread bytes resets it, and the client would never see its answer."""
    with anyio.move_on_after(_LINGER):
        while limit > 0 and (chunk := await receive())["type"] == "http.request" and chunk["more_body"]:
            limit -= len(chunk["body"])


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body once and after that waits for the client to leave."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _secured(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers with the security headers that they do not set themselves."""
    given = list(headers)
    names = {name.lower() for name, _ in given}
    given.extend(header for header in (*_SECURITY_HEADERS, _NO_STORE) if header[0] not in names)
    return given
