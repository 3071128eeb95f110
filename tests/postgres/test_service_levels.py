"""Service levels and trends told from real tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fixtures.line import Line

from actors import schedules
from actors.alerting.evaluation import evaluate
from actors.alerting.observations import Reader
from actors.configuration import Config
from actors.healer import Healer, Options, Retention
from actors.metrics_reporter import Reporter
from actors.service_levels import reading, trends
from actors.service_levels.levels import DEFAULTS, NAMES, Level
from tds_runtime import config, sql
from tds_runtime.database import Database
from tds_runtime.intake import Delivery, store
from tds_runtime.metrics import Metrics
from tds_runtime.nodes import Node
from tds_runtime.queue import Change, Completion, Failure, Queue, Selection
from tds_runtime.values import Duration

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]

DONE = """
INSERT INTO tds_sync_queue (entity_type, source_entity_id, status, enqueued_at, processing_started_at, completed_at,
                            last_inbox_id)
SELECT $1, md5(random()::text), 'completed', moment.at - took, moment.at - took / 2, moment.at, 1
  FROM generate_series(1, $2) AS n,
       LATERAL (SELECT now() - $3::float8 * interval '1 s' AS at, $4::float8 * interval '1 s' AS took) AS moment
"""
ALERT = """
INSERT INTO tds_alerts (alert_type, severity, title, cause, first_seen_at, created_at, resolved_at, acknowledged_at,
                        notified_at)
SELECT $1, 'error', 't', $2, now() - $3::float8 * interval '1 s', now() - $3::float8 * interval '1 s',
       now() - $4::float8 * interval '1 s', now() - $5::float8 * interval '1 s', now() - $3::float8 * interval '1 s'
"""


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, boot_id="test")


async def now(database: Database, **more: Any) -> dict[str, Level]:
    return {level.name: level for level in (await reading.report(database, DEFAULTS, **more)).levels}


async def bury(queue: Queue, *records: str) -> None:
    async with queue.database.transaction() as connection:
        await queue.enqueue(
            connection, [Change(entity_type="product", source_entity_id=record, payload=b"{}") for record in records]
        )
    tasks = await queue.claim(["product"])
    await queue.bury(
        [Failure(id=task.id, fence=task.fence, error_code="no_name", error_message="no name") for task in tasks]
    )


async def test_the_success_rate_is_of_tasks_that_ended(database: Database, queue: Queue) -> None:
    """A task that was buried twice is one that failed, also once a person has resolved it."""
    await database.execute(DONE, "product", 998, 60.0, 0.5)
    await bury(queue, "1", "2")
    await queue.retry_dead(Selection(), by="tester")
    tasks = await queue.claim(["product"])
    await queue.bury([Failure(id=task.id, fence=task.fence, error_code="again", error_message="") for task in tasks])
    level = (await now(database))["sync_success_rate"]
    assert (level.value, level.sample, level.met) == (99.8, 1000, True)


async def test_the_latency_is_from_the_webhook_to_the_row(database: Database, queue: Queue) -> None:
    """By what was stored of real deliveries, before and after the minutes are summed up; pulled tasks are not in it."""
    await database.execute(DONE, "product", 94, 300.0, 0.2)
    await database.execute(DONE, "invoice", 6, 300.0, 3.0)
    before = await now(database)
    for _ in range(2):  # a day at a time, and yesterday has a partition, too
        await database.execute("SELECT tds_sum_up_finished()")
    assert await database.fetchval("SELECT sum(tasks) FROM tds_duration_minutes WHERE kind = 'delivery'") == 100
    await database.execute("DELETE FROM tds_sync_queue_done")
    for levels in (before, await now(database)):
        p50, p95, p99 = (levels[f"webhook_latency_p{share}"] for share in (50, 95, 99))
        assert 0.2 <= (p50.value or 0) <= 0.22
        assert 3.0 <= (p95.value or 0) <= 3.3
        assert (p95.met, p99.met, p95.sample) == (False, True, 100)
    [event] = [Delivery(
        source="zoho", entity_type="product", source_entity_id="7", operation="upsert", modified_at=None, body=b"{}",
        content_type="", query="", correlation_id="", event_id="e7",
    )]  # fmt: skip
    await store(database, [event])
    async with database.transaction() as connection:
        await queue.enqueue(connection, [Change(entity_type="product", source_entity_id="8", payload=b"{}")])
    tasks = await queue.claim(["product"])
    async with database.transaction() as connection:
        await queue.complete(
            connection, [Completion(id=task.id, fence=task.fence, outcome="applied") for task in tasks]
        )
    assert (await now(database))["webhook_latency_p50"].sample == 101


async def test_the_availability_is_of_minutes_since_the_first_mark(database: Database) -> None:
    """A minute without a mark was none, whoever is to blame; the present one counts once it is marked."""
    assert (await now(database))["availability"].note == "no data yet"
    mark = "INSERT INTO tds_available_minutes SELECT date_trunc('minute', now()) - $1 * interval '1 minute', 'here'"
    await database.execute(mark, 0)
    assert (await now(database))["availability"].value == 100.0
    for minute in (*range(1, 100), 199):
        await database.execute(mark, minute)
    level = (await now(database))["availability"]
    assert (level.sample, level.value, level.met) == (200, 50.5, False)
    hour = (await now(database, window=Duration("1h")))["availability"]
    assert (hour.value, hour.sample) == (100.0, 61)


async def test_a_mark_is_a_write_and_says_when_the_next_is_due(database: Database) -> None:
    """Two nodes in one minute leave one row; the pause ends with the minute of the database."""
    statement = sql.load("service_levels/mark", package="actors")
    for node in ("one", "two"):
        assert 0 <= await database.fetchval(statement, node, pool="ingest") <= 60
    rows = await database.fetch("SELECT minute = date_trunc('minute', minute), node FROM tds_available_minutes")
    assert {tuple(row) for row in rows} <= {(True, "one"), (True, "two")}
    assert len(rows) in {1, 2}  # two when the minute changed in between


async def test_slots_count_when_they_ran_or_failed(database: Database) -> None:
    """What a schedule skips by its own rules is neither; a run that goes on is not judged yet."""
    run = await database.fetchval(
        "INSERT INTO tds_sync_runs (entity_type, kind, status) VALUES ('product', 'full', 'running') RETURNING id"
    )
    insert = "INSERT INTO tds_slots (schedule, slot, outcome, run_id) VALUES ($1, now(), $2, $3)"
    outcomes = ("ran", "late", "ran", "failed", "skipped_overlap", "skipped_catchup", "skipped_paused")
    for number, outcome in enumerate(outcomes):
        await database.execute(insert, f"schedule {number}", outcome, None)
    await database.execute(insert, "goes on", "ran", run)
    level = (await now(database))["scheduled_jobs"]
    assert (level.value, level.sample) == (75.0, 4)


async def test_faults_end_by_themselves_or_with_a_person(database: Database) -> None:
    """Who acknowledged an alert or acted while it was open had a hand in it; a missed level is no fault."""
    await database.execute(
        "INSERT INTO tds_faults (kind, subject, node, began_at, ended_at) "
        "VALUES ('crash', 'tds/work/product', 'here', now() - interval '62 s', now() - interval '60 s')"
    )
    await database.execute(ALERT, "breaker_open", "alone", 5000.0, 4902.0, None)
    await database.execute(ALERT, "breaker_open", "acknowledged", 600.0, 500.0, 550.0)
    await database.execute(ALERT, "dlq_overflow", "acted on", 400.0, 200.0, None)
    await database.execute(ALERT, "sync_lag", "too young", 60.0, None, None)
    await database.execute(ALERT, "service_level", "availability", 9000.0, None, None)
    await database.execute(
        "INSERT INTO tds_audit_trail (occurred_at, action, actor) "
        "VALUES (now() - interval '5 min', 'dead_letter.retry', 'boss')"
    )
    levels = await now(database)
    assert (levels["auto_recovery"].value, levels["auto_recovery"].sample) == (50.0, 4)
    assert levels["time_to_recovery"].value == pytest.approx((2 + 98 + 100 + 200) / 4, abs=0.1)
    await database.execute(ALERT, "queue_depth", "for hours", 7000.0, None, None)
    assert (await now(database))["auto_recovery"].value == 40.0


async def test_dead_letters_have_a_day(database: Database, queue: Queue) -> None:
    """One that nobody resolved within 24 hours was left for too long, however late it is resolved."""
    await bury(queue, *map(str, range(4)))
    levels = await now(database)
    assert (levels["dead_letters_resolved"].value, levels["dead_letters_open"].value) == (100.0, 4.0)
    age = "UPDATE tds_dead_letter_queue SET first_buried_at = now() - interval '25 hours' WHERE source_entity_id = '1'"
    await database.execute(age)
    assert (await now(database))["dead_letters_resolved"].value == 75.0
    await queue.discard_dead(Selection(), by="tester")
    levels = await now(database)
    assert (levels["dead_letters_resolved"].value, levels["dead_letters_open"].value) == (75.0, 0.0)


async def test_acknowledging_takes_time(database: Database) -> None:
    """From the opening to the acknowledgement; one that is told and left alone counts as it is, an ended one not."""
    await database.execute(ALERT, "a", "1", 200.0, None, 100.0)
    assert (await now(database))["time_to_acknowledge"].value == pytest.approx(100, abs=0.1)
    await database.execute(ALERT, "a", "2", 900.0, 800.0, None)
    await database.execute(ALERT, "a", "3", 500.0, None, None)
    level = (await now(database))["time_to_acknowledge"]
    assert (level.sample, level.value) == (2, pytest.approx(300, abs=0.1))


async def test_interventions_are_what_people_did(database: Database) -> None:
    """Not what the daemon did to records, and not looking: acknowledging and silencing change nothing."""
    insert = "INSERT INTO tds_audit_trail (action, actor) VALUES ($1, $2)"
    for action, actor in (
        ("run.request", "boss"), ("tree.kill", "boss"), ("alert.acknowledge", "boss"), ("silence.create", "boss"),
        ("reconciliation.repair", "boss"), ("update", "tds-runtime"), ("reconciliation.request", "schedule"),
    ):  # fmt: skip
        await database.execute(insert, action, actor)
    level = (await now(database))["manual_interventions"]
    assert (level.value, level.met) == (2.0, True)


async def test_a_round_of_the_healer_keeps_each_day_and_prunes(database: Database, queue: Queue) -> None:
    """Days since the last one that is kept are told again, the present one as often as asked; 400 days are kept."""
    work = Healer(database, queue, Metrics(), options=Options(), retention=Retention(), node="here")
    today = datetime.now(UTC).date()
    await database.execute(
        "INSERT INTO tds_available_minutes SELECT date_trunc('day', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' "
        "- n * interval '1 minute', 'here' FROM generate_series(1, 1440) AS n"
    )
    await database.execute(
        "INSERT INTO tds_service_levels VALUES ($1, 'availability', 1, 1, false, 1)", today - timedelta(401)
    )
    await database.execute("DELETE FROM tds_service_levels WHERE day > $1", today)
    assert (await work.keep_up()).rows_pruned["service_levels"] == 1
    report = await reading.report(database, DEFAULTS, days=3)
    days = {(kept.day, kept.level): kept for kept in report.days}
    yesterday = days[today - timedelta(1), "availability"]
    assert (yesterday.value, yesterday.sample, yesterday.met) == (100.0, 1440, True)
    assert days[today, "manual_interventions"].value == 0.0
    await database.execute("INSERT INTO tds_audit_trail (action, actor) VALUES ('queue.pause', 'boss')")
    assert await reading.keep_days(database, DEFAULTS) == 1
    [again] = [
        kept for kept in (await reading.report(database, DEFAULTS, days=1)).days if kept.level == "manual_interventions"
    ]
    assert again.value == 1.0


async def test_old_minutes_become_hours(database: Database, queue: Queue) -> None:
    """Two days later nobody asks for the minute; what was counted stays counted."""
    await database.execute(
        "INSERT INTO tds_duration_minutes SELECT date_trunc('hour', now()) - n * interval '15 minutes', 'delivery', "
        "'product', 7, 1, 2 FROM generate_series(0, 4 * 24 * 3 - 1) AS n"
    )
    work = Healer(database, queue, Metrics(), options=Options(), retention=Retention(), node="here")
    for _ in range(2):
        await work.keep_up()
    row = await database.fetchrow("SELECT count(*), sum(tasks), sum(seconds) FROM tds_duration_minutes")
    hours, minutes = 24, 4 * 48 + 1
    assert tuple(row) == (hours + minutes, 4 * 72, 2.0 * 4 * 72)


async def test_trends_have_a_point_for_each_hour(database: Database, queue: Queue) -> None:
    """Without gaps: what ended, how well, how long it took, and what the failures have in common."""
    await database.execute(DONE, "product", 9, 3.0, 0.4)
    await bury(queue, "1")
    found = await trends.read(database, Duration("5h"))
    assert (found.step, len(found.points)) == ("hour", 6)
    assert [one.at for one in found.points] == sorted(one.at for one in found.points)
    assert sum(one.completed for one in found.points) == 9
    last = max(found.points, key=lambda one: one.completed)
    assert 0.2 <= (last.processing.p95 or 0) <= 0.22
    assert last.processing.average == pytest.approx(0.2)
    assert 0.4 <= (last.delivery_p95 or 0) <= 0.44
    assert found.points[0].success_rate == 100.0
    assert found.points[0].processing.average is None
    assert sum(one.errors.get("no_name", 0) for one in found.points) == 1
    [pattern] = found.error_patterns
    assert (pattern.error_code, pattern.entities, pattern.count, pattern.unresolved) == ("no_name", ("product",), 1, 1)
    assert (await trends.read(database, Duration("10d"))).step == "day"


async def test_a_level_that_is_missed_for_a_quarter_of_an_hour_is_an_alert(database: Database, queue: Queue) -> None:
    """By the default rule and the samples of the reporter: one alert a level, over when the level is reached again."""
    settings = config.load(ROOT / "tds.toml", Config, {}, defaults=schedules.defaults).value
    rules = {"service_level": settings.alert["service_level"]}
    metrics, reader, state = Metrics(), Reader(), {}
    reporter = Reporter(database, metrics, lambda: None)

    async def judge(at: float) -> list[tuple[str, str, str]]:
        nonlocal state
        await reporter.look_at_levels()
        state, changes = evaluate(rules, state, reader.read(rules, metrics.samples(), at), at)
        return [(change.what, change.cause, change.title) for change in changes]

    await bury(queue, *map(str, range(10)))
    assert await judge(0) == []
    told = "The service level dead_letters_open is missed"
    assert await judge(901) == [("opened", "dead_letters_open", told)]
    await queue.discard_dead(Selection(), by="tester")
    await judge(960)
    assert [what for what, _, _ in await judge(1300)] == ["resolved"]


async def test_a_node_that_was_killed_is_a_fault_that_its_successor_ends(database: Database) -> None:
    """From its last sign of life until a process of the same machine has taken its place."""
    await Node(database, boot_id="dead").renew()
    await database.execute(
        "UPDATE tds_nodes SET pid = 1, process = 'another', renewed_at = now() - interval '7 seconds'"
    )
    assert await Node(database).declare_dead() == 1
    row = await database.fetchrow(
        "SELECT kind, subject, extract(epoch FROM ended_at - began_at) AS took FROM tds_faults"
    )
    assert tuple(row) == ("node_lost", "dead", pytest.approx(7, abs=0.5))


@pytest.mark.parametrize("words", [("--window", "7d"), ()])
async def test_the_command_line_shows_all_of_them(
    tmp_path: Path, database: Database, database_dsn: str, queue: Queue, words: tuple[str, ...]
) -> None:
    """A table with value and target, the whole report as JSON; the exit status is 3 when one is missed."""
    line = Line(tmp_path, database_dsn)
    assert await line("status", "--slo", *words) == 0
    assert [name for name in NAMES if name not in line.data] == []
    await bury(queue, *map(str, range(10)))
    assert await line("status", "--slo", *words) == 3
    assert "dead_letters_open is missed" in line.notes
    report = await line.json("status", "--slo", *words)
    assert report["missed"] == ["dead_letters_open"]
    assert [level["name"] for level in report["levels"]] == list(NAMES)


async def test_a_window_that_is_not_kept_is_refused(tmp_path: Path, database_dsn: str) -> None:
    """With what it may be."""
    line = Line(tmp_path, database_dsn)
    for window in ("1m", "400d", "soon"):
        assert await line("status", "--slo", "--window", window) == 2
    assert "--window" in line.notes
