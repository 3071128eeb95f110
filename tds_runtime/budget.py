"""How many restarts are too many: a sliding window over the time that the crashed children really ran."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from tds_runtime.errors import SpecError


class Budget(Struct, frozen=True):
    """At most `restarts` restarts within any `per` seconds; one more is too many.

    The window is inclusive at both ends, as in OTP. Its clock is the crashed child's own running time: a crash does
    not age while its child waits for its next start, so a long backoff can never empty the window.
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


def charge(
    budget: Budget, charges: tuple[Charge, ...], new: Charge, running: Callable[[str], float]
) -> tuple[Charge, ...]:
    """The charges that count after `new` came in.

    `running` tells how many seconds a child has run in all its lives; a charge counts while its child has run at most
    `per` seconds since.
    """
    counting = tuple(old for old in charges if running(old.child) - old.at <= budget.per)
    return (*counting, new)


def exhausted(budget: Budget, charges: tuple[Charge, ...]) -> bool:
    """Whether these charges are more than the budget allows."""
    return len(charges) > budget.restarts
