"""Where an actor stands with its work: since when it holds a message, and what it says it waits for."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct


class Wait(Struct, frozen=True):
    """A named wait: what for, and since when (clock seconds)."""

    name: str
    since: float


def _nothing() -> None:
    return None


class Pulse:
    """The last sign of progress, and the named waits that suspend the watchdog.

    `busy` is kept by the mailbox: work is at hand. `armed` tells that the supervisor already has a deadline for this
    actor; work that comes to an unarmed pulse calls `arm`, so an idle actor costs nothing.
    """

    __slots__ = ("arm", "armed", "clock", "since", "waits")

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.since = 0.0
        self.waits: list[Wait] = []
        self.armed = True
        self.arm: Callable[[], None] = _nothing

    def beat(self) -> None:
        """Progress was made now."""
        self.since = self.clock()
        if not self.armed:
            self.arm()

    def enter(self, name: str) -> Wait:
        """Begin a named wait."""
        wait = Wait(name, self.clock())
        self.waits.append(wait)
        return wait

    def leave(self, wait: Wait) -> None:
        """End a named wait; the clock of the watchdog starts anew."""
        self.waits.remove(wait)
        self.beat()

    def reset(self) -> None:
        """Forget the waits of a life that has ended."""
        self.waits.clear()
        self.since = self.clock()
