"""What an upstream allows us: calls a minute, calls at once, calls a day, and the pauses it orders.

`Window` and `Budget` are pure. A `Ledger` keeps one window for whoever shares the allowance (this process, or all nodes
through Postgres); `Limiter` is the thin layer that waits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Annotated, Protocol

import anyio
from msgspec import Meta, Struct, structs

from tds_runtime.errors import RateLimited

PERIOD = 60.0
"""Length of the source's rate window, seconds."""

VALIDITY = 1.0
"""Seconds within which a permit must be used; the ledger keeps it that much longer than the source's window."""

DAY = 86_400.0


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The allowance: 0 calls a minute means "no limit"; `reserve` is the share of a day that bulk work leaves."""

    calls_per_minute: Annotated[int, Meta(ge=0)] = 100
    concurrency: Annotated[int, Meta(ge=1)] = 5
    reserve: Annotated[float, Meta(ge=0, le=1)] = 0.1


# --- the minute


class Window(Struct, frozen=True):
    """When the calls of the last minute were granted, oldest first, seconds on one clock."""

    marks: tuple[float, ...] = ()


class Grant(Struct, frozen=True, kw_only=True):
    """What a ledger gave: permits, or seconds to wait for the next; `paused` is what is left of an ordered pause."""

    permits: int = 0
    wait: float = 0.0
    paused: float = 0.0
    reason: str = ""


def take(window: Window, now: float, wanted: int, limit: int) -> tuple[Window, Grant]:
    """Take up to `wanted` permits so that no minute holds more than `limit`; marks of a later clock are dropped."""
    length = PERIOD + VALIDITY
    marks = tuple(mark for mark in window.marks if now - length < mark <= now)
    permits = min(wanted, limit - len(marks))
    if permits <= 0:
        return Window(marks), Grant(wait=marks[len(marks) - limit] + length - now)
    return Window(marks + (now,) * permits), Grant(permits=permits)


# --- the day


class Budget(Struct, frozen=True, kw_only=True):
    """A day's quota as the source last told it; times are seconds since the epoch. `limit` 0: not told yet."""

    limit: int = 0
    remaining: int = 0
    resets_at: float = 0.0
    observed_at: float = 0.0
    first_remaining: int = 0
    first_at: float = 0.0


def observe(budget: Budget, limit: int, remaining: int, resets_in: float, now: float) -> Budget:
    """Take in one answer's headers; answers overtake each other, so within one day the smaller rest counts."""
    resets_at = now + min(max(resets_in, 0.0), DAY + 3600)
    same_day = budget.limit == limit and abs(budget.resets_at - resets_at) < 300 and now < budget.resets_at  # noqa: PLR2004 - seconds of jitter in a told time
    if not same_day:
        return Budget(
            limit=limit,
            remaining=remaining,
            resets_at=resets_at,
            observed_at=now,
            first_remaining=remaining,
            first_at=now,
        )
    return structs.replace(budget, remaining=min(budget.remaining, remaining), resets_at=resets_at, observed_at=now)


def exhausted(budget: Budget, now: float) -> Budget:
    """The source says that the day's calls are used up."""
    resets_at = budget.resets_at if budget.resets_at > now else now + 3600  # unknown midnight: look again in an hour
    return structs.replace(budget, remaining=0, limit=budget.limit or 1, resets_at=resets_at, observed_at=now)


def refusal(budget: Budget, now: float, reserve: float, underway: int = 0) -> float | None:
    """None when a call may be made, else the time of the next budget.

    Args:
        budget: as the source last told it.
        now: seconds since the epoch.
        reserve: the share to leave untouched.
        underway: calls that have begun, of which the source has told nothing yet.
    """
    if not budget.limit or now >= budget.resets_at:
        return None
    return budget.resets_at if budget.remaining - underway <= budget.limit * reserve else None


def spendable(budget: Budget, now: float, reserve: float) -> int | None:
    """Calls that may be made before the reserve is touched; None where nobody told, or the source does not count.

    A source that still has all of the day's calls after one was made counts none (a sandbox without limits).
    """
    if not budget.limit or now >= budget.resets_at or budget.remaining >= budget.limit:
        return None
    return max(0, budget.remaining - math.floor(budget.limit * reserve))


def lasts_until(budget: Budget, now: float) -> float | None:
    """When the rest is used up at the day's rate so far, or None when it lasts until the reset."""
    used, seconds = budget.first_remaining - budget.remaining, now - budget.first_at
    if not budget.limit or used <= 0 or seconds <= 0:
        return None
    end = now + budget.remaining * seconds / used
    return end if end < budget.resets_at else None


# --- who shares it


class Ledger(Protocol):
    """Keeps the minute and the pauses of an allowance, by name."""

    async def reserve(self, name: str, wanted: int, limit: int) -> Grant:
        """Up to `wanted` permits under `limit` a minute."""

    async def pause(self, name: str, seconds: float, reason: str) -> None:
        """Nobody calls for that long; never shortens a pause."""


class Memory:
    """A ledger for one process: tests, the command line, a machine alone."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._windows: dict[str, Window] = {}
        self._pauses: dict[str, tuple[float, str]] = {}

    async def reserve(self, name: str, wanted: int, limit: int) -> Grant:
        """Up to `wanted` permits under `limit` a minute."""
        now = self._clock()
        until, reason = self._pauses.get(name, (0.0, ""))
        if until > now:
            return Grant(paused=until - now, reason=reason)
        self._windows[name], grant = take(self._windows.get(name, Window()), now, wanted, limit)
        return grant

    async def pause(self, name: str, seconds: float, reason: str) -> None:
        """Nobody calls for that long; never shortens a pause."""
        until = self._clock() + seconds
        if until > self._pauses.get(name, (0.0, ""))[0]:
            self._pauses[name] = (until, reason)


# --- waiting


class Statistics(Struct, frozen=True, kw_only=True):
    """A limiter, for a screen: `paused` and `waited` in seconds."""

    name: str
    calls_per_minute: int
    concurrency: int
    in_flight: int
    waiting: int
    granted: int
    waited: float
    paused: float
    reason: str


class Limiter:
    """Waits for permits of one allowance; `slot` bounds the calls in flight."""

    def __init__(
        self,
        name: str,
        options: Options | None = None,
        ledger: Ledger | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.options = options or Options()
        self._slots = anyio.CapacityLimiter(self.options.concurrency)
        self._ledger = ledger or Memory(clock)
        self._clock = clock
        self._wall = wall
        self._turn = anyio.Lock()
        self._spare = 0
        self._spare_until = -math.inf
        self._paused_until = -math.inf
        self._reason = ""
        self._waiting = 0
        self._granted = 0
        self._waited = 0.0

    async def acquire(self, wanted: int = 1, *, patience: float = math.inf) -> int:
        """At least one permit and up to `wanted`, to be used within a second.

        Waits up to `patience` seconds in all; where that is not enough it raises `RateLimited` at once, with the time.
        """
        began = self._clock()
        self._waiting += 1
        try:
            while True:
                permits, wait = await self._try(wanted)
                if permits:
                    self._granted += permits
                    return permits
                if self._clock() - began + wait > patience:
                    raise self._refusal(wait)
                await anyio.sleep(wait)
        finally:
            self._waiting -= 1
            self._waited += self._clock() - began

    async def _try(self, wanted: int) -> tuple[int, float]:
        """Permits now, or seconds after which to ask again."""
        paused = self.paused
        if paused > 0:
            return 0, paused
        if not self.options.calls_per_minute:
            return wanted, 0.0
        async with self._turn:  # one asks for all who wait: a round trip a block, not a call
            return await self._reserve(wanted)

    async def _reserve(self, wanted: int) -> tuple[int, float]:
        if self._clock() > self._spare_until:
            self._spare = 0
        if not self._spare:
            asked = max(wanted, min(self._waiting, self.options.concurrency))
            grant = await self._ledger.reserve(self.name, asked, self.options.calls_per_minute)
            if not grant.permits:
                self.note_pause(grant.paused, grant.reason)
                return 0, max(grant.paused or grant.wait, 0.001)
            self._spare, self._spare_until = grant.permits, self._clock() + VALIDITY
        permits = min(wanted, self._spare)
        self._spare -= permits
        return permits, 0.0

    def slot(self) -> AbstractAsyncContextManager[object]:
        """One of the calls that may be in flight at once, for the length of a block."""
        return self._slots

    def share(self, nodes: int) -> None:
        """Leave the other nodes their part of the calls at once; each keeps one at least."""
        part = max(1, self.options.concurrency // max(1, nodes))
        if part != self._slots.total_tokens:
            self._slots.total_tokens = part

    def give_back(self, permits: int) -> None:
        """Return permits that were not used; they serve whoever asks within the second."""
        self._spare += permits

    async def pause(self, seconds: float, reason: str) -> None:
        """The source ordered a pause: everybody waits, on every node that shares the ledger."""
        self.note_pause(seconds, reason)
        await self._ledger.pause(self.name, seconds, reason)

    def note_pause(self, seconds: float, reason: str) -> None:
        """Keep a pause that was ordered elsewhere; never shortens one."""
        until = self._clock() + seconds
        if seconds > 0 and until > self._paused_until:
            self._paused_until, self._reason = until, reason

    @property
    def paused(self) -> float:
        """Seconds left of the ordered pause."""
        return max(0.0, self._paused_until - self._clock())

    def _refusal(self, wait: float) -> RateLimited:
        reason = self._reason if self.paused else f"{self.options.calls_per_minute} calls a minute"
        until = datetime.fromtimestamp(self._wall() + wait, UTC)
        return RateLimited(f"{self.name} allows no call for {wait:.0f} s: {reason}", until=until)

    def statistics(self) -> Statistics:
        """What a screen shows of it."""
        return Statistics(
            name=self.name,
            calls_per_minute=self.options.calls_per_minute,
            concurrency=self.options.concurrency,
            in_flight=self._slots.borrowed_tokens,
            waiting=self._waiting,
            granted=self._granted,
            waited=self._waited,
            paused=self.paused,
            reason=self._reason if self.paused else "",
        )
