"""The limits of the API: a hundred calls a minute, a daily quota per product, ten at once, and the hour-long block."""

from __future__ import annotations

from collections import deque
from typing import Literal

import msgspec
from msgspec import Struct

from actors.sandbox.answers import BLOCKED, BUSY, DAY, MINUTE, Answer, failure
from actors.sandbox.clock import Clock

BLOCK_SECONDS = 3600


class Rules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The figures; `window` says whether the minute is the clock's or the last sixty seconds."""

    enabled: bool = True
    per_minute: int = 100
    per_day_books: int = 10_000
    per_day_inventory: int = 7_500
    concurrency: int = 10
    hard_block_at: int = 1100
    window: Literal["fixed", "sliding"] = "fixed"


class Limits:
    """Counts every call, refused ones too, and says when one is too many."""

    def __init__(self, clock: Clock, rules: Rules) -> None:
        self._clock = clock
        self.rules = rules
        self.in_flight = 0
        self._minute: deque[float] = deque()
        self._minute_start = 0.0
        self._minute_calls = 0
        self._all_calls = 0
        self._day = (0.0, 0.0)
        self._used = {"books": 0, "inventory": 0}
        self._blocked_until = 0.0
        self.refused = 0

    def reset(self) -> None:
        """Forget what was used."""
        self.__init__(self._clock, self.rules)  # type: ignore[misc] # the same object, as new

    def block(self, seconds: float) -> None:
        """The hard block, at once."""
        self._blocked_until = self._clock.now() + seconds

    def _roll(self) -> float:
        now = self._clock.now()
        if not self._minute_start <= now < self._minute_start + 60:
            self._minute_start, self._minute_calls, self._all_calls = now - now % 60, 0, 0
        if not self._day[0] <= now < self._day[1]:
            left = self._clock.until_midnight()
            self._day, self._used = (now + left - 86_400, now + left), {"books": 0, "inventory": 0}
        return now

    def _in_minute(self, now: float) -> int:
        if self.rules.window == "fixed":
            self._minute_calls += 1
            return self._minute_calls
        self._minute.append(now)
        while self._minute[0] <= now - 60:
            self._minute.popleft()
        return len(self._minute)

    def refuse(self, api: str, *, scoped: bool) -> Answer | None:
        """Count a call; the 429 it gets, if any. Unscoped calls (`/organizations`) only count for the hard block."""
        now = self._roll()
        self._all_calls += 1
        if scoped:
            self._used[api] += 1
        recent = self._in_minute(now) if scoped else 0
        if not self.rules.enabled and now >= self._blocked_until:
            return None
        answer = self._verdict(api, now, recent, scoped=scoped)
        self.refused += answer is not None
        return answer

    def _verdict(self, api: str, now: float, recent: int, *, scoped: bool) -> Answer | None:
        if self._all_calls > self.rules.hard_block_at and now >= self._blocked_until and self.rules.enabled:
            self.block(BLOCK_SECONDS)
        if now < self._blocked_until:
            return failure(429, 43, BLOCKED, ((b"retry-after", b"%d" % BLOCK_SECONDS),))
        if not scoped:
            return None
        if self._used[api] > self.daily(api):
            return failure(429, 45, DAY.format(limit=self.daily(api)))
        if recent > self.rules.per_minute:
            return failure(429, 44, MINUTE)
        if self.in_flight > self.rules.concurrency:
            return failure(429, 1070, BUSY)
        return None

    def daily(self, api: str) -> int:
        """The daily quota of a product."""
        return self.rules.per_day_books if api == "books" else self.rules.per_day_inventory

    def headers(self, api: str) -> tuple[tuple[bytes, bytes], ...]:
        """Limit, Remaining, and Reset: the seconds to midnight in the organisation's zone."""
        limit = self.daily(api)
        left = max(0, limit - self._used[api]) if self.rules.enabled else limit
        reset = max(1, int(self._day[1] - self._clock.now()))
        return (
            (b"x-rate-limit-limit", b"%d" % limit),
            (b"x-rate-limit-reset", b"%d" % reset),
            (b"x-rate-limit-remaining", b"%d" % left),
        )

    def statistics(self) -> dict[str, object]:
        """The rules and what was used of them."""
        self._roll()
        used = {"used_books": self._used["books"], "used_inventory": self._used["inventory"], "refused": self.refused}
        blocked = max(0.0, self._blocked_until - self._clock.now())
        return msgspec.structs.asdict(self.rules) | used | {"in_flight": self.in_flight, "blocked_seconds": blocked}
