"""Counts what calls to the source cost whoever they are made for: a run, or one detail call among many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tds_runtime.running import Cost


class Meter:
    """What was called for so far and not yet taken."""

    def __init__(self) -> None:
        self._calls = 0
        self._bytes = 0

    def note_call(self) -> None:
        """A call is made."""
        self._calls += 1

    def note_answer(self, size: int) -> None:
        """An answer of so many bytes came."""
        self._bytes += size

    def take(self) -> Cost:
        """What has come together since the last time."""
        taken = Cost(calls=self._calls, bytes=self._bytes)
        self._calls = self._bytes = 0
        return taken


METER: ContextVar[Meter | None] = ContextVar("meter", default=None)
"""Who pays for the calls of this task and of the tasks that it starts."""


@contextmanager
def metered() -> Iterator[Meter]:
    """Calls made within this block, and in tasks started in it, are counted by its own meter."""
    meter = Meter()
    token = METER.set(meter)
    try:
        yield meter
    finally:
        METER.reset(token)
