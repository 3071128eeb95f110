"""A listing of the source, page by page: the next page is fetched while this one is written, and none is skipped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Generic, Protocol, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec import Struct

from tds_runtime.errors import Error, SourceAnswerInvalid


class Row(Protocol):
    """One record of a page."""

    @property
    def id(self) -> str:
        """Its id at the source."""


RowT_co = TypeVar("RowT_co", bound=Row, covariant=True)


class Page(Protocol[RowT_co]):
    """One decoded page."""

    @property
    def rows(self) -> tuple[RowT_co, ...]:
        """Its records."""

    @property
    def has_more(self) -> bool:
        """Whether another page follows."""

    @property
    def page(self) -> int:
        """Its number as the source tells it; 0 where it tells none."""


PageT = TypeVar("PageT", bound="Page[Row]")


class Leaf(Struct, Generic[PageT], frozen=True, kw_only=True):
    """A page with its place: `asked_at` on the monotonic clock before the call, `sent_at` by the source's clock."""

    number: int
    page: PageT
    asked_at: float
    sent_at: datetime


class Sequel:
    """Checks that each page is the one after the last; one that repeats, shrinks or has another number is an error."""

    def __init__(self, per_page: int) -> None:
        self._per_page = per_page
        self._seen: set[int] = set()

    def check(self, number: int, page: Page[Row]) -> None:
        """Raises `SourceAnswerInvalid`; a page may be checked again after a failure."""
        if page.page not in {0, number}:
            raise SourceAnswerInvalid(f"asked for page {number}, got page {page.page}")
        if page.has_more and len(page.rows) < self._per_page:
            raise SourceAnswerInvalid(f"page {number} has {len(page.rows)} of {self._per_page} rows, yet more follow")
        if page.rows and self._mark(page) in self._seen:
            raise SourceAnswerInvalid(f"page {number} repeats an earlier page")

    def add(self, page: Page[Row]) -> None:
        """Remember this page."""
        self._seen.add(self._mark(page))

    @staticmethod
    def _mark(page: Page[Row]) -> int:
        return hash(tuple(row.id for row in page.rows))


def pages(records: int, size: int) -> int:
    """Calls that list so many records: at least one, which says that there are none."""
    return max(1, -(-records // size))


def stamp(moment: datetime) -> str:
    """A time as the source takes it: with an offset, without a fraction and never with a Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


class Listing(Generic[PageT]):
    """The pages still to come; what ended the fetching early is raised where the page would have been."""

    def __init__(self, pages: MemoryObjectReceiveStream[Leaf[PageT] | Error], wanted: anyio.Semaphore) -> None:
        self._pages = pages
        self._wanted = wanted

    def __aiter__(self) -> AsyncIterator[Leaf[PageT]]:
        return self

    async def __anext__(self) -> Leaf[PageT]:
        self._wanted.release()
        try:
            leaf = await self._pages.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None
        if isinstance(leaf, Error):
            raise leaf
        return leaf


@asynccontextmanager
async def prefetched(
    fetch: Callable[[int], Awaitable[Leaf[PageT]]], *, start: int, paged: bool, ahead: int = 1
) -> AsyncIterator[Listing[PageT]]:
    """Fetch page after page, `ahead` of the reader by so many; leaving the block ends the fetching."""
    sender, receiver = anyio.create_memory_object_stream[Leaf[PageT] | Error](0)
    wanted = anyio.Semaphore(ahead)
    with receiver:
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(_feed, fetch, sender, wanted, start, paged)
                yield Listing(receiver, wanted)
                group.cancel_scope.cancel()  # before the receiver closes, or the feeder would see a broken pipe
        except BaseExceptionGroup as failures:
            if len(failures.exceptions) == 1:  # the reader's own error, as it raised it
                raise failures.exceptions[0] from None
            raise


async def _feed(
    fetch: Callable[[int], Awaitable[Leaf[PageT]]],
    sender: MemoryObjectSendStream[Leaf[PageT] | Error],
    wanted: anyio.Semaphore,
    start: int,
    paged: bool,
) -> None:
    number = start
    async with sender:
        while True:
            await wanted.acquire()
            try:
                leaf = await fetch(number)
            except Error as error:
                return await sender.send(error)
            await sender.send(leaf)
            if not (paged and leaf.page.has_more):
                return None
            number += 1
