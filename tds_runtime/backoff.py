"""How long to wait before the next try: geometric, with jitter, and back to the start after a good life."""

from __future__ import annotations

from random import Random

from msgspec import Struct

from tds_runtime.errors import SpecError


class Backoff(Struct, frozen=True):
    """Delays between tries: `initial`, then `factor` times as long each time, never above `cap` (all in seconds).

    `jitter` is the share of a delay that chance may take away, from 0 (none) to 1 (all of it); chance only ever
    shortens, so `cap` holds. A life that was *ready* for at least `reset_after` seconds starts the row anew.
    Raises SpecError for values out of range.
    """

    initial: float = 0.1
    cap: float = 60.0
    factor: float = 2.0
    jitter: float = 0.1
    reset_after: float = 60.0

    def __post_init__(self) -> None:
        if not 0 <= self.initial <= self.cap:
            raise SpecError(f"a backoff needs 0 <= initial <= cap, got initial={self.initial} and cap={self.cap}")
        if self.factor < 1:
            raise SpecError(f"a backoff's factor must be at least 1, got {self.factor}")
        if not 0 <= self.jitter <= 1:
            raise SpecError(f"a backoff's jitter must lie between 0 and 1, got {self.jitter}")
        if self.reset_after < 0:
            raise SpecError(f"a backoff's reset_after must not be negative, got {self.reset_after}")

    def band(self, attempt: int) -> tuple[float, float]:
        """The shortest and the longest delay, in seconds, that can come before try `attempt` (the first is 1)."""
        longest = self._longest(attempt)
        return longest * (1 - self.jitter), longest

    def delay(self, attempt: int, random: Random) -> float:
        """Seconds to wait before try `attempt`."""
        longest = self._longest(attempt)
        if not self.jitter:
            return longest
        return longest * (1 - self.jitter * random.random())

    def next_attempt(self, attempt: int, ready_seconds: float) -> int:
        """The number of the try that follows a life which was ready for `ready_seconds`."""
        return 1 if ready_seconds >= self.reset_after else attempt + 1

    def _longest(self, attempt: int) -> float:
        if self.initial == 0 or self.factor == 1:
            return self.initial
        try:
            return min(self.cap, self.initial * self.factor ** (attempt - 1))
        except OverflowError:  # factor ** attempt left the floats long after it left the cap
            return self.cap
