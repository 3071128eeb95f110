"""What all nodes share about something outside: its minute, ordered pauses, the day's budget, its breaker, a memo."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
from msgspec import Struct

from tds_runtime import breaker, sql
from tds_runtime.database import Connection, Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.limiter import PERIOD, VALIDITY, Budget, Grant, lasts_until

MEMO_POLL = 0.2


class Upstream(Struct, frozen=True, kw_only=True):
    """One upstream as the table has it; times are seconds since the epoch, `paused` is seconds left of a pause.

    `nodes` is how many processes share it.
    """

    name: str
    breaker: breaker.State
    reset_requested_at: float
    paused: float
    pause_reason: str
    budget: Budget
    nodes: int


class Outlook(Struct, frozen=True, kw_only=True):
    """A day's calls for people: how many are left, when there are new ones, and whether they last till then.

    Everything is None where nobody has told it today; `lasts_until` also where the calls last.
    """

    calls_left: int | None = None
    calls_a_day: int | None = None
    resets_at: datetime | None = None
    lasts_until: datetime | None = None


def outlook(budget: Budget, now: datetime) -> Outlook:
    """What a budget means at this moment."""
    seconds = now.timestamp()
    if not budget.limit or seconds >= budget.resets_at:
        return Outlook()
    end = lasts_until(budget, seconds)
    return Outlook(
        calls_left=budget.remaining,
        calls_a_day=budget.limit,
        resets_at=datetime.fromtimestamp(budget.resets_at, UTC),
        lasts_until=datetime.fromtimestamp(end, UTC) if end is not None else None,
    )


class Memo:
    """Some bytes held under the row's lock; `value` is what the holder before left."""

    def __init__(self, connection: Connection, name: str, value: bytes | None) -> None:
        self.value = value
        self._connection = connection
        self._name = name

    async def save(self, value: bytes) -> None:
        """Leave this to the next holder."""
        await self._connection.execute(sql.load("upstreams/save_memo"), self._name, value)
        self.value = value


class Shared:
    """The table `tds_upstreams`; a `limiter.Ledger` for all nodes. Everything raises `DatabaseGone` in an outage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure(self, names: Iterable[str]) -> None:
        """Make the rows of these upstreams."""
        await self._database.execute(sql.load("upstreams/ensure"), list(names))

    async def reserve(self, name: str, wanted: int, limit: int) -> Grant:
        """Up to `wanted` permits under `limit` a minute, over all nodes."""
        arguments = (name, wanted, limit, PERIOD + VALIDITY)
        row = await self._database.fetchrow(sql.load("upstreams/reserve"), *arguments)
        if row is None:
            await self.ensure([name])
            row = await self._database.fetchrow(sql.load("upstreams/reserve"), *arguments)
        assert row is not None
        return Grant(permits=row["permits"], wait=row["wait"], paused=row["paused"], reason=row["pause_reason"])

    async def pause(self, name: str, seconds: float, reason: str) -> None:
        """Nobody calls for that long, on any node; never shortens a pause."""
        await self._database.execute(sql.load("upstreams/pause"), name, seconds, reason)

    async def save_breaker(self, name: str, state: breaker.State) -> None:
        """Keep a breaker for who starts next."""
        await self._database.execute(
            sql.load("upstreams/save_breaker"), name, state.phase, state.failures, state.opened_at, state.reason
        )

    async def save_budget(self, name: str, budget: Budget) -> None:
        """Keep what an answer told of the day's budget."""
        await self._database.execute(
            sql.load("upstreams/save_budget"),
            name,
            budget.limit,
            budget.remaining,
            budget.resets_at,
            budget.observed_at,
            budget.first_remaining,
            budget.first_at,
        )

    async def read(self) -> dict[str, Upstream]:
        """All upstreams by name."""
        return {row["name"]: _upstream(row) for row in await self._database.fetch(sql.load("upstreams/read"))}

    @asynccontextmanager
    async def memo(self, name: str, *, patience: float = 60.0) -> AsyncIterator[Memo]:
        """The memo of this name, by one holder in the fleet at a time.

        The holder may take its time: who waits holds no connection. `DatabaseGone` after `patience` seconds of waiting.
        """
        await self._database.execute(sql.load("upstreams/ensure_memo"), name)
        with anyio.move_on_after(patience) as scope:
            while True:
                async with self._database.transaction() as connection:
                    row = await connection.fetchrow(sql.load("upstreams/lock_memo"), name)
                    if row is not None:
                        scope.deadline = math.inf
                        yield Memo(connection, name, row["value"])
                        return
                await anyio.sleep(MEMO_POLL)
        raise DatabaseGone(f"another node holds the memo {name!r}")


async def reset_breaker(connection: Connection, name: str) -> bool:
    """Close a breaker by hand, on every node within seconds; false when there is none of that name."""
    return await connection.fetchval(sql.load("upstreams/reset"), name) is not None


def _upstream(row: Mapping[str, Any]) -> Upstream:
    state = breaker.State(
        phase=row["breaker_state"],
        failures=row["breaker_failures"],
        opened_at=row["breaker_opened_at"],
        reason=row["breaker_reason"],
    )
    budget = Budget(
        limit=row["budget_limit"],
        remaining=row["budget_remaining"],
        resets_at=row["budget_resets_at"],
        observed_at=row["budget_observed_at"],
        first_remaining=row["budget_first_remaining"],
        first_at=row["budget_first_at"],
    )
    return Upstream(
        name=row["name"],
        breaker=state,
        reset_requested_at=row["reset_requested_at"],
        paused=row["paused"],
        pause_reason=row["pause_reason"],
        budget=budget,
        nodes=row["nodes"],
    )
