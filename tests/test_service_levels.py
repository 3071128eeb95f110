"""Service levels by their formulas, faults by what the engine says, percentiles by buckets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from actors.service_levels import levels
from actors.service_levels.durations import quantile
from actors.service_levels.facts import Facts, Windows
from actors.service_levels.faults import Faults
from actors.service_levels.levels import Level, Options
from actors.service_levels.marks import Marks
from tds_runtime.errors import DatabaseGone, NotRunning
from tds_runtime.events import ChildEnded, ChildFinished, ChildReady, Lagged
from tds_runtime.mailbox import Statistics
from tds_runtime.values import Duration

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def told(facts: Facts, **options: Any) -> dict[str, Level]:
    return {level.name: level for level in levels.told(facts, Options(**options), Windows())}


def test_nothing_that_was_counted_is_no_data_and_not_missed() -> None:
    """A daemon of a second's age misses nothing; counts of zero are figures of their own."""
    found = told(Facts())
    assert tuple(found) == levels.NAMES
    valued = {name for name, level in found.items() if level.value is not None}
    assert valued == {"dead_letters_open", "manual_interventions"}
    assert {level.note for name, level in found.items() if name not in valued} == {"no data yet"}
    assert levels.missed(tuple(found.values())) == ()


@pytest.mark.parametrize(
    ("name", "facts", "value", "met"),
    [
        ("sync_success_rate", Facts(completed=199, dead_lettered=1), 99.5, False),
        ("sync_success_rate", Facts(completed=1990, dead_lettered=9), 99.54, True),
        ("sync_success_rate", Facts(completed=98, dead_lettered=1), 98.98, None),
        ("sync_success_rate", Facts(completed=100), 100.0, True),
        ("availability", Facts(available_minutes=10_079, minutes=10_080), 99.99, True),
        ("availability", Facts(available_minutes=995, minutes=1_000), 99.5, False),
        ("scheduled_jobs", Facts(slots_done=99, slots_failed=1), 99.0, False),
        ("auto_recovery", Facts(faults=7, recovered_alone=6), 85.71, True),
        ("time_to_recovery", Facts(faults=2, recovery_seconds=299.9), 299.9, True),
        ("time_to_recovery", Facts(faults=2, recovery_seconds=300.0), 300.0, False),
        ("dead_letters_resolved", Facts(letters=5), 100.0, True),
        ("dead_letters_resolved", Facts(letters=100_000, letters_overdue=1), 99.99, False),
        ("dead_letters_open", Facts(letters_open=9), 9.0, True),
        ("dead_letters_open", Facts(letters_open=10), 10.0, False),
        ("time_to_acknowledge", Facts(acknowledged=1, acknowledged_seconds=301.0), 301.0, False),
        ("manual_interventions", Facts(actions=7), 7.0, False),
        ("webhook_latency_p50", Facts(deliveries={0: 1}), 0.001, None),
        ("webhook_latency_p95", Facts(deliveries={0: 95, 80: 5}), 0.001, True),
        ("webhook_latency_p95", Facts(deliveries={0: 94, 80: 6}), 2.048400, False),
    ],
)
def test_a_level_is_its_formula(name: str, facts: Facts, value: float, met: bool | None) -> None:
    """Better than the target is met, as good as is not; all of them is; what is too little is not judged."""
    level = told(facts)[name]
    assert (level.value, level.met) == (value, met)
    assert level.formula
    assert (level.met is not None) == (not level.note)


def test_targets_are_configured() -> None:
    """What is good enough says `[service_levels]`."""
    facts = Facts(completed=98, dead_lettered=2)
    assert told(facts, success_rate=97.0)["sync_success_rate"].met
    assert not told(facts, smallest_sample=1)["sync_success_rate"].met


def test_a_percentile_is_at_most_a_tenth_too_high() -> None:
    """A duration is sorted into the bucket of which it is no more than the upper edge."""
    assert quantile({}, 0.5) is None
    assert quantile({3: 1, 10: 98, 50: 1}, 0.5) == pytest.approx(0.001 * 1.1**10, abs=1e-6)
    assert quantile({3: 1, 10: 98, 50: 1}, 1.0) == pytest.approx(0.001 * 1.1**50, abs=1e-6)
    assert quantile({3: 1, 10: 98, 50: 1}, 0.01) == pytest.approx(0.001 * 1.1**3, abs=1e-6)


# --- faults


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """A database that takes statements, or that is away."""

    def __init__(self) -> None:
        self.away = False
        self.calls: list[tuple[Any, ...]] = []

    async def execute(self, _statement: str, *arguments: Any, pool: str = "work") -> None:
        if self.away:
            raise DatabaseGone
        self.calls.append(arguments)

    async def fetchval(self, statement: str, *arguments: Any, pool: str = "work") -> float:
        await self.execute(statement, *arguments, pool=pool)
        return 20.0


def faults(clock: Clock) -> Faults:
    return Faults(clock=clock, now=lambda: NOON + timedelta(seconds=clock.now - 100))


def ended(path: str, at: float, ending: Any) -> ChildEnded:
    return ChildEnded(path=path, at=at, incarnation=1, ending=ending, ready_seconds=1.0)


def ready(path: str, at: float) -> ChildReady:
    return ChildReady(path=path, at=at, incarnation=2)


@pytest.mark.anyio
async def test_from_a_crash_to_ready_is_one_fault() -> None:
    """Tries that fail on the way belong to it; a stop in order and a start are none; what is unknown is not guessed."""
    clock, database = Clock(), Kept()
    seen = faults(clock)
    seen.follow([ready("a", 90), ended("a", 91, "shutdown"), ready("a", 92)])
    seen.follow([ended("b", 95, "crash"), ended("b", 96, "crash"), ended("c", 95, "killed"), ready("b", 97)])
    seen.follow([ended("d", 95, "crash"), ChildFinished(path="d", at=96), ready("d", 99)])
    seen.follow([ready("c", 98.5), ended("e", 98, "crash"), Lagged(3), ready("e", 99)])
    assert await seen.store(database, "here") == 2
    kinds, subjects, begins, ends, node = database.calls[0]
    assert (kinds, subjects, node) == (["crash", "killed"], ["b", "c"], "here")
    assert (begins[0], ends[0]) == (NOON - timedelta(seconds=5), NOON - timedelta(seconds=3))
    assert await seen.store(database, "here") == 0


@pytest.mark.anyio
async def test_an_outage_is_stored_once_it_is_over() -> None:
    """One that has not answered yet only starts; one that is away later is a fault, kept until it can be written."""
    clock, database = Clock(), Kept()
    seen = faults(clock)
    seen.answered(up=False)
    seen.answered(up=True)
    clock.now = 160.0
    seen.answered(up=False)
    clock.now = 175.0
    seen.answered(up=False)
    clock.now = 190.0
    seen.answered(up=True)
    database.away = True
    assert await seen.store(database, "here") == 0
    database.away = False
    assert await seen.store(database, "here") == 1
    kinds, subjects, begins, ends, _ = database.calls[0]
    assert (kinds, subjects, (ends[0] - begins[0]).seconds) == (["database_down"], ["database"], 30)


# --- minutes


class Writer:
    queued: int | None = 0

    def statistics(self) -> Statistics:
        if self.queued is None:
            raise NotRunning
        zero = dict.fromkeys(("leased", "blocked_senders", "accepted", "handled", "dropped", "dead"), 0)
        return Statistics(capacity=10, queued=self.queued, **zero)


@pytest.mark.anyio
async def test_a_minute_is_marked_once_and_only_when_deliveries_are_taken() -> None:
    """Not with a full or absent writer, not without a database, and then not again before the next minute."""
    clock, database, writer = Clock(), Kept(), Writer()
    marks = Marks(database, writer, "here", clock)  # type: ignore[arg-type] # only what is asked of them
    for queued in (10, None):
        writer.queued = queued
        await marks.mark()
    writer.queued, database.away = 0, True
    await marks.mark()
    assert database.calls == []
    database.away = False
    for clock.now in (100.0, 110.0, 119.0, 120.0):
        await marks.mark()
    assert database.calls == [("here",)] * 2


def test_windows_can_all_be_the_same() -> None:
    """A report over seven days has one window for everything."""
    assert {getattr(Windows.of(Duration("7d")), name) for name in Windows.__struct_fields__} == {Duration("7d")}
