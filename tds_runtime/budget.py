"""How many restarts are too many: a sliding window over the time that the crashed children really ran."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from tds_runtime.errors import SpecError

_FEW = 64
"""Charges that are not worth looking through for those that count no more."""


class Budget(Struct, frozen=True):
    """At most `restarts` restarts within any `per` seconds; one more is too many.

    The window is inclusive at both ends, as in OTP. Its clock is the crashed child's own running time: a crash does
    not age while its child waits for its next start, so a long backoff can never empty the window. Raises SpecError
    for values out of range.
    """

    restarts: int = 3
    per: float = 60.0

    def __post_init__(self) -> None:
        if self.restarts < 0:
            raise SpecError(f"a budget's restarts must not be negative, got {self.restarts}")
        if self.per <= 0:
            raise SpecError(f"a budget's per must be a positive number of seconds, got {self.per}")


class Charge(Struct, frozen=True):
    """One restart that was asked for: which child, and how many seconds it had run in all its lives when it crashed."""

    child: str
    at: float


class Spending(Struct, frozen=True):
    """A budget and what is gone of it: `spent` restarts count now, of `restarts` within `per` seconds."""

    spent: int
    restarts: int
    per: float


class Ledger:
    """What was charged to one budget."""

    __slots__ = ("_charges", "_look_at", "budget")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._charges: list[Charge] = []
        self._look_at = _FEW

    def charge(self, new: Charge, running: Callable[[str], float]) -> bool:
        """Charge one restart; False when it is one too many.

        `running` tells how many seconds a child has run in all its lives; a charge counts while its child has run at
        most `per` seconds since.
        """
        self._charges.append(new)
        if len(self._charges) > min(self.budget.restarts, self._look_at):  # only now does it matter which still count
            self._charges = self._counting(running)
            self._look_at = _FEW + 2 * len(self._charges)
        return len(self._charges) <= self.budget.restarts

    def spending(self, running: Callable[[str], float]) -> Spending:
        """What counts at this moment; `running` as for `charge`."""
        return Spending(len(self._counting(running)), self.budget.restarts, self.budget.per)

    def _counting(self, running: Callable[[str], float]) -> list[Charge]:
        return [old for old in self._charges if running(old.child) - old.at <= self.budget.per]

    def clear(self) -> None:
        """Forget all charges."""
        self._charges.clear()
