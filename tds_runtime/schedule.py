"""When something is due: slots, catch-up, overlap and pauses, as pure functions of what is known and what time it is.

A slot is the moment a schedule names; it is decided once, and every slot has an outcome. Slots are in UTC.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from msgspec import Struct

from tds_runtime.values import Duration

Outcome = Literal["ran", "late", "skipped_overlap", "skipped_catchup", "skipped_paused", "failed"]

PUNCTUAL = timedelta(seconds=60)
"""A slot that is decided later than this after its moment is late."""

MOST_AT_ONCE = 1_000
"""Slots decided in one go; after a long absence the rest follows in the next."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_DOUBLINGS = 6
LONGEST_PAUSE = timedelta(hours=6)
"""A schedule that failures have paused tries itself again at least every 64 slots, and at least so often."""


class Schedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section [schedule.NAME]."""

    run: str
    """What to do: pull.full, pull.incremental, pull.stock, ..."""
    args: dict[str, Any] = {}
    """Arguments of the run, such as `entity = "product"`."""
    cron: str | None = None
    """Minute, hour, day of month, month, day of week, in `timezone`."""
    every: Duration | None = None
    """Instead of cron: this often, counted from midnight UTC of 1970."""
    timezone: str = "UTC"
    overlap: Literal["skip", "queue_one", "allow"] = "skip"
    """When the run of an earlier slot has not ended: skip this one, let one wait, or run beside it."""
    catchup: Literal["latest", "all", "skip"] = "latest"
    """Of the slots missed while nothing ran: run the latest, all of them (one after the other), or none."""
    catchup_window: Duration = Duration("6h")
    """Missed slots older than this are not run."""
    jitter: Duration = Duration(0)
    """Run up to this much later, always by the same amount for one schedule."""
    timeout: Duration = Duration("1h")
    """A run that takes longer is cancelled and failed; what it was put off by an outage does not count."""
    grace: Duration = Duration("20m")
    """No success so long after a slot is worth an alert."""
    pause_after_failures: int = 0
    """After so many failed slots in a row only every second, fourth, ... is tried, one in 6 h at least; 0 is never."""
    enabled: bool = True

    def __post_init__(self) -> None:
        if (self.cron is None) == (self.every is None):
            raise ValueError("a schedule has either cron or every")
        if self.every is not None and self.every < 1:
            raise ValueError("a schedule runs at most once a second")
        if self.cron is not None:
            _check_cron(self.cron)
        try:
            ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"there is no timezone {self.timezone}") from error


class Standing(Struct, frozen=True, kw_only=True):
    """What is known of a schedule before its next slots are decided."""

    last: datetime
    """The newest decided slot that is not in the future."""
    waiting: int = 0
    """Its runs that have not begun."""
    running: int = 0
    failures: int = 0
    """How many of its newest runs failed in a row."""
    skipped: int = 0
    """How many slots were skipped by a pause since the newest run."""
    tried: datetime | None = None
    """The newest slot that ran."""
    paused: bool = False
    """Paused by a person."""


class Decision(Struct, frozen=True):
    """What becomes of a slot; ran and late want a run."""

    slot: datetime
    outcome: Outcome
    detail: str = ""

    @property
    def runs(self) -> bool:
        return self.outcome in {"ran", "late"}


def slots(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """The slots after a moment, in order, without end."""
    if schedule.cron is not None:
        yield from _cron_slots(schedule.cron, ZoneInfo(schedule.timezone), after)
        return
    step = timedelta(seconds=float(schedule.every or 0))
    slot = _EPOCH + ((after - _EPOCH) // step + 1) * step
    while True:
        yield slot
        slot += step


def latest(schedule: Schedule, now: datetime) -> datetime:
    """The newest slot before a moment: where a schedule that nobody has seen before begins."""
    if schedule.cron is not None:
        newest: datetime = next(CronSim(schedule.cron, now.astimezone(ZoneInfo(schedule.timezone)), reverse=True))
        return newest.astimezone(UTC)
    step = timedelta(seconds=float(schedule.every or 0))
    return _EPOCH + ((now - _EPOCH) // step) * step


def following(schedule: Schedule, after: datetime, count: int = 5) -> list[datetime]:
    """The next slots after a moment."""
    return list(islice(slots(schedule, after), count))


def offset(name: str, schedule: Schedule) -> timedelta:
    """How much after its slot a schedule fires: the same part of `jitter` on every node and every day."""
    part = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64
    return timedelta(seconds=round(part * schedule.jitter, 3))


def decide(name: str, schedule: Schedule, standing: Standing, now: datetime) -> list[Decision]:
    """What becomes of each slot that has come since the last decided one, oldest first, at most `MOST_AT_ONCE`."""
    if not schedule.enabled:
        return []
    moment = now - offset(name, schedule)
    due = list(islice(_until(slots(schedule, standing.last), moment), MOST_AT_ONCE + 1))
    decisions: list[Decision] = []
    for index, slot in enumerate(due[:MOST_AT_ONCE]):
        decision = _decide_slot(schedule, standing, slot, moment - slot, newest=index == len(due) - 1)
        standing = _after(standing, decision)
        decisions.append(decision)
    return decisions


def describe(schedule: Schedule) -> str:
    """How a person would read when it runs."""
    if schedule.every is not None:
        return f"every {schedule.every}"
    return f"{schedule.cron} ({schedule.timezone})"


def _decide_slot(
    schedule: Schedule, standing: Standing, slot: datetime, lateness: timedelta, *, newest: bool
) -> Decision:
    late = lateness > PUNCTUAL
    if late and not _catches_up(schedule, lateness, newest=newest):
        return Decision(slot, "skipped_catchup", f"{Duration(int(lateness.total_seconds()))} late")
    if standing.paused:
        return Decision(slot, "skipped_paused", "paused by hand")
    if _holds_back(schedule, standing, slot):
        return Decision(slot, "skipped_paused", f"{standing.failures} failures in a row")
    if not (late and schedule.catchup == "all") and not _has_room(schedule, standing):
        return Decision(slot, "skipped_overlap", "an earlier run has not ended")
    return Decision(slot, "late" if late else "ran")


def _catches_up(schedule: Schedule, lateness: timedelta, *, newest: bool) -> bool:
    if lateness.total_seconds() > schedule.catchup_window:
        return False
    return schedule.catchup == "all" or (schedule.catchup == "latest" and newest)


def _holds_back(schedule: Schedule, standing: Standing, slot: datetime) -> bool:
    """Whether failures pause it; it tries itself again after 1, 2, 4, ... skipped slots, or after `LONGEST_PAUSE`."""
    beyond = standing.failures - schedule.pause_after_failures
    if not schedule.pause_after_failures or beyond < 0:
        return False
    if standing.tried is not None and slot - standing.tried >= LONGEST_PAUSE:
        return False
    return standing.skipped < 1 << min(beyond, _MOST_DOUBLINGS)


def _has_room(schedule: Schedule, standing: Standing) -> bool:
    match schedule.overlap:
        case "allow":
            return True
        case "queue_one":
            return not standing.waiting
        case "skip":
            return not standing.waiting + standing.running


def _after(standing: Standing, decision: Decision) -> Standing:
    return Standing(
        last=decision.slot,
        waiting=standing.waiting + decision.runs,
        running=standing.running,
        failures=standing.failures,
        skipped=0 if decision.runs else standing.skipped + (decision.outcome == "skipped_paused"),
        tried=decision.slot if decision.runs else standing.tried,
        paused=standing.paused,
    )


def _until(found: Iterator[datetime], end: datetime) -> Iterator[datetime]:
    for slot in found:
        if slot > end:
            return
        yield slot


def _cron_slots(cron: str, zone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    for slot in CronSim(cron, after.astimezone(zone)):
        yield slot.astimezone(UTC)


def _check_cron(cron: str) -> None:
    try:
        next(CronSim(cron, _EPOCH))
    except CronSimError as error:
        raise ValueError(f'"{cron}" is no cron expression: {str(error).lower()}') from error
    except StopIteration:
        raise ValueError(f'"{cron}" never comes') from None
