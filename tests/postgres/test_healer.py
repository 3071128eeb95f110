"""The healer against a real database."""

from __future__ import annotations

from importlib import resources
from typing import Any

import pytest

from actors.condition import Thresholds
from actors.healer import Healer, Options, Retention, healer
from actors.messages import Heal
from tds_runtime import Context, Inbox
from tds_runtime.database import Database
from tds_runtime.metrics import Metrics
from tds_runtime.queue import Change, Failure, Queue
from tds_runtime.values import Duration

pytestmark = pytest.mark.anyio

SMALL = Thresholds(queue_warning=1, queue_critical=3, dlq_warning=1, dlq_critical=3)


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, boot_id="test")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def work(database: Database, queue: Queue, metrics: Metrics) -> Healer:
    options = Options(thresholds=SMALL)
    return Healer(database, queue, metrics, options=options, retention=Retention(), node="here")


async def enqueue(queue: Queue, *records: str) -> None:
    async with queue.database.transaction() as connection:
        changes = [Change(entity_type="product", source_entity_id=record, payload=b"{}") for record in records]
        await queue.enqueue(connection, changes)


async def bury(queue: Queue, *records: str) -> None:
    await enqueue(queue, *records)
    tasks = await queue.claim(["product"])
    failures = [Failure(id=task.id, fence=task.fence, error_code="broken", error_message="it broke") for task in tasks]
    await queue.bury(failures)


async def statuses(queue: Queue) -> dict[str, int]:
    rows = await queue.database.fetch("SELECT status, count(*) FROM tds_sync_queue GROUP BY status")
    return dict(rows)


async def alerts(database: Database) -> list[dict[str, Any]]:
    rows = await database.fetch(
        "SELECT alert_type, severity, occurrences, resolved_at IS NULL AS open, metadata->>'pending_count' AS pending, "
        "metadata->>'dlq_count' AS dead FROM tds_alerts ORDER BY id"
    )
    return [dict(row.items()) for row in rows]


async def test_a_task_that_an_operator_set_to_processing_comes_back(work: Healer, queue: Queue) -> None:
    """The plain UPDATE that operators test with: two hours in processing, and one round gives the task back."""
    await enqueue(queue, "1", "2")
    changed = await queue.database.execute(
        "UPDATE tds_sync_queue SET status = 'processing', processing_started_at = now() - interval '2 hours' "
        "WHERE source_entity_id = '1'"
    )
    assert changed == "UPDATE 1"
    healed = await work.heal()
    assert (healed.stuck_tasks_recovered, healed.dlq_items_retried) == (1, 0)
    assert await statuses(queue) == {"pending": 2}


async def test_a_task_in_flight_for_less_is_left_alone(work: Healer, queue: Queue) -> None:
    """59 minutes are not stuck."""
    await enqueue(queue, "1")
    await queue.database.execute(
        "UPDATE tds_sync_queue SET status = 'processing', processing_started_at = now() - interval '59 minutes'"
    )
    assert (await work.heal()).stuck_tasks_recovered == 0
    assert await statuses(queue) == {"processing": 1}


async def test_the_tasks_of_a_dead_node_come_back(work: Healer, queue: Queue) -> None:
    """A node whose lease ran out loses what it held."""
    await queue.database.execute(
        "INSERT INTO tds_nodes (boot_id, name, host, pid, process, version, lease, renewed_at) "
        "VALUES ('test', 'n', 'h', 1, '1', '0', interval '60 s', now() - interval '10 minutes')"
    )
    await enqueue(queue, "1")
    assert len(await queue.claim(["product"])) == 1
    healed = await work.heal()
    assert healed.stuck_tasks_recovered == 1
    types = [alert["alert_type"] for alert in await alerts(queue.database)]
    assert sorted(types) == ["node_lost", "stuck_task"]


async def test_dead_letters_get_another_attempt_after_a_day_three_times_at_most(work: Healer, queue: Queue) -> None:
    """Not before 24 hours; each retry is one attempt; after the third there is none."""
    await bury(queue, "1")
    for turn in range(5):
        assert (await work.heal()).dlq_items_retried == 0
        await queue.database.execute("UPDATE tds_dead_letter_queue SET buried_at = now() - interval '25 hours'")
        retried = (await work.heal()).dlq_items_retried
        assert retried == (1 if turn < 3 else 0)
        if retried:
            [task] = await queue.claim(["product"])
            await queue.retry([Failure(id=task.id, fence=task.fence, error_code="broken", error_message="again")])
        assert await statuses(queue) == {"dead_letter": 1}


async def test_a_round_retries_a_bounded_number(database: Database, queue: Queue, metrics: Metrics) -> None:
    """Of many dead letters only so many come back at once."""
    await bury(queue, *map(str, range(5)))
    await database.execute("UPDATE tds_dead_letter_queue SET buried_at = now() - interval '25 hours'")
    work = Healer(database, queue, metrics, options=Options(retry_limit=2), retention=Retention())
    assert [(await work.heal()).dlq_items_retried for _ in range(4)] == [2, 2, 1, 0]


async def test_one_cause_has_one_alert_until_it_is_gone(work: Healer, queue: Queue) -> None:
    """Opened once, renewed while it lasts, raised when it grows, resolved when it ends, and opened anew after that."""
    await enqueue(queue, "1", "2")
    assert (await work.heal()).alerts_created == 1
    assert (await work.heal()).alerts_created == 0
    await enqueue(queue, "3", "4")
    assert (await work.heal()).alerts_created == 0
    [alert] = await alerts(queue.database)
    assert (alert["alert_type"], alert["severity"], alert["pending"]) == ("queue_depth", "critical", "4")
    assert (alert["occurrences"], alert["open"]) == (3, True)
    await queue.database.execute("DELETE FROM tds_sync_queue")
    await work.heal()
    assert [alert["open"] for alert in await alerts(queue.database)] == [False]
    await enqueue(queue, "1", "2")
    assert (await work.heal()).alerts_created == 1


async def test_dead_letters_and_failed_schedules_have_their_alerts(work: Healer, queue: Queue) -> None:
    """The types keep the predecessor's names and carry their counts."""
    await bury(queue, "1", "2")
    await queue.database.execute(
        "INSERT INTO tds_slots (schedule, slot, outcome) VALUES ('daily_full_sync', now(), 'failed'), "
        "('auto_healing', now(), 'ran'), ('auto_healing', now() - interval '1 hour', 'failed')"
    )
    assert (await work.heal()).alerts_created == 2
    found = {alert["alert_type"]: alert for alert in await alerts(queue.database)}
    assert set(found) == {"dlq_overflow", "schedule_failed"}
    assert (found["dlq_overflow"]["severity"], found["dlq_overflow"]["dead"]) == ("warning", "2")


async def test_a_source_that_fell_silent_is_noticed(work: Healer, database: Database) -> None:
    """A source that never sent is quiet by nature; one that used to send is not."""
    assert (await work.heal()).alerts_created == 0
    await receive(database, hours=7)
    assert (await work.heal()).alerts_created == 1
    await receive(database, hours=0)
    await work.heal()
    assert [(alert["alert_type"], alert["open"]) for alert in await alerts(database)] == [("webhook_silence", False)]


async def receive(database: Database, *, hours: float, record: str = "1") -> int:
    """Store a delivery of so many hours ago by hand; returns its id."""
    return int(
        await database.fetchval(
            "INSERT INTO tds_inbox_events (received_at, source, entity_type, source_entity_id, operation, variant, "
            "content_type, query, correlation_id, idempotency_key, body) "
            "VALUES (now() - $1::float8 * interval '1 hour', 'zoho', 'product', $2, 'upsert', '', '', '', '', '', '') "
            "RETURNING id",
            hours,
            record,
        )
    )


async def test_old_things_leave_and_needed_ones_stay(work: Healer, queue: Queue) -> None:
    """Retention by kind: what is resolved, finished or old goes; open alerts and bodies still to be read stay."""
    database = queue.database
    needed, free = (
        await receive(database, hours=24 * 31, record="1"),
        await receive(database, hours=24 * 31, record="2"),
    )
    await enqueue(queue, "1")
    await database.execute("UPDATE tds_sync_queue SET inbox_id = $1", needed)
    await database.execute(
        "INSERT INTO tds_alerts (alert_type, severity, title, cause, resolved_at) VALUES "
        "('other', 'info', 't', 'old', now() - interval '401 days'), ('other', 'info', 't', 'open', NULL)"
    )
    await database.execute(
        "INSERT INTO tds_metrics (metric_name, metric_value, recorded_at) VALUES "
        "('m', 1, now() - interval '8 days'), ('m', 1, now() - interval '6 days')"
    )
    await work.heal()
    assert await database.fetchval("SELECT array_agg(id) FROM tds_inbox_events") == [needed]
    assert free != needed
    causes = await database.fetchval(
        "SELECT array_agg(cause ORDER BY cause) FROM tds_alerts WHERE alert_type = 'other'"
    )
    assert causes == ["open"]
    assert await database.fetchval("SELECT count(*) FROM tds_metrics WHERE resolution = 'raw'") == 1


async def test_what_tells_repeats_of_unnamed_deliveries_leaves_with_them(work: Healer, database: Database) -> None:
    """Each content that could not be named has a row: those of the inbox's age go, younger ones and records stay."""
    await database.execute(
        "INSERT INTO tds_last_deliveries (source, entity_type, record, key, inbox_id, seen_at) VALUES "
        "('zoho', 'product', 'body:01', '', 1, now() - interval '31 days'), "
        "('zoho', 'product', 'body:02', '', 2, now() - interval '29 days'), "
        "('zoho', 'product', '526001', '', 3, now() - interval '400 days')"
    )
    upkeep = await work.keep_up()
    assert upkeep.rows_pruned == {"unnamed": 1}
    left = await database.fetchval("SELECT array_agg(record ORDER BY record) FROM tds_last_deliveries")
    assert left == ["526001", "body:02"]


async def test_old_comparisons_leave_with_all_that_they_found(work: Healer, database: Database) -> None:
    """Findings go first, then their reports, as old as runs; what has not ended and what is younger stays."""
    await database.execute(
        "INSERT INTO tds_reconciliation_reports (entity_type, depth, status, requested_at) VALUES "
        "('old', 'records', 'completed', now() - interval '401 days'), "
        "('open', 'records', 'running', now() - interval '401 days'), "
        "('new', 'records', 'completed', now() - interval '399 days')"
    )
    await database.execute(
        "INSERT INTO tds_reconciliation_findings (report_id, entity_type, source_entity_id, kind) "
        "SELECT r.id, 'product', n::text, 'extra' FROM tds_reconciliation_reports AS r, generate_series(1, 3) AS n"
    )
    await database.execute(
        "INSERT INTO tds_reconciliations (report_id, entity_type, source_count, local_count, match_percentage) "
        "SELECT id, 'product', 1, 1, 100 FROM tds_reconciliation_reports"
    )
    await database.execute(
        "INSERT INTO tds_reconciliations (entity_type, source_count, local_count, match_percentage, compared_at) "
        "VALUES ('product', 1, 1, 100, now() - interval '401 days')"
    )
    upkeep = await work.keep_up()
    assert upkeep.rows_pruned == {"findings": 3, "reports": 1, "comparisons": 1}
    left = await database.fetch("SELECT entity_type FROM tds_reconciliation_reports ORDER BY 1")
    assert [row["entity_type"] for row in left] == ["new", "open"]
    assert await database.fetchval("SELECT count(*) FROM tds_reconciliations") == 2


async def test_partitions_are_made_ahead_and_old_days_dropped(work: Healer, database: Database) -> None:
    """A missing day is made again; a day beyond the retention is gone with its rows; a recent one stays."""
    future = await database.fetchval(
        "SELECT 'tds_sync_queue_done_' || to_char(now() AT TIME ZONE 'UTC' + interval '10 days', 'YYYYMMDD')"
    )
    await database.execute(f"DROP TABLE {future}")
    await database.execute(
        "CREATE TABLE tds_sync_queue_done_20200101 PARTITION OF tds_sync_queue_done "
        "FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')"
    )
    upkeep = await work.keep_up()
    assert (upkeep.partitions_made, upkeep.partitions_dropped) == (1, 1)
    assert await database.fetchval("SELECT to_regclass($1)", future) is not None
    assert await database.fetchval("SELECT to_regclass('tds_sync_queue_done_20200101')") is None


async def test_hours_are_summed_up_once(work: Healer, database: Database) -> None:
    """Complete hours become one row per series; the present hour waits; a second round makes none."""
    await database.execute(
        "INSERT INTO tds_metrics (metric_name, metric_value, labels, recorded_at) "
        "SELECT 'depth', value, '{\"entity\": \"product\"}', "
        "date_trunc('hour', now()) - interval '1 hour' + value * interval '1 minute' "
        "FROM generate_series(1, 3) AS value"
    )
    await database.execute("INSERT INTO tds_metrics (metric_name, metric_value) VALUES ('depth', 9)")
    assert [(await work.keep_up()).hours_rolled_up for _ in range(2)] == [1, 0]
    row = await database.fetchrow(
        "SELECT metric_value, labels->>'entity' AS entity FROM tds_metrics WHERE resolution = 'hour'"
    )
    assert (row["metric_value"], row["entity"]) == (2.0, "product")


async def test_every_round_leaves_its_report(work: Healer, queue: Queue, metrics: Metrics) -> None:
    """The answer, the row and the counters agree."""
    await bury(queue, "1")
    await queue.database.execute("UPDATE tds_dead_letter_queue SET buried_at = now() - interval '25 hours'")
    healed = await work.heal()
    row = await queue.database.fetchrow("SELECT * FROM tds_healer_runs")
    assert (row["node"], row["healed_at"]) == ("here", healed.timestamp)
    assert (row["stuck_tasks_recovered"], row["dlq_items_retried"], row["alerts_created"]) == (0, 1, 0)
    samples = {sample.labels["kind"]: sample.value for sample in metrics.samples() if "kind" in sample.labels}
    assert {kind: count for kind, count in samples.items() if count} == {"dead_letter": 1.0}
    assert {"stuck_task", "alert", "pull", "missing_record", "orphan", "pool"} < samples.keys()


async def test_the_actor_heals_when_asked(database: Database, queue: Queue, metrics: Metrics) -> None:
    """One message is one round."""
    inbox = Inbox.of(Heal(), Heal())
    await healer.function(
        Context("healer"),
        inbox,
        database=database,
        queue=queue,
        metrics=metrics,
        options=Options(),
        retention=Retention(),
    )
    assert await database.fetchval("SELECT count(*) FROM tds_healer_runs") == 2


async def test_nothing_is_retried_when_told_so(database: Database, queue: Queue, metrics: Metrics) -> None:
    """`retry_times = 0` leaves dead letters to people."""
    await bury(queue, "1")
    options = Options(retry_times=0, retry_after=Duration(0))
    work = Healer(database, queue, metrics, options=options, retention=Retention())
    assert (await work.heal()).dlq_items_retried == 0


async def test_partitions_that_somebody_holds_are_left_for_the_next_round(work: Healer, queue: Queue) -> None:
    """A lock on the history, of a vacuum or a person, ends no round: it waits 2 s for each and goes on."""
    database = queue.database
    await database.execute("CREATE TABLE tds_sync_queue_done_20200101 PARTITION OF tds_sync_queue_done"
                           " FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')")  # fmt: skip
    newest = "SELECT max(relname)::text FROM pg_class WHERE relname ~ '^tds_sync_queue_done_[0-9]{8}$'"
    await database.execute(f"DROP TABLE {await database.fetchval(newest)}")
    there = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'tds_sync_queue_done'::regclass"
    before = await database.fetchval(there)
    await enqueue(queue, "1")
    await queue.database.execute(
        "UPDATE tds_sync_queue SET status = 'processing', processing_started_at = now() - interval '2 hours'"
    )
    async with database.transaction() as holder:
        await holder.execute("LOCK TABLE tds_sync_queue_done IN SHARE UPDATE EXCLUSIVE MODE")
        assert (await work.heal()).stuck_tasks_recovered == 1
    assert await database.fetchval(there) == before
    await work.heal()
    assert await database.fetchval(there) == before  # one made, one dropped
    assert await database.fetchval("SELECT to_regclass('tds_sync_queue_done_20200101')") is None


def test_every_removal_is_bounded() -> None:
    """No statement of a round removes more than it was told: what is left is for the next statement or round."""
    directory = resources.files("actors").joinpath("sql", "healer")
    removals = {file.name: file.read_text() for file in directory.iterdir() if file.name.startswith("prune_")}
    assert len(removals) >= 11
    assert [name for name, text in removals.items() if "LIMIT $2" not in text] == []
