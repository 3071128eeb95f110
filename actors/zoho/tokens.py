"""The access token and what the fleet knows of it, kept in one process or shared by all nodes under a lock."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import msgspec
from msgspec import Struct

from actors.zoho.seal import Seal
from tds_runtime import upstreams

MARGIN = 300.0
"""A token is replaced this many seconds before it expires."""

MEMO = "zoho token"


class Token(Struct, frozen=True, kw_only=True):
    """One access token; times are seconds since the epoch."""

    access: str
    api_domain: str = ""
    expires_at: float = 0.0
    issued_at: float = 0.0

    def fresh(self, now: float) -> bool:
        """Whether it may still be used; one "issued tomorrow" (a clock was set back) may not."""
        return now < self.expires_at - MARGIN and self.issued_at <= now + MARGIN


class Standing(Struct, frozen=True, kw_only=True):
    """What the fleet knows of its token: the token, recent refreshes, and until when and why nobody tries."""

    token: Token | None = None
    refreshes: tuple[float, ...] = ()
    parked_until: float = 0.0
    reason: str = ""
    refused: bool = False
    throttled: int = 0


class Slot(Protocol):
    """The standing, held exclusively."""

    standing: Standing

    async def save(self, standing: Standing) -> None:
        """Keep this from now on."""


class Store(Protocol):
    """Where the standing lives; `exclusive` admits one holder in the fleet and reads it again under the lock."""

    def exclusive(self) -> AbstractAsyncContextManager[Slot]:
        """The standing, until the block ends."""


class Memory:
    """A store for one process."""

    def __init__(self) -> None:
        self.standing = Standing()

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Slot]:
        """The standing, until the block ends."""
        yield self

    async def save(self, standing: Standing) -> None:
        """Keep this from now on."""
        self.standing = standing


class Fleet:
    """A store for all nodes: a sealed memo in Postgres. Other credentials do not open it and start afresh."""

    def __init__(self, shared: upstreams.Shared, seal: Seal) -> None:
        self._shared = shared
        self._seal = seal

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[Slot]:
        """The standing, until the block ends."""
        async with self._shared.memo(MEMO) as memo:
            yield _Sealed(memo, self._seal)


class _Sealed:
    def __init__(self, memo: upstreams.Memo, seal: Seal) -> None:
        self._memo = memo
        self._seal = seal
        text = seal.open(memo.value) if memo.value else None
        self.standing = Standing() if text is None else msgspec.json.decode(text, type=Standing)

    async def save(self, standing: Standing) -> None:
        await self._memo.save(self._seal.close(msgspec.json.encode(standing).decode()))
        self.standing = standing
