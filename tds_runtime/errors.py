"""Everything that can go wrong, by name: an exception's docstring is its message."""

from __future__ import annotations

import inspect
from datetime import datetime


class Error(Exception):
    """Something in the runtime failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)))


# --- expected outages: waited out by whoever met them, never charged to a restart budget


class Outage(Error):
    """Something outside is away and is expected back."""


class DatabaseGone(Outage):
    """Postgres cannot be reached, is not ready, or went away in the middle of a statement."""


class SourceDown(Outage):
    """The source does not answer, or answers with its own failure."""


class RateLimited(Outage):
    """The source asked for a pause."""

    def __init__(self, message: str | None = None, *, until: datetime | None = None) -> None:
        super().__init__(message)
        self.until = until


# --- queue


class LeaseLost(Error):
    """Another owner holds what this one believed to hold; nothing was changed."""


# --- engine
