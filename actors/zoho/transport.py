"""One exchange with the source over HTTP: whole or not at all, of bounded size, in bounded time, never redirected."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager

import anyio
import httpx2
from msgspec import Struct

from actors.zoho.answers import Answer
from tds_runtime.config import Duration
from tds_runtime.errors import SourceAnswerInvalid, SourceDown

STARVED = 3
"""Calls in a row that got no connection. Fewer calls are let in than there are connections, so none has to wait for
one: the pool has lost some and will not find them again."""


class Timeouts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds for each part of an exchange, and for the whole of it (a byte a second defeats the others)."""

    connect: Duration = Duration("5s")
    read: Duration = Duration("20s")
    write: Duration = Duration("10s")
    pool: Duration = Duration("10s")
    whole: Duration = Duration("60s")


class Transport:
    """A pool of connections that knows nothing of tokens, limits or retries."""

    def __init__(
        self, timeouts: Timeouts | None = None, *, connections: int = 10, user_agent: str = "tds-runtime"
    ) -> None:
        self._timeouts = timeouts or Timeouts()
        self._connections = connections
        seconds = self._timeouts
        self._extensions = {
            "timeout": {
                "connect": float(seconds.connect),
                "read": float(seconds.read),
                "write": float(seconds.write),
                "pool": float(seconds.pool),
            }
        }
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": "gzip"}
        self._http: httpx2.AsyncHTTPTransport | None = None
        self._starved = 0

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[None]:
        """Open for the length of the block; nothing is connected before the first exchange."""
        self._http = self._pool()
        try:
            yield
        finally:
            old, self._http = self._http, None
            with anyio.CancelScope(shield=True):
                await old.aclose()

    async def mend(self) -> bool:
        """Replace the pool if it is beyond repair; True when it was."""
        if self._http is None or self._starved < STARVED:
            return False
        await self.rebuild()
        return True

    async def rebuild(self) -> None:
        """Replace the pool; exchanges under way on the old one fail."""
        old, self._http, self._starved = self._http, self._pool(), 0
        if old is not None:
            await old.aclose()

    def _pool(self) -> httpx2.AsyncHTTPTransport:
        """The pool below httpx2's client, which would add cookies, redirects and a third to the cost of a call."""
        limits = httpx2.Limits(max_connections=self._connections, keepalive_expiry=30.0)
        return httpx2.AsyncHTTPTransport(trust_env=False, limits=limits)

    async def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        cap: int,
        content: bytes | None = None,
        within: float | None = None,
    ) -> Answer:
        """The whole answer, at most `cap` bytes once unpacked, `within` seconds.

        Raises `SourceDown` for whatever the network does and `SourceAnswerInvalid` for a body too large or not
        unpackable.
        """
        if self._http is None:
            raise SourceDown("the connection pool is not open")
        every = {**self._headers, **headers}
        request = httpx2.Request(method, url, headers=every, content=content, extensions=self._extensions)
        try:
            with anyio.fail_after(min(self._timeouts.whole, within or self._timeouts.whole)):
                answer = await self._whole(self._http, request, cap)
        except TimeoutError as error:
            raise SourceDown("timeout: the answer never ended") from error
        except httpx2.DecodingError as error:
            raise SourceAnswerInvalid(f"cannot be unpacked: {error}") from error
        except httpx2.TransportError as error:
            self._starved += isinstance(error, httpx2.PoolTimeout)
            raise SourceDown(_reason(error)) from error
        self._starved = 0
        return answer

    async def _whole(self, http: httpx2.AsyncHTTPTransport, request: httpx2.Request, cap: int) -> Answer:
        response = await http.handle_async_request(request)
        response.request = request  # named in its errors
        try:
            body = bytearray()
            async with aclosing(response.aiter_bytes()) as chunks:
                async for chunk in chunks:
                    body += chunk
                    if len(body) > cap:
                        raise SourceAnswerInvalid(f"larger than {cap} bytes")
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, bytes(body))


def _reason(error: httpx2.TransportError) -> str:
    kind = "timeout" if isinstance(error, httpx2.TimeoutException) else "network"
    return f"{kind}: {type(error).__name__} {error}".rstrip()[:300]
