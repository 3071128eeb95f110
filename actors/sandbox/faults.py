"""Planted failures: which calls they strike, how often, and how often they did."""

from __future__ import annotations

from typing import Literal

import anyio
import msgspec
from msgspec import Struct

from actors.sandbox.request import Call

Kind = Literal[
    "status", "latency", "hang", "truncate", "html", "close", "slow", "huge", "garbage", "empty", "repeat_page",
    "skip_page",
    "revoke", "throttle", "stale",
]  # fmt: skip


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One planted failure: `times` -1 strikes until removed, `after` spares the first calls that match."""

    kind: Kind
    path: str = ""
    method: str = ""
    page: int | None = None
    times: int = 1
    after: int = 0
    status: int = 503
    code: int = 1000
    message: str = "Internal error"
    headers: dict[str, str] = {}
    seconds: float | None = None
    bytes: int | None = None


class Planted:
    """A fault in place: `matched` and `fired` count calls, `removed` lets hanging ones go on."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number = number
        self.fault = fault
        self.matched = 0
        self.fired = 0
        self.removed = anyio.Event()

    def strikes(self, path: str, call: Call | None, method: str) -> bool:
        """Whether this call is struck; counts it either way."""
        fault = self.fault
        if call is None and not fault.path:  # the accounts server is only struck by its name
            return False
        if fault.path not in path or (fault.method and fault.method != method):
            return False
        if fault.page is not None and (call is None or call.query.get("page", "1") != str(fault.page)):
            return False
        self.matched += 1
        if self.matched <= fault.after or (fault.times >= 0 and self.fired >= fault.times):
            return False
        self.fired += 1
        return True


class Faults:
    """All planted failures, in the order they were planted."""

    def __init__(self) -> None:
        self._planted: dict[int, Planted] = {}
        self._next = 1

    def plant(self, fault: Fault) -> int:
        """Plant one; answers its number."""
        number, self._next = self._next, self._next + 1
        self._planted[number] = Planted(number, fault)
        return number

    def remove(self, number: int | None = None) -> int:
        """Remove one or all; hanging calls go on. Answers how many there were."""
        gone = [self._planted.pop(key) for key in list(self._planted) if number is None or key == number]
        for planted in gone:
            planted.removed.set()
        return len(gone)

    def struck(self, path: str, call: Call | None, method: str) -> list[Planted]:
        """The failures that strike this call: all of them, so that a slow answer may also be a wrong one."""
        if not self._planted:
            return []
        return [planted for planted in self._planted.values() if planted.strikes(path, call, method)]

    def statistics(self) -> list[dict[str, object]]:
        """Each planted failure with how often it fired."""
        return [
            {
                "fault": planted.number,
                **msgspec.to_builtins(planted.fault),
                "fired": planted.fired,
                "matched": planted.matched,
            }
            for planted in self._planted.values()
        ]
