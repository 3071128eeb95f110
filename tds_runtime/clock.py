"""The database's time without asking for it each time: every node and every row goes by that one clock."""

from __future__ import annotations

from datetime import datetime, timedelta

import anyio

from tds_runtime.database import Database

AGE = 60.0
"""Seconds after which it is set again: two clocks drift, and one of them may be set."""


class DatabaseClock:
    """Set once, then read from the monotonic clock; it is never fast, and slow by at most one round trip."""

    def __init__(self) -> None:
        self._then: datetime | None = None
        self._moment = 0.0

    async def set(self, database: Database) -> None:
        """Ask the database, unless it was asked a short while ago; raises `DatabaseGone`."""
        if self._then is None or anyio.current_time() - self._moment > AGE:
            self._then = await database.fetchval("SELECT clock_timestamp()")
            self._moment = anyio.current_time()

    def at(self, moment: float) -> datetime:
        """The database's time at a moment of the monotonic clock; `set` must have come before."""
        assert self._then is not None
        return self._then + timedelta(seconds=moment - self._moment)
