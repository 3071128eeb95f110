from __future__ import annotations

import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import schedules
from tds_runtime import schedule
from tds_runtime.decoding import decode_own
from tds_runtime.schedule import Schedule, Standing
from tds_runtime.values import Duration

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def daily(**options: Any) -> Schedule:
    return Schedule(run="pull.full", cron="0 2 * * *", **options)


def quarterly(**options: Any) -> Schedule:
    return Schedule(run="pull.stock", every=Duration("15m"), **options)


def outcomes(plan: Schedule, now: datetime, name: str = "x", **standing: Any) -> list[str]:
    return [decision.outcome for decision in schedule.decide(name, plan, Standing(**standing), now)]


# --- slots


def test_cron_is_read_in_its_timezone() -> None:
    """02:00 in Baghdad is 23:00 UTC the day before."""
    assert schedule.following(daily(timezone="Asia/Baghdad"), NOON, 2) == [
        at("2026-11-21T23:00+00:00"),
        at("2026-11-22T23:00+00:00"),
    ]


def test_every_is_counted_from_a_fixed_moment() -> None:
    """Slots of `every` are the same on every node, whenever it started."""
    found = schedule.following(quarterly(), NOON + timedelta(seconds=1), 3)
    assert [slot.minute for slot in found] == [15, 30, 45]


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("2026-03-28", ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]),
        ("2026-10-24", ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"]),
    ],
)
def test_a_daily_job_runs_once_on_the_days_the_clocks_change(day: str, expected: list[str]) -> None:
    """A daily 02:30 job runs once in spring, when 02:30 does not exist, and once in autumn, when it comes twice."""
    plan = Schedule(run="x", cron="30 2 * * *", timezone=BERLIN)
    assert schedule.following(plan, at(f"{day}T00:00+00:00"), 3) == [at(f"{moment}+00:00") for moment in expected]


zones = st.sampled_from(["UTC", "Asia/Baghdad", BERLIN, "America/New_York", "Australia/Lord_Howe"])
crons = st.sampled_from(["0 2 * * *", "30 2 * * *", "30 1,2,3 * * *", "*/15 * * * *", "0 * * * *", "10 4 * * 1"])
moments = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001 - hypothesis wants naive bounds


@given(crons, zones, moments)
def test_slots_are_the_same_wherever_one_resumes(cron: str, zone: str, start: datetime) -> None:
    """Going on from a slot finds the same slots as never having stopped: none twice, none lost."""
    plan = Schedule(run="x", cron=cron, timezone=zone)
    whole = schedule.following(plan, start, 30)
    resumed = [start]
    for _ in whole:
        resumed += schedule.following(plan, resumed[-1], 1)
    assert resumed[1:] == whole
    assert all(later > earlier for earlier, later in itertools.pairwise(whole))


@given(crons | st.none(), zones, moments)
def test_the_latest_slot_is_the_one_before_the_next(cron: str | None, zone: str, now: datetime) -> None:
    """A schedule seen for the first time begins at its newest slot, so that its next one is not missed."""
    every = None if cron else Duration("15m")
    plan = Schedule(run="x", cron=cron, every=every, timezone=zone)
    begin = schedule.latest(plan, now)
    assert begin <= now
    assert schedule.following(plan, begin, 1)[0] >= now


# --- decisions


def test_a_slot_runs_when_it_comes_and_not_before() -> None:
    """Nothing is due before the slot; the slot itself runs."""
    assert outcomes(daily(), at("2026-11-22T01:59:59+00:00"), last=NOON) == []
    assert outcomes(daily(), at("2026-11-22T02:00:00+00:00"), last=NOON) == ["ran"]


def test_a_decided_slot_is_not_decided_again() -> None:
    """A clock that steps back finds nothing due."""
    assert outcomes(daily(), at("2026-11-22T01:00:00+00:00"), last=at("2026-11-22T02:00+00:00")) == []


def test_catchup_runs_the_latest_of_the_missed_slots() -> None:
    """After an absence the newest missed slot runs late, the others are recorded as skipped."""
    now = NOON + timedelta(minutes=50)
    assert outcomes(quarterly(), now, last=NOON) == ["skipped_catchup", "skipped_catchup", "late"]


def test_catchup_all_runs_each_and_skip_runs_none() -> None:
    """`all` runs what the window holds, in order; `skip` only what is on time."""
    now = NOON + timedelta(minutes=50)
    assert outcomes(quarterly(catchup="all", overlap="allow"), now, last=NOON) == ["late"] * 3
    assert outcomes(quarterly(catchup="skip"), now, last=NOON) == ["skipped_catchup"] * 3
    assert outcomes(quarterly(catchup="skip"), NOON + timedelta(minutes=15), last=NOON) == ["ran"]


def test_slots_older_than_the_window_are_not_run() -> None:
    """A daily job missed by more than its window waits for its next slot."""
    assert outcomes(daily(), NOON, last=NOON - timedelta(days=1)) == ["skipped_catchup"]
    assert outcomes(daily(catchup_window=Duration("12h")), NOON, last=NOON - timedelta(days=1)) == ["late"]


def test_a_long_absence_is_decided_in_portions() -> None:
    """However many slots were missed, one call decides a bounded number and only the very last may run."""
    last = NOON - timedelta(days=30)
    found: list[str] = []
    calls = 0
    while len(portion := schedule.decide("x", quarterly(), Standing(last=last), NOON)) > 0:
        found += [decision.outcome for decision in portion]
        last = portion[-1].slot
        calls += 1
    assert calls == 3
    assert found[-1] == "ran"
    assert set(found[:-1]) == {"skipped_catchup"}
    assert len(found) == 30 * 96


@pytest.mark.parametrize(
    ("overlap", "waiting", "running", "expected"),
    [
        ("skip", 0, 1, "skipped_overlap"),
        ("skip", 1, 0, "skipped_overlap"),
        ("skip", 0, 0, "ran"),
        ("queue_one", 0, 1, "ran"),
        ("queue_one", 1, 1, "skipped_overlap"),
        ("allow", 5, 5, "ran"),
    ],
)
def test_overlap_decides_beside_earlier_runs(overlap: Any, waiting: int, running: int, expected: str) -> None:
    """`skip` wants nothing before it, `queue_one` nothing waiting, `allow` does not mind."""
    now = NOON + timedelta(minutes=15)
    assert outcomes(quarterly(overlap=overlap), now, last=NOON, waiting=waiting, running=running) == [expected]


def test_slots_of_one_call_see_each_other() -> None:
    """Two slots caught up at once do not both run where runs must not overlap."""
    now = NOON + timedelta(minutes=30)
    assert outcomes(quarterly(catchup="all"), now, last=NOON) == ["late", "skipped_overlap"]


def test_a_pause_by_hand_is_an_outcome() -> None:
    """A paused schedule records what it skips."""
    assert outcomes(quarterly(), NOON + timedelta(minutes=15), last=NOON, paused=True) == ["skipped_paused"]


def test_failures_pause_and_the_pause_probes_itself() -> None:
    """After n failures slots are skipped, then one is tried; with each failure the gap doubles, up to 64 slots."""
    plan = quarterly(pause_after_failures=3)
    now = NOON + timedelta(minutes=15)
    assert outcomes(plan, now, last=NOON, failures=2) == ["ran"]
    assert outcomes(plan, now, last=NOON, failures=3) == ["skipped_paused"]
    assert outcomes(plan, now, last=NOON, failures=3, skipped=1) == ["ran"]
    assert outcomes(plan, now, last=NOON, failures=5, skipped=3) == ["skipped_paused"]
    assert outcomes(plan, now, last=NOON, failures=5, skipped=4) == ["ran"]
    assert outcomes(plan, now, last=NOON, failures=99, skipped=64) == ["ran"]


def test_jitter_is_fixed_and_inside_its_bound() -> None:
    """A schedule fires later than its slot by an amount of its own, the same each time."""
    plan = daily(jitter=Duration("2m"))
    late = schedule.offset("daily_full_sync", plan)
    assert timedelta() < late < timedelta(minutes=2)
    assert late == schedule.offset("daily_full_sync", plan)
    assert late != schedule.offset("another", plan)
    slot = at("2026-11-22T02:00:00+00:00")
    assert outcomes(plan, slot + late - timedelta(milliseconds=1), "daily_full_sync", last=NOON) == []
    assert outcomes(plan, slot + late, "daily_full_sync", last=NOON) == ["ran"]


def test_a_disabled_schedule_decides_nothing() -> None:
    """What is switched off has no slots."""
    assert outcomes(quarterly(enabled=False), NOON + timedelta(days=1), last=NOON) == []


@given(
    st.integers(0, 10**6),
    st.integers(1, 10**5),
    st.sampled_from(["skip", "queue_one", "allow"]),
    st.sampled_from(["latest", "all", "skip"]),
)
def test_every_slot_has_exactly_one_outcome(start: int, length: int, overlap: Any, catchup: Any) -> None:
    """However the time is cut into calls, each slot is decided once and in order."""
    plan = quarterly(overlap=overlap, catchup=catchup, jitter=Duration("1m"))
    last = schedule.latest(plan, NOON + timedelta(seconds=start))
    now = NOON + timedelta(seconds=start + length)
    decided = [decision.slot for decision in schedule.decide("x", plan, Standing(last=last), now)]
    moment = now - schedule.offset("x", plan)
    expected = [slot for slot in schedule.following(plan, last, length // 900 + 3) if slot <= moment]
    assert decided == expected[: schedule.MOST_AT_ONCE]


# --- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either cron or every"),
        ({"cron": "0 2 * * *", "every": Duration("1h")}, "either cron or every"),
        ({"every": Duration("0s")}, "at most once a second"),
        ({"cron": "0 25 * * *"}, '"0 25 \\* \\* \\*" is no cron expression: bad hour'),
        ({"cron": "x"}, "is no cron expression"),
        ({"cron": "0 2 * * *", "timezone": "Asia/Bagdad"}, "there is no timezone Asia/Bagdad"),
        ({"cron": "0 2 * * *", "timezone": "/etc/passwd"}, "there is no timezone"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(options: Any, message: str) -> None:
    """Wrong expressions and zones are found when the configuration is read."""
    with pytest.raises(ValueError, match=message):
        Schedule(run="x", **options)


def test_a_schedule_describes_itself() -> None:
    """What a person reads in a list."""
    assert schedule.describe(daily(timezone="Asia/Baghdad")) == "0 2 * * * (Asia/Baghdad)"
    assert schedule.describe(quarterly()) == "every 15m"
    assert ZoneInfo(daily(timezone="Asia/Baghdad").timezone)


# --- a long time


DAYS = 400
BEGIN = datetime(2026, 1, 15, tzinfo=UTC)
STEPS = (timedelta(hours=7), timedelta(hours=5, minutes=13), timedelta(minutes=-90), timedelta(hours=11, seconds=59))
"""How the clock goes: never as the slots do, and now and then backwards."""


def lived(name: str, plan: Schedule) -> list[datetime]:
    """The slots that ran while a clock that is set back again and again went on for 400 days."""
    standing, now, ran = Standing(last=schedule.latest(plan, BEGIN)), BEGIN, list[datetime]()
    for step in itertools.cycle(STEPS):
        now += step
        for decision in schedule.decide(name, plan, standing, min(now, BEGIN + timedelta(days=DAYS))):
            assert decision.runs, decision
            ran.append(decision.slot)
            standing = Standing(last=decision.slot)
        if now > BEGIN + timedelta(days=DAYS):
            return ran
    raise AssertionError


def patient(zone: str) -> dict[str, Schedule]:
    """The default schedules, so that every slot runs however late it is."""
    more = {"timezone": zone, "catchup": "all", "catchup_window": "2d", "overlap": "allow"}
    return {
        name: msgspec.convert(said | more, Schedule, dec_hook=decode_own) for name, said in schedules.DEFAULTS.items()
    }


@pytest.mark.no_cover
@pytest.mark.parametrize("zone", [BERLIN, "America/Santiago", "Asia/Baghdad"])
def test_in_400_days_each_slot_of_each_default_schedule_runs_once(zone: str) -> None:
    """Every hour, quarter and local day has its slots, over all changes of the clocks, and no slot comes twice."""
    local = ZoneInfo(zone)
    offsets = [(BEGIN + timedelta(days=day)).astimezone(local).utcoffset() for day in range(DAYS)]
    assert sum(before != after for before, after in itertools.pairwise(offsets)) == (0 if "Baghdad" in zone else 2)
    for name, plan in patient(zone).items():
        ran = lived(name, plan)
        gaps = {later - earlier for earlier, later in itertools.pairwise(ran)}
        assert min(gaps) > timedelta()
        if plan.every is not None or plan.cron == "0 * * * *":
            step = timedelta(seconds=plan.every or 3600)
            assert gaps == {step}
            assert abs(len(ran) - timedelta(days=DAYS) // step) <= 1
            continue
        hours = str(plan.cron).split()[1].split(",")
        days = Counter(slot.astimezone(local).date() for slot in ran)
        whole = sorted(days)[1:-1]
        assert whole == [whole[0] + timedelta(days=day) for day in range(len(whole))]
        assert len(whole) >= DAYS - 2
        assert {days[day] for day in whole} == {len(hours)}
        moved = [slot for slot in ran if str(slot.astimezone(local).hour) not in hours]
        assert len(moved) == (1 if (zone, hours) == (BERLIN, ["2"]) else 0)  # one night has no 02:00


def test_a_pause_by_failures_tries_itself_every_six_hours() -> None:
    """A daily schedule that failures have paused tries every slot, one of every quarter at least each sixth hour."""
    now = at("2026-11-22T02:00+00:00")
    standing = {"last": NOON, "failures": 9, "skipped": 1}
    assert outcomes(daily(pause_after_failures=1), now, tried=now - timedelta(days=1), **standing) == ["ran"]
    plan, now = quarterly(pause_after_failures=1), NOON + timedelta(minutes=15)
    assert outcomes(plan, now, tried=now - timedelta(hours=5), **standing) == ["skipped_paused"]
    assert outcomes(plan, now, tried=now - timedelta(hours=6), **standing) == ["ran"]


@pytest.mark.parametrize(("catchup", "runs"), [("latest", 1), ("all", 3), ("skip", 0)])
def test_three_missed_slots_run_by_policy(catchup: Any, runs: int) -> None:
    """One, three or none of them runs, and each of the three has its outcome."""
    found = outcomes(quarterly(catchup=catchup), NOON + timedelta(minutes=50), last=NOON)
    assert len(found) == 3
    assert found.count("late") == runs
    assert found.count("skipped_catchup") == 3 - runs
