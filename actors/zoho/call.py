"""One call to the source, said before it is made: where, how its answer is read, and how patient it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Generic, Literal, TypeVar

from msgspec import Struct, field

from actors.zoho import answers
from actors.zoho.answers import Answer, Verdict
from tds_runtime.errors import RateLimited

T = TypeVar("T")

JSON_CAP = 64 << 20
"""Bytes of a JSON answer: two hundred records with a ten-megabyte one among them still come through."""


class Paused(RateLimited):
    """The source ordered a pause that the limiter now keeps."""


class Call(Struct, Generic[T], frozen=True, kw_only=True):
    """One call: where, what its answer is read as, and how long it may wait for permission."""

    api: str
    path: str
    read: Callable[[Answer], T]
    params: Mapping[str, str] = field(default_factory=dict)
    judge: Callable[[Answer, datetime], Verdict] = answers.judge
    cap: int = JSON_CAP
    bulk: bool = False
    """Bulk work leaves the reserve of the day's budget to the rest."""
    patience: float = 75.0
    """Seconds to wait for a permit in place; a longer pause raises `RateLimited` at once."""
    permitted: bool = False
    """The caller holds a permit for the first try."""
    method: Literal["GET", "POST", "PUT", "DELETE"] = "GET"
    content: bytes | None = None


class Statistics(Struct, frozen=True, kw_only=True):
    """Calls to one upstream since the start; `seconds` is time spent waiting for answers."""

    calls: int
    retries: int
    bytes: int
    seconds: float
    failures: dict[str, int]


class Tally:
    """Counts the calls of one upstream."""

    def __init__(self) -> None:
        self.calls = 0
        self.retries = 0
        self.bytes = 0
        self.seconds = 0.0
        self.failures: Counter[str] = Counter()

    def statistics(self) -> Statistics:
        """The counts so far."""
        return Statistics(
            calls=self.calls,
            retries=self.retries,
            bytes=self.bytes,
            seconds=self.seconds,
            failures=dict(self.failures),
        )


class Policy(Struct, frozen=True, kw_only=True):
    """How often and how long one call is tried; `base` is the configured API address, "" to follow the token's."""

    organization_id: str
    base: str
    fallback: str
    tries: int
    deadline: float
    reserve: float
