"""The client of one organisation's Zoho Books and Zoho Inventory: listings, details, counts and images."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Generic, Literal, Protocol, TypeVar
from urllib.parse import quote

import anyio
import msgspec
from msgspec import Struct

from actors.zoho import answers
from actors.zoho.answers import Answer
from actors.zoho.call import Call
from actors.zoho.call import Statistics as CallStatistics
from actors.zoho.calls import Caller
from actors.zoho.hosts import Api
from actors.zoho.listing import Leaf, Listing, PageT, Row, Sequel, prefetched
from actors.zoho.oauth import OAuth
from actors.zoho.oauth import Statistics as TokenStatistics
from actors.zoho.options import Options
from actors.zoho.tokens import Store
from actors.zoho.transport import Transport
from tds_runtime import breaker, limiter, logs
from tds_runtime.breaker import Breaker
from tds_runtime.errors import RecordMissing, SourceAnswerInvalid, SourceRejected
from tds_runtime.limiter import Budget, Ledger, Limiter

__all__ = ["Bulk", "Client", "Image", "Options", "Source", "Statistics"]

UPSTREAMS = ("books", "inventory", "oauth")
ORGANIZATION = "zoho"
"""The name under which the organisation's minute and its pauses are kept: both APIs share them."""

CHUNK = 100
"""Ids in one bulk call."""

log = logs.get("source")

RowT = TypeVar("RowT", bound=Row)


class Source(Protocol):
    """Where an entity's records come from (the mapping's source block)."""

    @property
    def api(self) -> str: ...
    @property
    def list_path(self) -> str: ...
    @property
    def detail_path(self) -> str | None: ...
    @property
    def bulk_path(self) -> str | None: ...
    @property
    def bulk_parameter(self) -> str: ...
    @property
    def params(self) -> Mapping[str, str]: ...
    @property
    def paged(self) -> bool: ...
    @property
    def countable(self) -> bool: ...


class Bulk(Struct, Generic[RowT], frozen=True):
    """Details of many records: those that came, and the ids that the source does not have."""

    rows: tuple[RowT, ...]
    missing: tuple[str, ...]


class Image(Struct, frozen=True):
    """A picture as the source sends it."""

    content_type: str
    body: bytes


class Statistics(Struct, frozen=True, kw_only=True):
    """The client, for a screen: calls by upstream, breakers, the minute, the days, the token."""

    calls: dict[str, CallStatistics]
    breakers: dict[str, breaker.Statistics]
    limiter: limiter.Statistics
    budgets: dict[str, Budget]
    token: TokenStatistics


class Client:
    """Books and Inventory of one organisation; everything shared between nodes goes through `ledger` and `store`."""

    def __init__(
        self,
        options: Options,
        *,
        ledger: Ledger | None = None,
        store: Store | None = None,
        clock: Callable[[], float] = time.time,
        randomness: random.Random | None = None,
    ) -> None:
        self.options = options
        self.limiter = Limiter(ORGANIZATION, options.allowance, ledger, wall=clock)
        self.breakers = {name: Breaker(name, options.breaker, clock=clock) for name in UPSTREAMS}
        self.transport = Transport(options.timeouts, connections=options.concurrency + 1)
        self.oauth = OAuth(options.credentials, self._post, store, clock=clock)
        self.caller = Caller(
            options.policy,
            transport=self.transport,
            oauth=self.oauth,
            limiter=self.limiter,
            breakers=self.breakers,
            clock=clock,
            randomness=randomness,
        )
        self._clock = clock

    async def _post(self, url: str, form: bytes) -> Answer:
        return await self.caller.post(url, form)

    def opened(self) -> AbstractAsyncContextManager[None]:
        """Calls work for the length of this block; before and after it they raise `SourceDown`."""
        return self.transport.opened()

    async def mend(self) -> bool:
        """Rebuild the connection pool if it is broken; True when it was."""
        rebuilt = await self.transport.mend()
        if rebuilt:
            log.warning("pool.rebuilt", reason="calls got no connection")
        return rebuilt

    # --- single calls; for what they raise see `calls.Caller.make`

    async def get(self, api: Api, path: str, params: Mapping[str, str] | None = None, *, bulk: bool = False) -> bytes:
        """The body of one JSON answer, code 0."""
        return await self.caller.make(Call(api=api, path=path, params=params or {}, bulk=bulk, read=_body))

    async def write(
        self, method: Literal["POST", "PUT", "DELETE"], api: Api, path: str, content: object = None
    ) -> bytes:
        """One call that changes something at the source: tried once, because trying again might do it twice."""
        body = None if content is None else msgspec.json.encode(content)
        return await self.caller.make(Call(api=api, path=path, method=method, content=body, read=_body))

    async def count(self, source: Source, params: Mapping[str, str] | None = None) -> int | None:
        """How many records the source has (that fit these parameters), or None where it does not tell."""
        if not source.countable:
            return None
        paging = {"page": "1", "per_page": str(self.options.page_size), "response_option": "2"}
        params = {**source.params, **(params or {}), **paging}
        return await self.caller.make(Call(api=source.api, path=source.list_path, params=params, read=_total))

    async def detail(self, source: Source, record: str, *, permitted: bool = False, bulk: bool = False) -> bytes:
        """One record's document; `RecordMissing` where there is none (any more)."""
        if source.detail_path is None:
            raise SourceRejected(f"{source.list_path} has no detail call")
        path = source.detail_path.replace("{id}", quote(record, safe=""))
        return await self.caller.make(Call(api=source.api, path=path, read=_body, permitted=permitted, bulk=bulk))

    async def image(self, item: str, *, permitted: bool = False) -> Image:
        """The picture of an item; `RecordMissing` where it has none."""
        call = Call(
            api="inventory",
            path=f"/items/{quote(item, safe='')}/image",
            read=_image,
            judge=answers.judge_bytes,
            cap=self.options.image_bytes,
            permitted=permitted,
            bulk=True,
        )
        try:
            return await self.caller.make(call)
        except SourceRejected as error:
            if error.status != 404:  # noqa: PLR2004 - the code of "no image" is not established, the status is
                raise
            raise RecordMissing(str(error), status=error.status, code=error.code) from error

    # --- many records

    @asynccontextmanager
    async def pages(
        self,
        source: Source,
        read: Callable[[bytes], PageT],
        *,
        params: Mapping[str, str] | None = None,
        start: int = 1,
        bulk: bool = False,
        ahead: int = 1,
    ) -> AsyncIterator[Listing[PageT]]:
        """A listing from page `start` on, one page ahead of its reader (0 for a reader that may stop early).

        A page that repeats, shrinks or cannot be read is asked for again and is then `SourceAnswerInvalid`, never
        skipped. What else a call raises comes up where the page would have been; the reader may open a new listing
        at the page it still wants.
        """
        sequel = Sequel(self.options.page_size)

        async def fetch(number: int) -> Leaf[PageT]:
            call = self._page(source, read, sequel, params or {}, number, bulk=bulk)
            leaf = await self.caller.make(call)
            sequel.add(leaf.page)
            return leaf

        async with prefetched(fetch, start=start, paged=source.paged, ahead=ahead) as listing:
            yield listing

    def _page(
        self,
        source: Source,
        read: Callable[[bytes], PageT],
        sequel: Sequel,
        params: Mapping[str, str],
        number: int,
        *,
        bulk: bool,
    ) -> Call[Leaf[PageT]]:
        asked_at = anyio.current_time()
        paging = {"page": str(number), "per_page": str(self.options.page_size)} if source.paged else {}

        def leaf(answer: Answer) -> Leaf[PageT]:
            page = read(answer.body)
            sequel.check(number, page)
            now = datetime.fromtimestamp(self._clock(), UTC)
            return Leaf(number=number, page=page, asked_at=asked_at, sent_at=answers.sent_at(answer.headers, now))

        every = {**source.params, **params, **paging}
        return Call(api=source.api, path=source.list_path, params=every, read=leaf, bulk=bulk)

    async def details(
        self, source: Source, records: Sequence[str], read: Callable[[bytes], tuple[RowT, ...]], *, bulk: bool = True
    ) -> Bulk[RowT]:
        """Many records' documents in calls of a hundred ids; one dead id fails a whole call, so that is halved."""
        if source.bulk_path is None:
            raise SourceRejected(f"{source.list_path} has no bulk detail call")
        rows: list[RowT] = []
        missing: list[str] = []
        chunks = [list(records[start : start + CHUNK]) for start in range(0, len(records), CHUNK)][::-1]
        while chunks:
            chunk = chunks.pop()
            try:
                came = await self.caller.make(_bulk_call(source, source.bulk_path, chunk, read, bulk=bulk))
            except RecordMissing:
                if len(chunk) == 1:
                    missing += chunk
                else:
                    half = len(chunk) // 2
                    chunks += [chunk[half:], chunk[:half]]
                continue
            rows += came
            missing += _absent(chunk, came)
        return Bulk(tuple(rows), tuple(missing))

    def closed_until(self, api: str, *, bulk: bool = False) -> float | None:
        """Until when (seconds since the epoch) no call to this API has a chance; None when one may be made now.

        A full minute is no closure: its permits come back one after the other.
        """
        now = self._clock()
        share = self.options.reserve if bulk else 0.0
        waits = [
            limiter.refusal(self.caller.budgets[api], now, share) or 0.0,
            now + self.limiter.paused,
            now + self.breakers[api].statistics().reopens_in,
            self.oauth.closed_until(),
        ]
        latest = max(waits)
        return latest if latest > now else None

    def now(self) -> datetime:
        """The time by the clock that the budgets are kept by."""
        return datetime.fromtimestamp(self._clock(), UTC)

    def statistics(self) -> Statistics:
        """What a screen shows of it."""
        return Statistics(
            calls={name: tally.statistics() for name, tally in self.caller.tallies.items()},
            breakers={name: one.statistics() for name, one in self.breakers.items()},
            limiter=self.limiter.statistics(),
            budgets=dict(self.caller.budgets),
            token=self.oauth.statistics(),
        )


def _bulk_call(
    source: Source, path: str, chunk: Sequence[str], read: Callable[[bytes], tuple[RowT, ...]], *, bulk: bool
) -> Call[tuple[RowT, ...]]:
    params = {source.bulk_parameter: ",".join(chunk)}
    return Call(api=source.api, path=path, params=params, read=lambda answer: read(answer.body), bulk=bulk)


def _absent(asked: Sequence[str], came: Sequence[Row]) -> list[str]:
    """Ids that were asked for and neither came nor failed the call: not skipped, but missing."""
    ids = {row.id for row in came}
    if not ids <= set(asked):
        raise SourceAnswerInvalid("a bulk call answered with records that were not asked for")
    return [record for record in asked if record not in ids]


class _Counted(Struct, frozen=True):
    total: int | None = None


class _Count(Struct, frozen=True):
    page_context: _Counted = _Counted()


def _total(answer: Answer) -> int | None:
    try:
        return msgspec.json.decode(answer.body, type=_Count).page_context.total
    except (msgspec.DecodeError, RecursionError) as error:
        raise SourceAnswerInvalid(f"the count cannot be read: {error}") from error


def _body(answer: Answer) -> bytes:
    return answer.body


def _image(answer: Answer) -> Image:
    return Image(answer.headers.get("content-type", "").split(";")[0].strip().lower(), answer.body)
