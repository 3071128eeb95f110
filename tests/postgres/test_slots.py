"""Slots over time and over nodes: simulated clocks, killed leaders, outages, changed times, and work of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from actors import healings, reports, schedules, ticker
from actors.alerting import conditions
from actors.alerting.conditions import Conditions
from actors.bell import Bell
from actors.healer import Healer, Options, Retention
from actors.ticker import Action
from tds_runtime import running, runs, schedule
from tds_runtime.database import Connection, Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.leader import Leader
from tds_runtime.metrics import Metrics
from tds_runtime.queue import Queue
from tds_runtime.schedule import Schedule
from tds_runtime.values import Duration

pytestmark = pytest.mark.anyio

ACTIONS = schedules.actions(Bell(()))
QUARTER = timedelta(minutes=15)


def quarterly(**options: Any) -> dict[str, Schedule]:
    return {"stock": Schedule(run="pull.stock", every=Duration("15m"), **options)}


def node(database: Database, name: str = "one") -> Leader:
    return Leader(database, name=ticker.OFFICE, boot_id=name, lease=ticker.LEASE)


async def present(database: Database) -> datetime:
    """The newest quarter of an hour by the database's clock."""
    now: datetime = await database.fetchval("SELECT now()")
    return schedule.latest(quarterly()["stock"], now)


async def tick(database: Database, plans: Mapping[str, Schedule], now: datetime, name: str = "one") -> ticker.Tick:
    return await ticker.tick(database, plans, ACTIONS, node(database, name), now=now)


async def outcomes(database: Database, name: str = "stock") -> list[str]:
    """Of all slots but the one at which the schedule began."""
    rows = await database.fetch("SELECT outcome FROM tds_slots WHERE schedule = $1 ORDER BY slot OFFSET 1", name)
    return [row["outcome"] for row in rows]


async def lead_lapses(database: Database) -> None:
    await database.execute("UPDATE tds_leaders SET renewed_at = now() - interval '1 minute'")


# --- time


@pytest.mark.parametrize(
    ("zone", "night"),
    [("Europe/Berlin", "2026-10-25"), ("America/Santiago", "2026-09-06"), ("Asia/Baghdad", "2026-10-25")],
)
async def test_when_the_clocks_change_each_slot_has_one_row_and_one_run(
    database: Database, zone: str, night: str
) -> None:
    """A day around the change, with a clock that jumps back twice: slots and runs are those of the pure computation."""
    plans = {
        "nightly": Schedule(run="pull.full", cron="30 2 * * *", timezone=zone, catchup="all", overlap="allow"),
        "hourly": Schedule(run="pull.incremental", cron="0 * * * *", timezone=zone, catchup="all", overlap="allow"),
    }
    begin = datetime.fromisoformat(night).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC) - timedelta(hours=6)
    await tick(database, plans, begin)
    now, end = begin + timedelta(hours=2), begin + timedelta(hours=26)
    while now < end:
        for moment in (now, now - timedelta(minutes=70), now):
            await tick(database, plans, moment)
        now += timedelta(hours=2, minutes=10)
    last = now - timedelta(hours=2, minutes=10)
    for name, plan in plans.items():
        expected = [slot for slot in schedule.following(plan, begin, 40) if slot <= last]
        rows = await database.fetch(
            "SELECT s.slot, s.outcome, count(r.id) AS runs FROM tds_slots AS s LEFT JOIN tds_sync_runs AS r "
            "USING (schedule, slot) WHERE s.schedule = $1 AND s.slot > $2 GROUP BY 1, 2 ORDER BY 1",
            name, begin,
        )  # fmt: skip
        assert [row["slot"] for row in rows] == expected
        assert {row["runs"] for row in rows} == {1}
        assert {row["outcome"] for row in rows} <= {"ran", "late"}
    assert len(expected) >= 24


async def test_a_clock_that_goes_back_fires_nothing_twice(database: Database) -> None:
    """Ten minutes, an hour and a day back, and on again: one run a slot."""
    now = await present(database)
    await tick(database, quarterly(), now - timedelta(hours=25))
    await tick(database, quarterly(), now)
    before = await outcomes(database)
    for back in (10, 60, 24 * 60, 0):
        assert (await tick(database, quarterly(), now - timedelta(minutes=back))).started == ()
    assert await outcomes(database) == before
    assert (len(before), before.count("ran")) == (100, 1)
    assert await database.fetchval("SELECT count(*) FROM tds_sync_runs") == 1


@pytest.mark.parametrize(("catchup", "ran"), [("latest", 1), ("all", 3), ("skip", 0)])
async def test_three_missed_slots_run_by_policy(database: Database, catchup: Any, ran: int) -> None:
    """One, three or no runs, and an outcome for each of the three."""
    now = await present(database)
    await tick(database, quarterly(catchup=catchup), now)
    await tick(database, quarterly(catchup=catchup), now + 3 * QUARTER + timedelta(minutes=5))
    found = await outcomes(database)
    assert (len(found), found.count("late"), found.count("skipped_catchup")) == (3, ran, 3 - ran)
    assert await database.fetchval("SELECT count(*) FROM tds_sync_runs") == ran


async def test_what_was_no_slot_is_not_caught_up(database: Database) -> None:
    """Other times, and being switched on again, let a schedule begin anew instead of making up for what never was."""
    now = await present(database)
    seldom = quarterly(catchup="all", overlap="allow")
    await tick(database, seldom, now)
    often = {"stock": Schedule(run="pull.stock", every=Duration("1m"), catchup="all")}
    await tick(database, often, now + timedelta(minutes=9))
    assert (await tick(database, often, now + timedelta(minutes=10))).started == ("stock",)
    await tick(database, quarterly(enabled=False), now + 4 * QUARTER)
    assert (await tick(database, seldom, now + 8 * QUARTER)).started == ()
    assert (await tick(database, seldom, now + 9 * QUARTER)).started == ("stock",)
    assert await database.fetchval("SELECT count(*) FROM tds_sync_runs") == 2


# --- nodes


async def test_one_node_ticks_and_its_successor_has_another_epoch(database: Database) -> None:
    """A slot names the term in which it was decided; another node ticks when the lease is over, not before."""
    now = await present(database)
    assert (await tick(database, quarterly(), now)).epoch == 1
    assert (await tick(database, quarterly(), now + QUARTER, "two")).epoch is None
    await lead_lapses(database)
    assert (await tick(database, quarterly(), now + QUARTER, "two")).epoch == 2
    rows = await database.fetch("SELECT epoch FROM tds_slots ORDER BY slot")
    assert [row["epoch"] for row in rows] == [1, 2]


async def test_nobody_waits_for_a_leader_that_is_frozen_in_its_transaction(database: Database) -> None:
    """While its transaction is open others learn at once that they do not lead, also when its lease is over."""
    now = await present(database)
    await tick(database, quarterly(), now)
    await lead_lapses(database)
    async with database.transaction() as frozen:
        assert await node(database).hold(frozen) == 1
        assert (await tick(database, quarterly(), now + QUARTER, "two")).epoch is None
    await lead_lapses(database)
    assert (await tick(database, quarterly(), now + QUARTER, "two")).epoch == 2


async def test_a_leader_killed_at_the_tick_costs_no_slot_and_repeats_none(database: Database) -> None:
    """Killed before its commit the other node runs the slot; killed after it, before the wake-up, the run is there."""
    now = await present(database)
    await tick(database, quarterly(), now)

    async def killed(connection: Connection, **_: Any) -> int | None:
        await database.execute("SELECT pg_terminate_backend($1)", await connection.fetchval("SELECT pg_backend_pid()"))
        await connection.execute("SELECT 1")
        return None

    with pytest.raises(DatabaseGone):
        await ticker.tick(
            database, quarterly(), {"pull.stock": Action(killed, lambda: None)}, node(database), now=now + QUARTER
        )
    assert await outcomes(database) == []
    await lead_lapses(database)
    assert (await tick(database, quarterly(), now + QUARTER, "two")).started == ("stock",)
    await lead_lapses(database)  # and this one dies here, before it wakes anybody
    assert (await tick(database, quarterly(), now + QUARTER, "three")).started == ()
    assert await outcomes(database) == ["ran"]
    claimed = await running.claim(database, "three", 9)
    assert [run.schedule for run in claimed] == ["stock"]
    assert await running.claim(database, "three", 9) == []


# --- what the work comes to


async def test_an_outage_of_75_minutes_pauses_nothing(database: Database) -> None:
    """The run is put off and keeps its slot; the five that come meanwhile are overlaps, and the sixth runs."""
    plans, now = quarterly(pause_after_failures=1), await present(database)
    await tick(database, plans, now)
    await tick(database, plans, now + QUARTER)
    await database.execute("UPDATE tds_sync_runs SET requested_at = requested_at - interval '75 minutes'")
    [run] = await running.claim(database, "one", 1)
    await running.release(database, [run], run.started_at + timedelta(minutes=75))
    for quarter in range(2, 7):
        await tick(database, plans, now + quarter * QUARTER)
    await database.execute(
        "UPDATE tds_sync_runs SET available_at = NULL, started_at = started_at - interval '75 minutes'"
    )
    [run] = await running.claim(database, "one", 1)
    await tick(database, plans, now + 6 * QUARTER)  # an hour is its timeout, and it was not at work for an hour
    await running.complete(database, run)
    await tick(database, plans, now + 7 * QUARTER)
    assert await outcomes(database) == ["ran", *["skipped_overlap"] * 5, "ran"]
    assert await database.fetchval("SELECT bool_or(status = 'cancelled') FROM tds_sync_runs") is False


async def test_a_run_of_everything_is_not_overdue_while_its_parts_are_put_off(database: Database) -> None:
    """What the part that waited longest was put off counts; without it the same run is too long."""
    plans, now = quarterly(), await present(database)
    await tick(database, plans, now)
    await tick(database, plans, now + QUARTER)
    [whole] = await running.claim(database, "one", 1)
    async with database.transaction() as connection:
        await running.expand(connection, whole, ["product"])
    await database.execute("UPDATE tds_sync_runs SET started_at = now() - interval '90 minutes', put_off = '0'")
    await database.execute("UPDATE tds_sync_runs SET put_off = '75 minutes' WHERE parent_id IS NOT NULL")
    await tick(database, plans, now + QUARTER)
    assert await outcomes(database) == ["ran"]
    await database.execute("UPDATE tds_sync_runs SET put_off = '20 minutes' WHERE parent_id IS NOT NULL")
    for _ in range(2):
        await tick(database, plans, now + QUARTER)
    assert await outcomes(database) == ["failed"]


async def test_healings_and_comparisons_are_work_like_runs(database: Database) -> None:
    """Their slots commit with a row, overlap while it is open, and fail with it; a round that nobody wakes is found."""
    plans = {
        "auto_healing": Schedule(run="heal", every=Duration("15m")),
        "daily_statistics": Schedule(run="compare", every=Duration("15m")),
    }
    now = await present(database)
    for quarter in range(3):
        await tick(database, plans, now + quarter * QUARTER)
    assert await outcomes(database, "auto_healing") == ["ran", "skipped_overlap"]
    assert await outcomes(database, "daily_statistics") == ["ran", "skipped_overlap"]
    queue = Queue(database, boot_id="one")
    assert {("all", "heal"), ("all", "report")} <= await queue.tick()
    healer = Healer(database, queue, Metrics(), options=Options(), retention=Retention())
    await healer.heal_asked()
    async with database.transaction() as connection:
        await reports.cancel(connection, await connection.fetchval("SELECT id FROM tds_reconciliation_reports"), "why")
    assert ("all", "heal") not in await queue.tick()
    await tick(database, plans, now + 3 * QUARTER)
    assert await outcomes(database, "auto_healing") == ["ran", "skipped_overlap", "ran"]
    assert await outcomes(database, "daily_statistics") == ["failed", "skipped_overlap", "ran"]


async def test_a_round_whose_healer_died_goes_on_elsewhere_or_ends_as_overdue(database: Database) -> None:
    """A dead node's round is taken over; one that takes too long is ended, and then stores nothing."""
    async with database.transaction() as connection:
        asked = await healings.request(connection, "test", schedule="auto_healing", slot=await present(database))
    assert await healings.begin(database, "dead", "d") == asked
    queue = Queue(database, boot_id="two")
    assert ("all", "heal") in await queue.tick()
    healer = Healer(database, queue, Metrics(), options=Options(), retention=Retention())
    await healer.heal_asked()
    assert await database.fetchval("SELECT status FROM tds_healer_runs") == "completed"
    async with database.transaction() as connection:
        await healings.request(connection, "test", schedule="auto_healing", slot=await present(database) - QUARTER)
    assert await healings.begin(database, "two", "") is not None
    await database.execute(
        "UPDATE tds_healer_runs SET started_at = now() - interval '2 hours' WHERE status = 'running'"
    )
    await tick(database, {"auto_healing": Schedule(run="heal", every=Duration("15m"))}, await present(database))
    rows = await database.fetch("SELECT status FROM tds_healer_runs ORDER BY id")
    assert [row["status"] for row in rows] == ["completed", "cancelled"]
    await healer.heal_asked()
    assert await database.fetchval("SELECT count(*) FROM tds_healer_runs") == 2


async def test_no_success_by_its_grace_is_an_alert_and_one_alert(database: Database) -> None:
    """A run that does not end, or that failed: one alert for the schedule, over with its next success."""
    plans, now = quarterly(), await present(database)
    limits = Conditions(graces={"stock": Duration("20m")})
    await tick(database, plans, now)
    await tick(database, plans, now + QUARTER)
    assert await conditions.watch(database, limits) == []
    await database.execute(
        "UPDATE tds_slots SET slot = slot - interval '1 hour', decided_at = now() - interval '21 minutes'"
    )
    [opened] = await conditions.watch(database, limits)
    assert (opened.alert_type, opened.title) == ("schedule_failed", "Schedule stock has had no success")
    await database.execute("UPDATE tds_slots SET outcome = 'failed' WHERE outcome = 'ran'")
    assert await conditions.watch(database, limits) == []
    await database.execute("UPDATE tds_slots SET outcome = 'ran' WHERE outcome = 'failed'")
    await database.execute("UPDATE tds_sync_runs SET status = 'completed', completed_at = now()")
    await conditions.watch(database, limits)
    assert await database.fetchval("SELECT count(*) FROM tds_alerts WHERE resolved_at IS NULL") == 0


async def test_every_default_schedule_asks_for_work_that_is_found(database: Database) -> None:
    """Whatever a default starts is in the view of scheduled work, under its schedule and slot, and can be ended."""
    slot = await present(database)
    for name, said in schedules.DEFAULTS.items():
        action = ACTIONS[said["run"]]
        async with database.transaction() as connection:
            await action.start(connection, schedule=name, slot=slot, args={})
            row = await connection.fetchrow("SELECT work, id FROM tds_scheduled_work WHERE schedule = $1", name)
            assert row is not None
            assert row["work"] == action.work
            await action.cancel(connection, row["id"], "by a test")
            status = "SELECT status FROM tds_scheduled_work WHERE schedule = $1 AND slot = $2"
            assert await connection.fetchval(status, name, slot) == "cancelled"
    assert msgspec.json.encode(await runs.recent(database))
