"""One `apply` on its way through the tree: what it does, who has still to do it, and what went wrong."""

from __future__ import annotations

from collections.abc import Iterable

from anyio import Event
from msgspec import Struct

from tds_runtime.errors import ApplyFailed, Error


class Applied(Struct, frozen=True, kw_only=True):
    """What an `apply` did, by path. `updated` follow a new spec without having been started again."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()


class Change:
    """Counts the supervisors that have not done their part; settled when none is left."""

    def __init__(self) -> None:
        self.settled = Event()
        self._open = 1
        self._problems: list[str] = []
        self._error: Error | None = None
        self._added: list[str] = []
        self._removed: list[str] = []
        self._restarted: list[str] = []
        self._updated: list[str] = []

    def note(
        self, *, added: Iterable[str], removed: Iterable[str], restarted: Iterable[str], updated: Iterable[str]
    ) -> None:
        """What one supervisor is about to do."""
        self._added += added
        self._removed += removed
        self._restarted += restarted
        self._updated += updated

    def begin(self) -> None:
        """One more supervisor takes part."""
        self._open += 1

    def settle(self, problems: Iterable[str] = ()) -> None:
        """One supervisor has done its part; `problems` are children that did not come up."""
        self._problems += problems
        self._open -= 1
        if self._open == 0:
            self.settled.set()

    def fail(self, error: Error) -> None:
        """One supervisor will not do its part."""
        self._error = self._error or error
        self.settle()

    def result(self) -> Applied:
        """What was done; raises ApplyFailed when not all of it came up."""
        if self._error is not None:
            raise self._error
        if self._problems:
            raise ApplyFailed("; ".join(self._problems))
        return Applied(
            added=tuple(self._added),
            removed=tuple(self._removed),
            restarted=tuple(self._restarted),
            updated=tuple(self._updated),
        )
