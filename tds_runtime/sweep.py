"""Stopping some children and then starting some, one after the other: the order of every group operation."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from math import inf

from tds_runtime.slot import Slot


class Sweep:
    """Children to stop, last first, and then, from `resume_at` on, children to start, first first.

    `together` stops all at once. `first` marks the first start of a supervisor, in which a child that does not come
    up fails the whole start instead of being tried again.
    """

    __slots__ = ("_begun", "current", "first", "resume_at", "starts", "stops", "together")

    def __init__(
        self,
        *,
        stops: Iterable[Slot] = (),
        starts: Iterable[Slot] = (),
        resume_at: float = -inf,
        together: bool = False,
        first: bool = False,
    ) -> None:
        self.stops = list(stops)
        self.starts = deque(starts)
        self.resume_at = resume_at
        self.together = together
        self.first = first
        self.current: Slot | None = None
        self._begun = False

    def to_stop_now(self) -> list[Slot]:
        """Those that should hear now that they are to stop; empty while waiting for one that has heard."""
        while self.stops and _down(self.stops[-1]):
            self.stops.pop()
        if self.together and not self._begun:
            self._begun = True
            return [slot for slot in reversed(self.stops) if not _told(slot)]
        if not self.stops or _told(self.stops[-1]):
            return []
        return [self.stops[-1]]

    def next_to_start(self) -> Slot | None:
        """The next child to spawn; None while one is on its way up, or when there is none left."""
        if self.current is not None and not _up(self.current):
            return None
        self.current = None
        if self.starts and self.starts[0].life is None:  # else its last life swallows cancellation and is still there
            self.current = self.starts.popleft()
        return self.current

    def start_too(self, slot: Slot) -> None:
        """One more child to start, after the others."""
        if slot not in self.starts:
            self.starts.append(slot)

    def leave_out(self, slot: Slot) -> None:
        """Start this child no more."""
        if slot in self.starts:
            self.starts.remove(slot)

    def note(self, slot: Slot) -> None:
        """A child has ended: if it had come up before that, its start is done all the same."""
        if self.current is slot and slot.ready_at is not None:
            self.current = None

    def starting(self, slot: Slot) -> bool:
        """Whether this child is the one on its way up, for the first time."""
        return self.first and self.current is slot

    @property
    def stopped(self) -> bool:
        """Whether all that had to stop is down, or cannot be stopped."""
        return not self.stops

    @property
    def done(self) -> bool:
        """Whether nothing is left to do."""
        return not self.stops and not self.starts and (self.current is None or _up(self.current))


def _down(slot: Slot) -> bool:
    return slot.life is None or slot.state == "unstopped"


def _told(slot: Slot) -> bool:
    return slot.state in ("stopping", "cancelled")


def _up(slot: Slot) -> bool:
    return slot.ready_at is not None or slot.state in ("finished", "stopped", "delayed", "quarantined")
