from __future__ import annotations

import gzip
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import anyio
import msgspec
import pytest
from fixtures.upstream import CLOSE, HANG, TOKEN, Asked, Reply, Upstream, answer
from msgspec import Struct

from actors.zoho.client import Client, Image, Options
from actors.zoho.hosts import CENTERS, checked
from actors.zoho.transport import Timeouts, Transport
from tds_runtime import breaker
from tds_runtime.config import Duration
from tds_runtime.errors import (
    BreakerOpen,
    RateLimited,
    RecordMissing,
    SourceAnswerInvalid,
    SourceDown,
    SourceRefused,
    SourceRejected,
)

pytestmark = pytest.mark.anyio

FAST = Timeouts(connect=Duration(1), read=Duration(0.2), write=Duration(1), pool=Duration(1), whole=Duration(0.5))


class Quick(random.Random):
    """Jitter that is always almost nothing."""

    def uniform(self, *_: float) -> float:
        return 0.001


class Row(Struct, frozen=True):
    id: str


class Page(Struct, frozen=True):
    rows: tuple[Row, ...]
    has_more: bool
    page: int


class Source(Struct, frozen=True):
    api: str = "books"
    list_path: str = "/items"
    detail_path: str | None = "/items/{id}"
    bulk_path: str | None = "/itemdetails"
    bulk_parameter: str = "item_ids"
    params: dict[str, str] = {}
    paged: bool = True
    countable: bool = True


class _Item(Struct):
    item_id: str


class _Context(Struct, frozen=True):
    page: int = 0
    has_more_page: bool = False


class _Items(Struct):
    items: list[_Item]
    page_context: _Context = _Context()


def read(body: bytes) -> Page:
    try:
        found = msgspec.json.decode(body, type=_Items)
    except msgspec.DecodeError as error:
        raise SourceAnswerInvalid(str(error)) from error
    rows = tuple(Row(item.item_id) for item in found.items)
    return Page(rows, found.page_context.has_more_page, found.page_context.page)


def read_bulk(body: bytes) -> tuple[Row, ...]:
    return read(body).rows


def page(number: int, ids: list[str], *, more: bool) -> Any:
    context = {"page": number, "per_page": 2, "has_more_page": more}
    return {"code": 0, "message": "success", "items": [{"item_id": one} for one in ids], "page_context": context}


@asynccontextmanager
async def connected(**options: Any) -> AsyncIterator[tuple[Upstream, Client]]:
    async with Upstream().serving() as upstream:
        every = {
            "organization_id": "60012345678",
            "client_id": "1000.CLIENT",
            "accounts_url": upstream.url,
            "api_url": upstream.url,
            "calls_per_minute": 0,
            "page_size": 2,
            "timeouts": FAST,
            **options,
        }
        client = Client(Options(**every), randomness=Quick(1))
        async with client.opened():
            yield upstream, client


def scripted(upstream: Upstream, *replies: Reply) -> None:
    """Serve these one after the other, the last one for ever."""
    left = list(replies)
    upstream.reply = lambda _: left.pop(0) if len(left) > 1 else left[0]


OK = answer({"code": 0, "message": "success", "item": {"item_id": "1"}})
BUSY = answer({"code": 1070, "message": "in process"}, 429)


async def test_a_call_carries_token_and_organization() -> None:
    """Every call has Zoho's own authorization header, the organisation, and plus signs encoded."""
    async with connected() as (upstream, client):
        await client.get("inventory", "/items", {"last_modified_time": "2026-01-02T10:00:00+0300"})
        asked = upstream.calls()[0]
        assert asked.path == "/inventory/v1/items"
        assert asked.headers["authorization"] == "Zoho-oauthtoken 1000.token.1"
        assert asked.query == {"last_modified_time": "2026-01-02T10:00:00+0300", "organization_id": "60012345678"}
        assert client.statistics().calls["inventory"].calls == 1


@pytest.mark.parametrize(
    "fault",
    [
        answer({"code": 1000, "message": "Internal error"}, 500),
        Reply(status=503, body=b"<html>maintenance</html>"),
        Reply(parts=[CLOSE]),
        Reply(parts=[b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", CLOSE]),
        Reply(parts=[b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"cod', CLOSE]),
        Reply(parts=[HANG]),
        Reply(parts=[b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", *[b"{", 0.1] * 50]),
        Reply(status=200, headers={"Content-Type": "text/html"}, body=b"<html>sign in</html>"),
        BUSY,
    ],
    ids=["500", "503", "close", "truncated", "truncated-chunk", "hang", "drip", "html", "busy"],
)
async def test_what_passes_is_tried_again(fault: Reply) -> None:
    """Every fault that passes costs one retry and no error."""
    async with connected() as (upstream, client):
        scripted(upstream, fault, OK)
        with anyio.fail_after(5):
            body = await client.get("books", "/items/1")
        assert b'"item_id":"1"' in body
        assert client.statistics().calls["books"].retries == 1


async def test_retries_end() -> None:
    """After its tries a call raises the last reason."""
    async with connected(tries=3, breaker=breaker.Options(failures=100)) as (upstream, client):
        scripted(upstream, Reply(status=503))
        with pytest.raises(SourceDown, match="503"):
            await client.get("books", "/items")
        assert len(upstream.calls()) == 3


async def test_retries_end_at_the_deadline() -> None:
    """No try begins after the deadline of the call."""
    async with connected(tries=20, deadline=Duration(0.5), breaker=breaker.Options(failures=99)) as (upstream, client):
        scripted(upstream, Reply(parts=[HANG]))
        with anyio.fail_after(5), pytest.raises(SourceDown, match="timeout"):
            await client.get("books", "/items")
        assert len(upstream.calls()) <= 4


async def test_the_breaker_opens_for_one_api_only() -> None:
    """Five failures leave Books alone without another call; Inventory goes on."""
    async with connected(tries=5) as (upstream, client):
        upstream.reply = lambda asked: Reply(status=502) if "books" in asked.path else OK
        with pytest.raises(SourceDown):
            await client.get("books", "/items")
        with pytest.raises(BreakerOpen, match="502"):
            await client.get("books", "/items")
        assert len(upstream.calls(path="books")) == 5
        await client.get("inventory", "/items")


async def test_refusals_never_open_the_breaker() -> None:
    """A 4xx is an answer: ten of them leave the breaker closed, and none is tried again."""
    async with connected() as (upstream, client):
        scripted(upstream, answer({"code": 2, "message": "Invalid value passed for last_modified_time"}, 400))
        for _ in range(10):
            with pytest.raises(SourceRejected, match="code 2") as caught:
                await client.get("books", "/items")
        assert (caught.value.status, caught.value.code) == (400, 2)
        assert len(upstream.calls()) == 10
        assert client.breakers["books"].state.phase == "closed"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (answer({"code": 1002, "message": "Invoice does not exist."}, 404), RecordMissing),
        (answer({"code": 1002, "message": "Invoice does not exist."}, 200), RecordMissing),
        (answer({"code": 6041, "message": "not associated"}, 200), SourceRejected),
        (answer({"code": 5, "message": "unknown path"}, 404), SourceRejected),
        (Reply(status=404, body=b"<html>no</html>"), SourceRejected),
        (Reply(status=302, headers={"Location": "https://evil.example/"}), SourceRejected),
    ],
    ids=["missing", "missing-200", "error-with-200", "unknown-path", "html-404", "redirect"],
)
async def test_what_does_not_pass(reply: Reply, error: type[Exception]) -> None:
    """Only 1002 says that a record is missing; redirects are not followed; errors may come with status 200."""
    async with connected() as (upstream, client):
        scripted(upstream, reply)
        with pytest.raises(SourceRejected) as caught:
            await client.get("books", "/invoices/1")
        assert type(caught.value) is error
        assert len(upstream.calls()) == 1


# Left in the middle of a body, httpcore2 leaves a generator to the garbage collector, which trio reports as a warning.
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_cannot_be_unpacked_is_tried_again() -> None:
    """A body that says gzip and is not costs one retry."""
    async with connected() as (upstream, client):
        scripted(upstream, Reply(headers={"Content-Encoding": "gzip"}, body=b"not gzip at all"), OK)
        await client.get("books", "/items/1")
        assert client.statistics().calls["books"].failures == {"SourceAnswerInvalid": 1}


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_size_is_capped_while_streaming() -> None:
    """A body without an end and a small one that unpacks to a large one are both cut off at the cap."""
    endless = Reply(parts=[b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n", *[b"x" * 65_536] * 1000])
    bomb = Reply(headers={"Content-Encoding": "gzip", "Content-Type": "image/png"}, body=gzip.compress(bytes(50 << 20)))
    async with connected(image_bytes=1 << 20, tries=1) as (upstream, client):
        for fault in (endless, bomb):
            scripted(upstream, fault)
            with anyio.fail_after(5), pytest.raises(SourceAnswerInvalid, match="larger"):
                await client.image("1")


# --- where calls go, and how long they may take


async def test_calls_follow_the_host_that_the_token_names() -> None:
    """Without a configured address calls go to `api_domain`; a host that is none of Zoho's gets no call at all."""
    async with connected(api_url="", tries=1) as (upstream, client):
        for domain in ("https://www.zohoapis.com.evil.example", "http://www.zohoapis.com", "https://evil.example"):
            upstream.token = lambda _, domain=domain: answer({**TOKEN, "api_domain": domain})
            with pytest.raises(SourceAnswerInvalid, match="not allowed"):
                await client.get("books", "/items")
        upstream.token = lambda _: answer({**TOKEN, "api_domain": upstream.url})
        await client.get("books", "/items")
        assert [asked.path for asked in upstream.calls()] == ["/books/v3/items"]


@pytest.mark.parametrize("center", CENTERS)
def test_each_data_center_has_its_own_hosts(center: Any) -> None:
    """The accounts server and the API are the data centre's, and both may be called."""
    options = Options(data_center=center)
    assert options.credentials.accounts == CENTERS[center].accounts == checked(CENTERS[center].accounts)
    assert options.policy.fallback == CENTERS[center].api == checked(CENTERS[center].api)


async def test_the_environment_sets_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls go straight to the source, whatever proxies the environment names."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with connected(tries=1) as (upstream, client):
        await client.get("books", "/items")
        assert len(upstream.calls()) == 1


@pytest.mark.parametrize("part", ["Connect", "Read", "Write", "Pool"])
async def test_each_part_of_an_exchange_has_its_timeout(part: str) -> None:
    """A server that accepts nobody, answers nothing, reads nothing, or holds the only connection costs its timeout."""
    short = {part.lower(): Duration(0.2)}
    transport = Transport(Timeouts(**{"whole": Duration(20), **short}), connections=1)
    async with Upstream().serving() as upstream, transport.opened(), anyio.create_task_group() as group:
        upstream.reply = lambda _: Reply(parts=[HANG])
        with _deaf(accepts=part != "Connect") as deaf:
            url = deaf if part in {"Connect", "Write"} else upstream.url
            if part == "Pool":
                group.start_soon(_ignored, transport, url)
                while not upstream.calls():
                    await anyio.wait_all_tasks_blocked()
            body = bytes(64 << 20) if part == "Write" else None
            with anyio.fail_after(10), pytest.raises(SourceDown, match=f"timeout: {part}Timeout"):
                await transport.exchange("POST", url, headers={}, cap=1000, content=body)
            group.cancel_scope.cancel()


async def _ignored(transport: Transport, url: str) -> None:
    await transport.exchange("GET", url, headers={}, cap=1000)


@contextmanager
def _deaf(*, accepts: bool) -> Iterator[str]:
    """A port where connections wait for ever; when it does not accept, there is no room for another one to wait."""
    with socket.create_server(("127.0.0.1", 0), backlog=100 if accepts else 0) as listening, ExitStack() as held:
        for _ in range(0 if accepts else 4):
            one = held.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


# --- tokens


async def test_one_refresh_for_a_dead_token() -> None:
    """Five calls that meet a dead token together cause one refresh, and all succeed."""
    async with connected() as (upstream, client):
        await client.get("books", "/items")
        dead = {"code": 57, "message": "You are not authorized to perform this operation"}
        upstream.reply = lambda asked: answer(dead, 401) if asked.headers["authorization"].endswith(".1") else OK
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(client.get, "books", "/items")
        assert upstream.tokens == 2


async def test_a_missing_scope_does_not_loop() -> None:
    """A call refused with a fresh token too is refused for good; its repeats cause no refresh, others go on."""
    async with connected() as (upstream, client):
        refused = answer({"code": 57, "message": "You are not authorized"}, 401)
        upstream.reply = lambda asked: refused if "bills" in asked.path else OK
        for _ in range(5):
            with pytest.raises(SourceRefused, match="scope"):
                await client.get("books", "/bills")
        await client.get("books", "/items")
        assert upstream.tokens == 2
        assert client.breakers["books"].state.phase == "closed"


# --- limits


async def test_concurrency_is_bounded() -> None:
    """Twenty calls at once reach the source three at a time."""
    async with connected(concurrency=3) as (upstream, client):
        upstream.reply = lambda _: Reply(body=OK.body, pause=0.02)
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.get, "books", "/items")
        assert upstream.most_in_flight == 3


async def test_the_days_budget_stops_bulk_work_first() -> None:
    """At the reserve bulk calls are told the time of the reset without a call; others run to nothing left."""
    async with connected(reserve=0.1) as (upstream, client):
        quota = {"X_Rate_Limit_Limit": "1000", "X_Rate_Limit_Remaining": "100", "X_Rate_Limit_Reset": "3600"}
        scripted(upstream, answer({"code": 0}, **quota))
        await client.get("books", "/items")
        with pytest.raises(RateLimited, match="but for the reserve") as caught:
            await client.get("books", "/items", bulk=True)
        assert caught.value.until is not None
        await client.get("books", "/items")
        await client.get("inventory", "/items", bulk=True)
        assert len(upstream.calls()) == 3


async def test_calls_under_way_count_against_the_days_budget() -> None:
    """Twenty at once with ten left make ten: what the source last told knows nothing of those that are on their way."""
    async with connected(concurrency=5) as (upstream, client):
        left = 11

        def reply(_: Any) -> Reply:
            nonlocal left
            left -= 1
            quota = {"X_Rate_Limit_Limit": "1000", "X_Rate_Limit_Remaining": str(left), "X_Rate_Limit_Reset": "3600"}
            return msgspec.structs.replace(answer({"code": 0}, **quota), pause=0.02)

        upstream.reply = reply
        await client.get("books", "/items")
        refused = 0

        async def call() -> None:
            nonlocal refused
            try:
                await client.get("books", "/items")
            except RateLimited:
                refused += 1

        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(call)
        assert (refused, left) == (10, 0)


async def test_the_day_is_over_at_code_45() -> None:
    """Code 45 closes that API until midnight in the organisation's zone; the other API has its own counter."""
    async with connected() as (upstream, client):
        over = answer({"code": 45, "message": "exceeded"}, 429, X_Rate_Limit_Limit="1000", X_Rate_Limit_Remaining="0",
                      X_Rate_Limit_Reset="7200")  # fmt: skip
        scripted(upstream, over, OK)
        for _ in range(3):
            with pytest.raises(RateLimited):
                await client.get("books", "/items")
        assert len(upstream.calls()) == 1
        assert client.statistics().budgets["books"].remaining == 0
        await client.get("inventory", "/items")


async def test_a_day_that_ends_without_headers_ends_when_it_was_said_to() -> None:
    """Code 45 alone does not change the midnight that an earlier answer told; before any answer it is an hour."""
    async with connected() as (upstream, client):
        told = {"X_Rate_Limit_Limit": "1000", "X_Rate_Limit_Remaining": "9", "X_Rate_Limit_Reset": "7200"}
        over = answer({"code": 45, "message": "exceeded"}, 429)
        scripted(upstream, answer({"code": 0}, **told), over)
        await client.get("books", "/items")
        for api, seconds in (("books", 7200), ("inventory", 3600)):
            with pytest.raises(RateLimited) as caught:
                await client.get(api, "/items")  # type: ignore[arg-type]  # a literal in a loop
            assert caught.value.until is not None
            assert (caught.value.until - client.now()).total_seconds() == pytest.approx(seconds, abs=5)


@pytest.mark.parametrize(
    ("code", "status", "retry_after", "seconds"),
    [
        (43, 429, "3600", 3600),
        ("43", 200, "999999999999", 3600),
        (44, 429, "", 60),
        (43, 429, "Wed, 21 Oct 2099 07:28:00 GMT", 3600),
        (43, 429, "soon", 3600),
    ],
)
async def test_an_ordered_pause_stops_both_apis(code: int | str, status: int, retry_after: str, seconds: float) -> None:
    """A pause longer than the caller's patience is told with its time, and nothing is called meanwhile."""
    async with connected() as (upstream, client):
        headers = {"Retry_After": retry_after} if retry_after else {}
        scripted(upstream, answer({"code": code, "message": "blocked"}, status, **headers), OK)
        client.limiter.acquire = _impatient(client)  # type: ignore[method-assign]  # nobody waits a minute in a test
        for api in ("books", "inventory"):
            with pytest.raises(RateLimited) as caught:
                await client.get(api, "/items")  # type: ignore[arg-type]  # a literal in a loop
            assert caught.value.until is not None
        assert len(upstream.calls()) == 1
        assert client.limiter.statistics().paused == pytest.approx(seconds, abs=2)


def _impatient(client: Client) -> Any:
    patient = client.limiter.acquire

    async def acquire(wanted: int = 1, *, patience: float = 0) -> int:
        return await patient(wanted, patience=min(patience, 5))

    return acquire


async def test_a_short_pause_is_waited_out() -> None:
    """Retry-After: 0 is held up to one second, waited, and the call succeeds."""
    async with connected() as (upstream, client):
        scripted(upstream, answer({"code": 44, "message": "minute"}, 429, Retry_After="0"), OK)
        began = anyio.current_time()
        await client.get("books", "/items")
        assert 0.9 < anyio.current_time() - began < 3


# --- listings


async def ids(client: Client, source: Source | None = None, start: int = 1) -> list[str]:
    async with client.pages(source or Source(), read, start=start) as listing:
        return [row.id async for leaf in listing for row in leaf.page.rows]


async def test_pages_come_in_order() -> None:
    """Every page once, in order, from the page asked for."""
    async with connected() as (upstream, client):
        content = {"1": (["1", "2"], True), "2": (["3", "4"], True), "3": (["5"], False)}
        upstream.reply = lambda asked: _numbered(asked, content)
        assert await ids(client) == ["1", "2", "3", "4", "5"]
        assert await ids(client, start=3) == ["5"]
        assert {asked.query["per_page"] for asked in upstream.calls()} == {"2"}


def _numbered(asked: Asked, content: dict[str, tuple[list[str], bool]]) -> Reply:
    found, more = content[asked.query["page"]]
    return answer(page(int(asked.query["page"]), found, more=more))


async def test_the_next_page_is_fetched_meanwhile() -> None:
    """While the first page is handled the second is asked for, and not the third: memory is two pages."""
    async with connected() as (upstream, client):
        upstream.reply = lambda asked: answer(page(n := int(asked.query["page"]), [f"{n}a", f"{n}b"], more=n < 9))
        async with client.pages(Source(), read) as listing:
            await listing.__anext__()
            with anyio.fail_after(2):
                while len(upstream.calls()) < 2:
                    await anyio.wait_all_tasks_blocked()
            for _ in range(20):
                await anyio.wait_all_tasks_blocked()
            assert len(upstream.calls()) == 2


async def test_an_unpaged_list_is_one_call() -> None:
    """Without page_context there is one page, and no paging parameters are sent."""
    async with connected() as (upstream, client):
        scripted(upstream, answer({"code": 0, "items": [{"item_id": "1"}]}))
        assert await ids(client, Source(paged=False)) == ["1"]
        assert set(upstream.calls()[0].query) == {"organization_id"}


async def test_a_list_without_page_context_is_one_page() -> None:
    """A source that is paged elsewhere and answers without page_context has said everything."""
    async with connected() as (upstream, client):
        scripted(upstream, answer({"code": 0, "items": [{"item_id": "1"}, {"item_id": "2"}]}))
        assert await ids(client) == ["1", "2"]
        assert len(upstream.calls()) == 1


@pytest.mark.parametrize(
    "second",
    [
        page(2, ["1", "2"], more=True),
        page(2, ["3"], more=True),
        page(2, [], more=True),
        page(1, ["3", "4"], more=True),
        {"code": 0, "message": "success", "items": "nonsense"},
    ],
    ids=["repeats", "shrinks", "empty", "number", "undecodable"],
)
async def test_a_wrong_page_is_asked_for_again_and_then_an_error(second: Any) -> None:
    """A page that is not the next one is tried again; when it stays wrong the listing raises and skips nothing."""
    async with connected(tries=3) as (upstream, client):
        right = {"1": (["1", "2"], True), "2": (["3"], False)}
        wrong = [answer(second)] * 2
        upstream.reply = lambda asked: wrong.pop() if asked.query["page"] == "2" and wrong else _numbered(asked, right)
        assert await ids(client) == ["1", "2", "3"]
        wrong = [answer(second)] * 9
        seen: list[str] = []
        with pytest.raises(SourceAnswerInvalid):
            await _collect(client, seen)
        assert seen == ["1", "2"]


async def _collect(client: Client, seen: list[str]) -> None:
    async with client.pages(Source(), read) as listing:
        async for leaf in listing:
            seen += [row.id for row in leaf.page.rows]
            if leaf.number == 7:
                raise KeyError("mine")


async def test_a_readers_error_comes_out_as_it_is() -> None:
    """What the reader raises inside the block is not wrapped, and the fetching ends."""
    async with connected() as (upstream, client):
        upstream.reply = lambda asked: answer(page(n := int(asked.query["page"]), [f"{n}a", f"{n}b"], more=True))
        with pytest.raises(KeyError, match="mine"):
            await _collect(client, [])


async def test_count() -> None:
    """The count is the source's own total, one call; a source that tells none has none."""
    async with connected() as (upstream, client):
        scripted(upstream, answer({"code": 0, "page_context": {"total": 1312}}))
        assert await client.count(Source(params={"filter_by": "Status.All"})) == 1312
        assert upstream.calls()[0].query["response_option"] == "2"
        assert upstream.calls()[0].query["filter_by"] == "Status.All"
        assert await client.count(Source(countable=False)) is None


# --- details


async def test_bulk_details_in_hundreds() -> None:
    """250 ids are three calls, and everything comes back."""
    async with connected() as (upstream, client):
        upstream.reply = lambda asked: answer(page(0, asked.query["item_ids"].split(","), more=False))
        bulk = await client.details(Source(), [str(n) for n in range(250)], read_bulk)
        assert [row.id for row in bulk.rows] == [str(n) for n in range(250)]
        assert [len(asked.query["item_ids"].split(",")) for asked in upstream.calls()] == [100, 100, 50]


async def test_bulk_details_find_the_dead_by_halving() -> None:
    """Dead ids fail a whole call; they are found by halves, told as missing, and the living all come."""
    async with connected() as (upstream, client):
        dead = {"7", "8", "93"}

        def reply(asked: Asked) -> Reply:
            wanted = asked.query["item_ids"].split(",")
            if dead & set(wanted):
                return answer({"code": 1002, "message": "Resource does not exist"}, 404)
            return answer(page(0, [one for one in wanted if one != "50"], more=False))

        upstream.reply = reply
        bulk = await client.details(Source(), [str(n) for n in range(100)], read_bulk)
        assert sorted(bulk.missing) == sorted(dead | {"50"})
        assert len(bulk.rows) == 96
        assert len(upstream.calls()) < 50


async def test_detail_quotes_the_id() -> None:
    """An id cannot leave its place in the path."""
    async with connected() as (upstream, client):
        scripted(upstream, OK)
        await client.detail(Source(), "../contacts/1?x=")
        assert upstream.calls()[0].path == "/books/v3/items/..%2Fcontacts%2F1%3Fx%3D"


async def test_writes_are_tried_once() -> None:
    """A call that changes something is not repeated: it might happen twice."""
    async with connected() as (upstream, client):
        scripted(upstream, Reply(parts=[CLOSE]), OK)
        with pytest.raises(SourceDown):
            await client.write("POST", "books", "/settings/webhooks", {"webhook_name": "tds"})
        assert len(upstream.calls()) == 1
        assert msgspec.json.decode(upstream.calls()[0].body) == {"webhook_name": "tds"}


async def test_an_image_is_bytes_with_a_type() -> None:
    """The type is the bare media type; any 404 means that there is no image."""
    async with connected() as (upstream, client):
        scripted(upstream, Reply(headers={"Content-Type": "image/PNG; x=1"}, body=b"\x89PNG"), Reply(status=404))
        assert await client.image("1") == Image("image/png", b"\x89PNG")
        with pytest.raises(RecordMissing):
            await client.image("1")


async def test_closed_client_is_an_outage() -> None:
    """Without an open pool a call is an outage, not a crash."""
    async with connected(tries=1) as (_, client):
        pass
    with pytest.raises(SourceDown, match="not open"):
        await client.get("books", "/items")


async def test_a_broken_pool_is_replaced() -> None:
    """After a rebuild calls go through new connections; what was under way on the old ones is an outage."""
    async with connected(tries=1) as (upstream, client):
        scripted(upstream, Reply(parts=[HANG]))
        failed: list[SourceDown] = []

        async def hanging() -> None:
            try:
                await client.get("books", "/items")
            except SourceDown as error:
                failed.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(hanging)
            while not upstream.calls():
                await anyio.wait_all_tasks_blocked()
            await client.transport.rebuild()
            scripted(upstream, OK)
            await client.get("books", "/items")
        assert len(failed) == 1
