"""Says in the log what was stored: the first commit at once, those of the second after it in one line."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import anyio

from tds_runtime import logs
from tds_runtime.delivery import Delivery

APART = 1.0
"""Seconds between two lines at least: one a commit was one a webhook, and as many as there are webhooks is a flood."""

log = logs.get("intake")


class Account:
    """What was stored and not told yet, without the bodies; `clock` in seconds."""

    def __init__(self, clock: Callable[[], float] = anyio.current_time) -> None:
        self._clock = clock
        self._next = -math.inf
        self._begin()

    def _begin(self) -> None:
        self._deliveries = self._duplicates = self._refused = 0
        self._entities: set[str] = set()
        self._ids: list[str] = []

    def add(self, stored: Iterable[tuple[Delivery, bool]], refused: int) -> None:
        """Take in a commit: deliveries, each with whether it was a duplicate, and how many the server refused."""
        self._refused += refused
        for delivery, duplicate in stored:
            self._deliveries += 1
            self._duplicates += duplicate
            self._entities.add(delivery.entity_type)
            if len(self._ids) < logs.LISTED:
                self._ids.append(delivery.correlation_id)
        if self.wait <= 0:
            self.say()

    @property
    def wait(self) -> float:
        """Seconds until there is something to say; infinity while there is nothing."""
        return self._next - self._clock() if self._deliveries or self._refused else math.inf

    def say(self) -> None:
        """Say what is not told yet, if there is anything."""
        if not self._deliveries and not self._refused:
            return
        log.info(
            "deliveries.stored",
            deliveries=self._deliveries,
            duplicates=self._duplicates,
            refused=self._refused,
            entities=sorted(self._entities),
            **logs.correlation(self._ids),
        )
        self._begin()
        self._next = self._clock() + APART
