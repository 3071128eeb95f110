"""A second reader of the log's events, for alerts: bounded, never in anybody's way, and honest about what it lost."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct


class Statistics(Struct, frozen=True, kw_only=True):
    """What became of the events: taken in, pushed out by newer ones before anybody read them, still waiting."""

    taken: int
    dropped: int
    waiting: int
    capacity: int


class Tap:
    """Keeps the newest events that somebody wants until they are drained; `observe` may be called from any thread."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._events: deque[Mapping[str, Any]] = deque()
        self._changed = threading.Lock()
        self._wanted: frozenset[str] | None = None
        self._taken = self._dropped = 0

    def want(self, names: Iterable[str] | None) -> None:
        """Keep only events of these names from now on; None keeps all."""
        self._wanted = None if names is None else frozenset(names)

    def observe(self, event: Mapping[str, Any]) -> None:
        """Take one finished (redacted) event; the oldest one makes room when nobody drains."""
        wanted = self._wanted
        if wanted is not None and event["event"] not in wanted:
            return
        with self._changed:
            self._taken += 1
            if len(self._events) >= self._capacity:
                self._events.popleft()
                self._dropped += 1
            self._events.append(event)

    def drain(self, most: int | None = None) -> list[Mapping[str, Any]]:
        """What waits, the oldest first; at most `most` of it."""
        with self._changed:
            count = len(self._events) if most is None else min(most, len(self._events))
            return [self._events.popleft() for _ in range(count)]

    def statistics(self) -> Statistics:
        """Counts since the start."""
        with self._changed:
            return Statistics(
                taken=self._taken, dropped=self._dropped, waiting=len(self._events), capacity=self._capacity
            )
