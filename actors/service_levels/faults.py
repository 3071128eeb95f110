"""Notes what fails and when it is well again: actors by what the engine says, the database by how it answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

import anyio
from msgspec import Struct

from tds_runtime import sql
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.events import ChildEnded, ChildFinished, ChildReady, Event, Lagged

Kind = Literal["crash", "killed", "database_down"]

MOST = 1_000
"""Faults that wait to be stored; during a long outage the oldest are let go."""


class Fault(Struct, frozen=True, kw_only=True):
    """Something that failed and is well again."""

    kind: Kind
    subject: str
    began_at: datetime
    ended_at: datetime


class Faults:
    """Faults that are open, and those that are over and not stored yet."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = anyio.current_time,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._clock, self._now = clock, now
        self._down: dict[str, tuple[Kind, float]] = {}
        self._answered = False
        self._gone_since: float | None = None
        self._over: deque[Fault] = deque(maxlen=MOST)

    def follow(self, happened: Iterable[Event | Lagged]) -> None:
        """Take in what the engine said: from a crash or a kill until the child is ready again is one fault."""
        for event in happened:
            match event:
                case ChildEnded(ending="crash" | "killed" as kind):
                    self._down.setdefault(event.path, (kind, event.at))
                case ChildReady():
                    self._end(event.path, event.at)
                case ChildFinished() | ChildEnded():
                    self._down.pop(event.path, None)  # it is not wanted any more, so nothing is broken
                case Lagged():
                    self._down.clear()  # nobody knows what became of them
                case _:
                    pass

    def answered(self, *, up: bool) -> None:
        """Take in whether the database has answered; before it did for the first time its absence is a start."""
        now = self._clock()
        if not up:
            self._gone_since = now if self._gone_since is None and self._answered else self._gone_since
            return
        self._answered = True
        if self._gone_since is not None:
            self._note("database_down", "database", self._gone_since, now)
            self._gone_since = None

    async def store(self, database: Database, node: str) -> int:
        """Store what is over; with the database away it is kept for the next time. Returns how many."""
        faults = list(self._over)
        if not faults:
            return 0
        columns = [[getattr(fault, name) for fault in faults] for name in ("kind", "subject", "began_at", "ended_at")]
        try:
            await database.execute(sql.load("service_levels/note_faults", package="actors"), *columns, node)
        except DatabaseGone:
            return 0
        for fault in faults:
            if self._over and self._over[0] is fault:  # else it has made room meanwhile for newer ones
                self._over.popleft()
        return len(faults)

    def _end(self, path: str, at: float) -> None:
        found = self._down.pop(path, None)
        if found is not None:
            kind, began = found
            self._note(kind, path, began, at)

    def _note(self, kind: Kind, subject: str, began: float, ended: float) -> None:
        self._over.append(Fault(kind=kind, subject=subject, began_at=self._moment(began), ended_at=self._moment(ended)))

    def _moment(self, at: float) -> datetime:
        """The wall's time of a moment of the clock by which things are measured."""
        return self._now() - timedelta(seconds=self._clock() - at)
