"""What the service levels are told from, and over which time each part of it is counted; pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from tds_runtime.values import Duration

DAY = Duration("24h")
WEEK = Duration("7d")
MONTH = Duration("30d")


class Facts(Struct, frozen=True, kw_only=True):
    """What was counted, each over the window of its level; durations in seconds by bucket."""

    completed: int = 0
    dead_lettered: int = 0
    deliveries: Mapping[int, int] = {}
    available_minutes: int = 0
    minutes: int = 0
    slots_done: int = 0
    slots_failed: int = 0
    faults: int = 0
    recovered_alone: int = 0
    recovery_seconds: float = 0.0
    letters: int = 0
    letters_overdue: int = 0
    letters_open: int = 0
    acknowledged: int = 0
    acknowledged_seconds: float = 0.0
    actions: int = 0

    @property
    def ended(self) -> int:
        """Tasks that came to an end, good or bad."""
        return self.completed + self.dead_lettered


class Windows(Struct, frozen=True, kw_only=True):
    """Over which time each is told; `of` makes all of them the same, for a report."""

    tasks: Duration = DAY
    deliveries: Duration = DAY
    availability: Duration = WEEK
    slots: Duration = WEEK
    faults: Duration = WEEK
    letters: Duration = WEEK
    acknowledgements: Duration = MONTH
    actions: Duration = WEEK

    @staticmethod
    def of(length: Duration) -> Windows:
        """All of this length."""
        return Windows(**dict.fromkeys(Windows.__struct_fields__, length))
