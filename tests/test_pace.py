"""The client and the sandbox in one process and in virtual time: how fast work goes that fills many minutes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx2
import pytest
from fixtures.shipped import SHIPPED
from msgspec.structs import replace
from trio.testing import MockClock

from actors.sandbox.app import App
from actors.sandbox.clock import Clock
from actors.sandbox.control import Control
from actors.sandbox.options import CLIENT_ID, CLIENT_SECRET, ORGANIZATION_ID, REFRESH_TOKEN
from actors.sandbox.options import Options as SandboxOptions
from actors.sandbox.stage import Stage
from actors.zoho.client import Client, Options
from tds_runtime.config import Secret
from tds_runtime.errors import RateLimited
from tds_runtime.limiter import Memory

pytestmark = pytest.mark.anyio

URL = "http://127.0.0.1:8010"
MORNING = 1_772_430_000.0  # in the organisation's zone two hours after a midnight, in the middle of a minute
SOURCE = SHIPPED["invoice"].sources[0]


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def wall() -> float:
    return MORNING + anyio.current_time()


@asynccontextmanager
async def connected(stage: Stage, ledger: Memory, **more: Any) -> AsyncIterator[Client]:
    """A client whose connections end in the sandbox's application."""
    options = Options(
        organization_id=ORGANIZATION_ID,
        client_id=CLIENT_ID,
        client_secret=Secret(CLIENT_SECRET),
        refresh_token=Secret(REFRESH_TOKEN),
        accounts_url=URL,
        api_url=URL,
        **more,
    )
    client = Client(options, ledger=ledger, clock=wall, randomness=random.Random(1))
    client.limiter._clock = anyio.current_time
    async with client.opened():
        await client.transport.rebuild()
        inside = httpx2.ASGITransport(app=App(stage, Control(stage).app))
        client.transport._http = inside  # type: ignore[assignment] # it answers requests all the same
        yield client


def stage(**rules: Any) -> Stage:
    found = Stage(SandboxOptions(limits=True), api_url=lambda: URL, clock=Clock(source=wall))
    found.limits.rules = replace(found.limits.rules, **rules)
    return found


async def fetch(client: Client, ids: list[str]) -> None:
    """All of them, by as many callers as there may be calls at once."""
    left = iter(ids)

    async def caller() -> None:
        for one in left:
            await client.detail(SOURCE, one, bulk=True)

    async with anyio.create_task_group() as group:
        for _ in range(client.options.concurrency):
            group.start_soon(caller)


async def listed(client: Client) -> list[str]:
    entity = SHIPPED["invoice"]
    async with client.pages(SOURCE, lambda body: entity.read_page(SOURCE, body), bulk=True) as listing:
        return [row.id async for leaf in listing for row in leaf.page.rows]


@pytest.mark.parametrize("window", ["fixed", "sliding"])
async def test_a_full_sync_takes_what_the_minute_allows(window: str) -> None:
    """1,206 calls at a hundred a minute take twelve minutes, 5 % more at most, and none of them is refused."""
    source = stage(window=window)
    async with connected(source, Memory(anyio.current_time)) as client:
        began = anyio.current_time()
        ids = await listed(client)
        await fetch(client, ids)
        taken = anyio.current_time() - began
        calls = len(ids) + 6
        assert (len(ids), client.statistics().calls["books"].calls) == (1200, calls)
        assert source.limits.refused == 0
        assert taken <= 1.05 * 60 * calls / 100
        assert taken > 60 * (calls / 100 - 1)  # the first hundred are free at once


async def test_two_nodes_share_the_minute() -> None:
    """Two nodes on one ledger take as long together as one alone, and are never refused."""
    source, ledger = stage(), Memory(anyio.current_time)
    async with connected(source, ledger) as one, connected(source, ledger) as other:
        ids = (await listed(one))[:600]
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            group.start_soon(fetch, one, ids[:300])
            group.start_soon(fetch, other, ids[300:])
        assert source.limits.refused == 0
        assert 60 * 5 < anyio.current_time() - began <= 1.05 * 60 * 6.06


async def test_errors_count_against_the_quota() -> None:
    """A call that is answered with an error has used one of the day's calls, and the budget knows."""
    source = stage(per_day_books=50)
    async with connected(source, Memory(anyio.current_time)) as client:
        await client.count(SOURCE)
        before = client.caller.budgets["books"].remaining
        with pytest.raises(Exception, match="1002"):
            await client.detail(SOURCE, "1")
        assert client.caller.budgets["books"].remaining == before - 1


async def test_a_day_that_is_used_up_begins_again_at_midnight() -> None:
    """After the day's last call nothing is asked until midnight in the organisation's zone, and then it goes on."""
    source = stage(per_day_books=20)
    async with connected(source, Memory(anyio.current_time), reserve=0.0) as client:
        for _ in range(20):
            assert await client.count(SOURCE) == 1200
        with pytest.raises(RateLimited) as caught:
            await client.count(SOURCE)
        made = source.limits.statistics()["used_books"]
        until = caught.value.until
        assert until is not None
        assert until.astimezone(source.clock.zone).strftime("%H:%M") == "00:00"
        with pytest.raises(RateLimited):
            await client.count(SOURCE)
        assert source.limits.statistics()["used_books"] == made == 20
        await anyio.sleep(until.timestamp() - wall() + 1)
        assert await client.count(SOURCE) == 1200


async def test_ordered_hours_are_waited_out_and_not_more() -> None:
    """An hour's block (43) stops both APIs for an hour after one refusal, and the call after it succeeds."""
    source = stage()
    async with connected(source, Memory(anyio.current_time)) as client:
        await client.count(SOURCE)
        source.limits.block(3600)
        with pytest.raises(RateLimited) as caught:
            await client.count(SOURCE)
        assert caught.value.until is not None
        assert caught.value.until.timestamp() == pytest.approx(wall() + 3600, abs=2)
        with pytest.raises(RateLimited):
            await client.count(SHIPPED["product"].sources[0])
        assert source.limits.refused == 1
        await anyio.sleep(3601)
        assert await client.count(SOURCE) == 1200
