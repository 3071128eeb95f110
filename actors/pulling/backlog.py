"""Holds those back who fill the queue faster than its entity empties it: it holds a bounded part of a source."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import anyio

from tds_runtime import Context
from tds_runtime.errors import Outage

LOOK = 0.1
"""Seconds between two looks at a backlog that is too long."""

STANDSTILL = 10.0
"""Seconds that one waits in place; an entity that is slower than a page in this time is paused, broken or swamped."""

AWAY = timedelta(minutes=5)
"""How long those stay away who found it so."""


class Backlogged(Outage):
    """The entity does not write what waits for it."""

    def __init__(self, message: str, *, until: datetime) -> None:
        super().__init__(message)
        self.until = until


class Backlog:
    """What waits for one entity, as who adds to it knows it: counted again only where it may have grown too long."""

    def __init__(self, entity: str, most: int, count: Callable[[str, int], Awaitable[int]]) -> None:
        self.entity = entity
        self._most = most
        self._count = count
        self._known = most  # nobody has looked yet: the first to add looks

    def add(self, changes: int) -> None:
        """So many more wait."""
        self._known += changes

    async def is_long(self) -> bool:
        """Whether more wait than may; the queue is asked only where what is known leaves room for doubt."""
        if self._known > self._most:
            self._known = await self._count(self.entity, self._most + 1)
        return self._known > self._most

    async def wait(self, ctx: Context, grant: Callable[[float], object]) -> None:
        """Wait until there is room again; `grant` is told the seconds, which are not the waiter's own fault.

        Raises `Backlogged` where that takes too long.
        """
        ends = anyio.current_time() + STANDSTILL
        while await self.is_long() and not ctx.stopping.is_set():
            began = anyio.current_time()
            if began > ends:
                until = datetime.now(UTC) + AWAY
                raise Backlogged(f"more than {self._most} changes wait for {self.entity}", until=until)
            async with ctx.waiting("backlog"):
                with anyio.move_on_after(LOOK):
                    await ctx.stopping.wait()
            grant(anyio.current_time() - began)
