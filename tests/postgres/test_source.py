from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from fixtures.moments import a_moment

from actors import source as room
from actors.source import source
from actors.zoho.client import Client, Options
from tds_runtime import Supervisor, breaker, run, upstreams
from tds_runtime.config import Duration
from tds_runtime.database import Database
from tds_runtime.limiter import Budget
from tds_runtime.upstreams import Shared, Upstream

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def node(database: Database) -> AsyncIterator[Client]:
    shared = Shared(database)
    client = Client(Options(breaker=breaker.Options(failures=1, cool_down=Duration("1h"))), ledger=shared)
    async with run(Supervisor("main", children=[source(client=client, shared=shared)])):
        yield client


async def until(reached: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not reached():
            await a_moment()


async def saved(database: Database, reached: Callable[[Upstream], bool]) -> None:
    with anyio.fail_after(10):
        while not ((books := (await Shared(database).read()).get("books")) and reached(books)):
            await a_moment()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LOOK", 0.05)
    monkeypatch.setattr(room, "REST", 0.05)


async def test_a_breaker_survives_a_restart(database: Database) -> None:
    """What was open when a process ended is open when the next one starts."""
    async with node(database) as client:
        with client.breakers["books"].admit() as permit:
            permit.fail("503")
        await saved(database, lambda books: books.breaker.phase == "open")
    async with node(database) as client:
        await until(lambda: client.breakers["books"].state.phase == "open")
        assert client.breakers["books"].state.reason == "503"
        assert client.closed_until("books") is not None
        assert client.closed_until("inventory") is None


async def test_a_reset_by_hand_reaches_every_node(database: Database) -> None:
    """A person's reset closes the breaker in every process within seconds."""
    async with node(database) as first, node(database) as second:
        for client in (first, second):
            with client.breakers["inventory"].admit() as permit:
                permit.fail("timeout")
        await saved(database, lambda _books: True)  # a node makes its rows after it is ready
        async with database.transaction() as connection:
            assert await upstreams.reset_breaker(connection, "inventory")
        await until(lambda: {one.breakers["inventory"].state.phase for one in (first, second)} == {"closed"})


async def test_a_pause_reaches_every_node(database: Database) -> None:
    """What the source ordered to one node stops the others before they ask."""
    async with node(database) as first, node(database) as second:
        await first.limiter.pause(600, "code 43")
        await until(lambda: second.limiter.paused > 590)


async def test_a_budget_reaches_every_node(database: Database) -> None:
    """What the source told one node of the day's rest another knows before its own next call."""
    async with node(database) as first, node(database) as second:
        first.caller.budgets["books"] = Budget(limit=2000, remaining=7, resets_at=4e9, observed_at=2e9)
        await until(lambda: second.caller.budgets["books"].remaining == 7)


async def test_budgets_are_kept(database: Database) -> None:
    """The day's budget as last told is known after a restart, before the first call."""
    async with node(database) as client:
        client.caller.budgets["books"] = Budget(limit=2000, remaining=5, resets_at=4e9, observed_at=2e9)
        await saved(database, lambda books: books.budget.remaining == 5)
    async with node(database) as client:
        await until(lambda: client.caller.budgets["books"].remaining == 5)
