"""What a comparison works with: it asks the source, reads the tables, enqueues repairs, and waits out what is away."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC
from typing import Annotated, Protocol, TypeVar

import anyio
from msgspec import Meta, Struct

from actors.reconciling.holding import Claimed, Progress
from actors.zoho.entities import Entity, Source
from actors.zoho.listing import Listing, pages
from actors.zoho.options import Options as ClientOptions
from actors.zoho.picking import Page
from tds_runtime import Context, limiter, logs, ride_out
from tds_runtime.clock import DatabaseClock
from tds_runtime.database import Database
from tds_runtime.errors import Error, RateLimited
from tds_runtime.limiter import Budget
from tds_runtime.queue import Queue
from tds_runtime.values import Duration

T = TypeVar("T")

LONGEST_WAIT = 60.0
"""Seconds between two tries while the source is away."""

Due = Callable[[Iterable[tuple[str, str]]], object]

log = logs.get("reconciler")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[reconciler]`.

    threshold: an alert for each entity that matches by less, in percent.
    poll: a report whose wake-up was lost begins this late at most.
    settle: what differs is looked at again so long after the sweep; webhooks under way arrive meanwhile.
    patience: a source that orders a longer pause in the middle of a sweep leaves its entity with counts only.
    doubts: records that differ and are held at once; a report of more looks at them, and repairs them, in portions.
    findings: kept by entity and kind; all are counted.
    details: detail calls by entity that say how a record differs in what no listing shows.
    extra, extra_share: more extra records than both of these are an alarm, and none of them is touched.
    """

    threshold: Annotated[float, Meta(ge=0, le=100)] = 95.0
    poll: Duration = Duration("60s")
    settle: Duration = Duration("2s")
    patience: Duration = Duration("10m")
    doubts: Annotated[int, Meta(ge=1, le=10_000)] = 1000
    findings: Annotated[int, Meta(ge=1, le=100_000)] = 1000
    details: Annotated[int, Meta(ge=0)] = 50
    extra: Annotated[int, Meta(ge=0)] = 5
    extra_share: Annotated[float, Meta(ge=0, le=1)] = 0.01


class Seen(Protocol):
    """What the client knows of the days of its APIs."""

    @property
    def budgets(self) -> Mapping[str, Budget]: ...


class Origin(Protocol):
    """What a comparison asks of the source: `zoho.client.Client`."""

    @property
    def options(self) -> ClientOptions: ...

    async def count(self, source: Source) -> int | None: ...

    async def detail(self, source: Source, record: str, *, bulk: bool = ...) -> bytes: ...

    def pages(
        self,
        source: Source,
        read: Callable[[bytes], Page],
        *,
        params: Mapping[str, str] | None = ...,
        start: int = ...,
        bulk: bool = ...,
    ) -> AbstractAsyncContextManager[Listing[Page]]: ...

    def statistics(self) -> Seen: ...


class Unaffordable(Error):
    """The source takes no bulk calls for longer than a comparison waits."""


class Desk:
    """One report in hand."""

    def __init__(
        self,
        ctx: Context,
        report: Claimed,
        *,
        database: Database,
        queue: Queue,
        client: Origin,
        options: Options,
        due: Due,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.ctx = ctx
        self.report = report
        self.database = database
        self.queue = queue
        self.client = client
        self.options = options
        self.due = due
        self.progress = Progress()
        self.clock = DatabaseClock()
        self._wall = wall

    async def ride(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Do something with the database, waiting out its outages."""
        return await ride_out(self.ctx, "database", operation)

    async def asking(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Ask the source, waiting out its outages; `Unaffordable` when it ordered a long pause."""

        async def patiently() -> T:
            try:
                return await operation()
            except RateLimited as error:
                self._check(error)
                raise

        return await ride_out(self.ctx, "source", patiently, cap=LONGEST_WAIT)

    def _check(self, error: RateLimited) -> None:
        if error.until is not None and error.until.timestamp() - self._wall() > self.options.patience:
            raise Unaffordable(f"{error} (until {error.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC)") from error

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than this actor is to live."""
        async with self.ctx.waiting("settle"):
            with anyio.move_on_after(seconds):
                await self.ctx.stopping.wait()

    def shortage(self, entity: Entity, counts: Iterable[tuple[Source, int]]) -> str:
        """Why the day's calls do not allow a sweep; empty when they do, as far as is known."""
        options, needed = self.client.options, Counter[str]()
        for source, count in counts:
            needed[source.api] += pages(count, options.page_size) if source.paged else 1
        budgets, now = self.client.statistics().budgets, self._wall()
        for api, calls in needed.items():
            left = limiter.spendable(budgets.get(api, Budget()), now, options.reserve)
            if left is not None and left < calls:
                return f"a sweep of {entity.name} takes {calls} calls to {api}, the day leaves {left} to bulk work"
        return ""
