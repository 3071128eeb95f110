"""What is planted in a proxy: which round trip of which statement, when within it, and what is done to it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Literal

from msgspec import Struct

from tds_runtime import sql

Point = Literal["before", "sent", "replied"]
Action = Literal["close", "reset", "blackhole", "delay", "call"]


class Fault(Struct, frozen=True, kw_only=True):
    """One planted fault.

    Attributes:
        operation: The round trip it is for, as `Trip.operation`; "" for any.
        within: An operation that came earlier in the same transaction; "" for any.
        ordinal: Which of those round trips, from 1, counted from the arming on.
        every: Strike again after so many more; 0 is once.
        times: How often it must strike at most, and to have fired at least.
        point: When, within the round trip.
        action: close or reset the connection (the server's side too), hold back all its bytes until `mend` or for
            `seconds` (blackhole, delay), or make the call that was armed and close.
    """

    operation: str = ""
    within: str = ""
    ordinal: int = 1
    every: int = 0
    times: int = 1
    point: Point
    action: Action
    seconds: float = 0.0

    def suits(self, trip: Trip) -> bool:
        """Whether this is one of the round trips that are counted for it."""
        return self.operation in {"", trip.operation} and (not self.within or self.within in trip.within)

    def strikes(self, count: int) -> bool:
        """Whether the fault is due at the `count`-th round trip that suits it."""
        late = count - self.ordinal
        if not self.every:
            return late == 0
        return late >= 0 and late % self.every == 0 and late // self.every < self.times


class Plan(Struct, frozen=True):
    """What is planted at once; the first that is due strikes."""

    faults: tuple[Fault, ...] = ()


class Planted(Struct):
    """A fault, how many round trips it has looked at, and how often it has struck."""

    fault: Fault
    seen: int = 0
    fired: int = 0


class Trip(Struct, frozen=True, kw_only=True):
    """A round trip: its number since the arming, whose it is, and what it executes; `within` as of a Dialogue."""

    ordinal: int
    connection: int
    role: str
    operation: str
    within: tuple[str, ...]


NOTHING = Plan()


def operations() -> dict[str, str]:
    """What the statements of both packages are called, by their text: the names of their files."""
    named: dict[str, str] = {}
    for package in ("tds_runtime", "actors"):
        root = Path(str(resources.files(package))) / "sql"
        for path in sorted(root.rglob("*.sql")):
            name = str(path.relative_to(root).with_suffix(""))
            named[sql.load(name, package=package)] = name
    return named
