"""How well the daemon is, told from its counts: the one rule that health, healer and alerts share."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Status = Literal["healthy", "degraded", "warning", "critical", "error"]
Count = Annotated[int, Meta(ge=0)]

LOWEST_SUCCESS = 95.0
"""Percent of what ended in a day; less is degraded."""


class Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """More waiting tasks or dead letters than this are a warning, or critical."""

    queue_warning: Count = 1_000
    queue_critical: Count = 5_000
    dlq_warning: Count = 50
    dlq_critical: Count = 100

    def __post_init__(self) -> None:
        if self.queue_warning > self.queue_critical or self.dlq_warning > self.dlq_critical:
            raise ValueError("a warning comes before what is critical")


def judge(
    *, pending: int, dead_letters: int, success_rate: float, thresholds: Thresholds, source_down: bool = False
) -> Status:
    """The worst thing that holds; `success_rate` in percent, `source_down` while nothing can be asked of a source."""
    if dead_letters > thresholds.dlq_critical or pending > thresholds.queue_critical:
        return "critical"
    if dead_letters > thresholds.dlq_warning or pending > thresholds.queue_warning:
        return "warning"
    return "degraded" if source_down or success_rate < LOWEST_SUCCESS else "healthy"


def success_rate(*, completed: int, dead_lettered: int) -> float:
    """Percent of what ended that ended well; 100 when nothing ended."""
    ended = completed + dead_lettered
    return round(100 * completed / ended, 2) if ended else 100.0
