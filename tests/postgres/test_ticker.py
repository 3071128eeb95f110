from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from actors import ticker
from actors.ticker import Action, Tick
from tds_runtime import Context
from tds_runtime.database import Connection, Database
from tds_runtime.leader import Leader
from tds_runtime.schedule import Schedule
from tds_runtime.values import Duration

pytestmark = pytest.mark.anyio

NEVER = "0 0 29 2 *"


class Runs:
    """Makes run rows, as the pulls do, and counts the wake-ups."""

    def __init__(self) -> None:
        self.wakes = 0

    async def start(
        self, connection: Connection, *, schedule: str, slot: datetime, args: Mapping[str, Any]
    ) -> int | None:
        run_id: int = await connection.fetchval(
            "INSERT INTO tds_sync_runs (entity_type, kind, requested_by, schedule, slot) "
            "VALUES ($1, 'full', 'schedule', $2, $3) RETURNING id",
            args.get("entity", "all"),
            schedule,
            slot,
        )
        return run_id

    def wake(self) -> None:
        self.wakes += 1

    @property
    def actions(self) -> dict[str, Action]:
        return {"pull.full": Action(self.start, self.wake)}


def due(**options: Any) -> dict[str, Schedule]:
    """A schedule whose only slots so far are the epoch and ten seconds ago."""
    return {"often": Schedule(run="pull.full", every=Duration(int(time.time()) - 10), **options)}


def minutely(**options: Any) -> dict[str, Schedule]:
    return {"often": Schedule(run="pull.full", every=Duration("1m"), **options)}


async def tick(database: Database, schedules: Any, actions: Any, node: str = "one", **more: Any) -> Tick:
    """One look of one node."""
    return await ticker.tick(database, schedules, actions, leader(database, node), **more)


def leader(database: Database, node: str = "one") -> Leader:
    return Leader(database, name=ticker.OFFICE, boot_id=node, lease=ticker.LEASE)


async def seen(database: Database, minutes: float | None = None) -> None:
    """The schedule was decided last so many minutes ago, or at the epoch."""
    await database.execute("INSERT INTO tds_schedules (name, timing) VALUES ('often', '') ON CONFLICT DO NOTHING")
    await database.execute(
        "INSERT INTO tds_slots (schedule, slot, outcome) VALUES ('often', "
        "coalesce(date_trunc('minute', now()) - $1::float8 * interval '1 minute', 'epoch'), 'ran')",
        minutes,
    )


async def outcomes(database: Database) -> list[str]:
    rows = await database.fetch("SELECT outcome FROM tds_slots ORDER BY slot OFFSET 1")
    return [row["outcome"] for row in rows]


async def runs(database: Database) -> list[tuple[str, datetime]]:
    rows = await database.fetch("SELECT schedule, slot FROM tds_sync_runs WHERE parent_id IS NULL ORDER BY id")
    return [(row["schedule"], row["slot"]) for row in rows]


async def test_a_schedule_seen_first_begins_now(database: Database) -> None:
    """A new schedule runs at its next slot, and its beginning is on record so that no later slot can be lost."""
    made = Runs()
    found = await tick(database, due(), made.actions)
    assert found.started == ()
    assert 0 < found.sleep <= ticker.LONGEST_SLEEP
    assert await database.fetchval("SELECT detail FROM tds_slots") == "the schedule was seen for the first time"
    assert await runs(database) == []


async def test_a_slot_and_its_run_are_one(database: Database) -> None:
    """A due slot has its outcome, its run, and the run names schedule and slot."""
    await seen(database)
    found = await tick(database, due(), Runs().actions)
    assert found.started == ("often",)
    row = await database.fetchrow("SELECT slot, outcome, run_id FROM tds_slots ORDER BY slot DESC LIMIT 1")
    assert row is not None
    assert row["outcome"] == "ran"
    assert await runs(database) == [("often", row["slot"])]
    assert row["run_id"] == await database.fetchval("SELECT id FROM tds_sync_runs")


async def test_a_slot_is_decided_once_by_many_nodes(database: Database) -> None:
    """Eight nodes that tick at once make one run."""
    await seen(database)
    found: list[str] = []

    async def node(name: str) -> None:
        found.extend((await tick(database, due(), Runs().actions, name)).started)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(node, str(number))
    assert found == ["often"]
    assert len(await runs(database)) == 1


async def test_what_is_switched_off_leaves_no_trace(database: Database) -> None:
    """No slot of it is decided: nothing is said of it at a start, nothing is caught up when it is on again."""
    assert (await tick(database, due(enabled=False), Runs().actions)).started == ()
    assert await database.fetchval("SELECT count(*) FROM tds_slots") == 0


async def test_a_failed_start_leaves_the_slot_to_the_next_tick(database: Database) -> None:
    """When the run cannot be made, the slot is not decided either."""

    async def broken(connection: Connection, **_: Any) -> int | None:
        await connection.execute("SELECT 1 / 0")
        return None

    await seen(database)
    with pytest.raises(Exception, match="division by zero"):
        await tick(database, due(), {"pull.full": Action(broken, Runs().wake)})
    assert await outcomes(database) == []
    assert (await tick(database, due(), Runs().actions)).started == ("often",)


async def test_missed_slots_are_caught_up_and_recorded(database: Database) -> None:
    """After ten minutes away the newest slot runs and each of the others has an outcome."""
    await seen(database, 10)
    await tick(database, minutely(), Runs().actions)
    found = await outcomes(database)
    assert set(found[:-1]) == {"skipped_catchup"}
    assert len(found) >= 10
    assert found[-1] == "ran"


async def test_a_run_that_goes_on_holds_back_the_next_slot(database: Database) -> None:
    """A slot that comes while the run before it has not ended is recorded as overlapping."""
    await seen(database)
    await database.execute(
        "INSERT INTO tds_sync_runs (entity_type, kind, schedule, status) VALUES ('all', 'full', 'often', 'running')"
    )
    await tick(database, due(), Runs().actions)
    assert await outcomes(database) == ["skipped_overlap"]


async def test_a_failed_run_fails_its_slot_and_failures_pause(database: Database) -> None:
    """The slot of a failed run becomes failed, and after enough of them the schedule holds back."""
    run_id = await database.fetchval(
        "INSERT INTO tds_sync_runs (entity_type, kind, schedule, slot, status) "
        "VALUES ('all', 'full', 'often', date_trunc('minute', now()) - interval '10 minutes', 'failed') RETURNING id"
    )
    await seen(database, 10)
    await tick(database, minutely(pause_after_failures=1), Runs().actions)
    rows = await database.fetch("SELECT outcome, detail FROM tds_slots ORDER BY slot")
    assert (rows[0]["outcome"], rows[0]["detail"]) == ("failed", f"run {run_id} failed")
    assert (rows[-1]["outcome"], rows[-1]["detail"]) == ("skipped_paused", "1 failures in a row")


async def test_a_run_that_takes_too_long_is_cancelled_and_fails_its_slot(database: Database) -> None:
    """A run beyond the timeout of its schedule is cancelled, and the slot it belongs to becomes failed."""
    run_id = await database.fetchval(
        "INSERT INTO tds_sync_runs (entity_type, kind, schedule, slot, status, started_at) "
        "VALUES ('all', 'full', 'often', 'epoch', 'running', now() - interval '61 minutes') RETURNING id"
    )
    await seen(database)
    await tick(database, due(timeout=Duration("2h")), Runs().actions)
    assert await database.fetchval("SELECT status FROM tds_sync_runs WHERE id = $1", run_id) == "running"
    await tick(database, due(timeout=Duration("1h")), Runs().actions)
    assert await database.fetchval("SELECT status FROM tds_sync_runs WHERE id = $1", run_id) == "cancelled"
    assert await database.fetchval("SELECT outcome FROM tds_slots ORDER BY slot LIMIT 1") == "failed"


async def test_a_pause_by_hand_is_obeyed(database: Database) -> None:
    """A paused schedule starts nothing and says so in its slots."""
    await seen(database)
    await database.execute("INSERT INTO tds_configuration (key, value) VALUES ('schedule.often.paused', '{}')")
    assert (await tick(database, due(), Runs().actions)).started == ()
    assert await outcomes(database) == ["skipped_paused"]


async def test_a_clock_that_was_ahead_loses_no_slot_and_repeats_none(database: Database) -> None:
    """Slots decided a day ahead of time are not run again, and those between are not skipped over."""
    await seen(database)
    await seen(database, -24 * 60)
    await tick(database, due(), Runs().actions)
    rows = await database.fetch("SELECT outcome FROM tds_slots WHERE slot <= now() ORDER BY slot DESC LIMIT 1")
    assert [row["outcome"] for row in rows] == ["ran"]


async def test_the_actor_wakes_after_the_commit_and_stops_at_once(database: Database) -> None:
    """The actor starts the run, wakes whoever does it, and ends when it is asked to."""
    made = Runs()
    await seen(database)
    ctx = Context("tds/ticker")
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:

            async def live() -> None:
                await ticker.ticker.function(
                    ctx,
                    database=database,
                    schedules=due() | {"rare": Schedule(run="pull.full", cron=NEVER)},
                    actions=made.actions,
                    boot_id="one",
                )

            tasks.start_soon(live)
            while not made.wakes:
                await anyio.lowlevel.checkpoint()
            ctx.stopping.set()
    assert made.wakes == 1
    assert len(await runs(database)) == 1


async def test_the_sleep_ends_at_the_next_slot() -> None:
    """The ticker sleeps until the nearest slot, jitter included, and not longer than its longest sleep."""
    now = datetime(2026, 11, 21, 12, 0, 55, tzinfo=UTC)
    (plan,) = minutely().values()
    assert ticker._until_next("often", plan, now) == 5
    (late,) = minutely(jitter=Duration("10s")).values()
    until = ticker._until_next("often", late, now)
    assert 0 < until < 60
    rare = Schedule(run="x", cron=NEVER)
    assert ticker._until_next("rare", rare, now) > timedelta(days=1).total_seconds()
