"""What an operator can see and do with psql alone."""

import json
from typing import Any

import anyio
import pytest

from tds_runtime import premises
from tds_runtime.database import Database, Options
from tds_runtime.intake import Delivery, store
from tds_runtime.queue import Change, Completion, Failure, Queue

pytestmark = pytest.mark.anyio


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, boot_id="this")


async def put(queue: Queue, *records: str, entity: str = "product") -> None:
    async with queue.database.transaction() as connection:
        changes = [Change(entity_type=entity, source_entity_id=record, payload=b"{}") for record in records]
        await queue.enqueue(connection, changes)


async def bury(queue: Queue, limit: int, code: str = "planted") -> None:
    tasks = await queue.claim(["product"], limit=limit)
    await queue.bury(
        [Failure(id=task.id, fence=task.fence, error_code=code, error_message="it broke") for task in tasks]
    )


async def finish(queue: Queue, limit: int) -> None:
    tasks = await queue.claim(["product"], limit=limit)
    async with queue.database.transaction() as connection:
        await queue.complete(connection, [Completion(task.id, task.fence, "applied") for task in tasks])


async def psql(dsn: str, *commands: str) -> list[str]:
    """What psql prints, a line a row, columns separated by |."""
    words = [word for command in commands for word in ("-c", command)]
    program = str(premises.reachable_programs() / "psql")
    done = await anyio.run_process([program, "-XAtq", "-v", "ON_ERROR_STOP=1", *words, dsn], cwd="/")
    return done.stdout.decode().splitlines()


async def health(database: Database) -> Any:
    return json.loads(await database.fetchval("SELECT tds_get_health_summary()::text"))


async def test_health_follows_the_thresholds(queue: Queue) -> None:
    """Healthy when empty, degraded by failures, warning and critical by dead letters and backlog."""
    assert (await health(queue.database))["status"] == "healthy"
    await put(queue, *(str(number) for number in range(60)))
    await finish(queue, 5)
    await bury(queue, 5)
    found = await health(queue.database)
    assert (found["status"], found["metrics"]["success_rate"]) == ("degraded", 50)
    assert found["queue"] == {
        "pending": 50, "processing": 0, "completed": 5, "failed": 0, "dead_letter": 5, "cancelled": 0, "total": 60,
    }  # fmt: skip
    await bury(queue, 46)
    assert (await health(queue.database))["status"] == "warning"
    await put(queue, *(str(number) for number in range(100, 5200)))
    assert (await health(queue.database))["status"] == "critical"


async def test_the_overview_has_a_row_for_each_entity(queue: Queue) -> None:
    """Counts by status, age and pause, per entity; dead letters by cause."""
    await put(queue, "1", "2", "3")
    await put(queue, "9", entity="invoice")
    await bury(queue, 1)
    await queue.pause("invoice", by="me")
    rows = await queue.database.fetch("SELECT entity_type, pending, dead_letter, paused FROM tds_queue_overview")
    assert [tuple(row) for row in rows] == [("invoice", 1, 0, True), ("product", 2, 1, False)]
    rows = await queue.database.fetch("SELECT error_code, entity_type, tasks, example FROM tds_dead_letter_causes")
    assert [tuple(row) for row in rows] == [("planted", "product", 1, "it broke")]


async def test_stuck_tasks_are_recovered_by_hand(queue: Queue) -> None:
    """Whoever holds them, and with the same care as the daemon's own sweep."""
    await put(queue, "1", "2")
    await queue.claim(["product"], limit=1)
    await queue.database.execute("UPDATE tds_sync_queue SET processing_started_at = now() - interval '2 hours'")
    rows = await queue.database.fetch("SELECT * FROM tds_recover_stuck_tasks()")
    assert [row["became_dead_letter"] for row in rows] == [False]
    assert len(await queue.claim(["product"])) == 2


async def test_dead_letters_are_requeued_by_hand(queue: Queue) -> None:
    """By any condition, by name."""
    await put(queue, "1", "2", "3")
    await bury(queue, 1, "one")
    await bury(queue, 2, "two")
    assert await queue.database.fetchval("SELECT tds_requeue(code => 'two')") == 2
    assert await queue.count_dead() == 1
    assert await queue.database.fetchval("SELECT tds_requeue()") == 1
    assert {task.attempt_count for task in await queue.claim(["product"])} == {1}


async def test_old_days_are_dropped_and_needed_bodies_kept(queue: Queue) -> None:
    """Pruning drops finished days and deliveries, but not the body of a task that still waits."""
    database = queue.database
    delivery = Delivery(
        source="zoho", entity_type="product", source_entity_id="1", operation="upsert", modified_at=None, body=b"{}",
        content_type="", query="", correlation_id="", event_id="e1",
    )  # fmt: skip
    await store(database, [delivery])
    await put(queue, "2")
    old = "now() - interval '60 days'"
    await database.execute(f"UPDATE tds_inbox_events SET received_at = {old}")
    await database.execute(f"UPDATE tds_event_keys SET first_seen_at = {old}")
    await database.execute(
        f"UPDATE tds_sync_queue SET status = 'completed', completed_at = {old} WHERE source_entity_id = '2'"
    )
    await database.execute("CREATE TABLE tds_sync_queue_done_20200101 PARTITION OF tds_sync_queue_done"
                           " FOR VALUES FROM ('2020-01-01Z') TO ('2020-01-02Z')")  # fmt: skip
    row = await database.fetchrow("SELECT * FROM tds_prune()")
    assert row is not None
    assert tuple(row) == (1, 1, 0, 1)
    await database.execute("DELETE FROM tds_sync_queue")
    assert await database.fetchval("SELECT deliveries_deleted FROM tds_prune()") == 1


async def test_partitions_are_made_ahead_once(queue: Queue) -> None:
    """Making them again makes nothing; asking for more days makes those; they catch what is finished today."""
    assert await queue.database.fetchval("SELECT tds_create_partitions(14)") == 0
    assert await queue.database.fetchval("SELECT tds_create_partitions(16)") == 2
    await put(queue, "1")
    await finish(queue, 1)
    assert await queue.database.fetchval("SELECT count(*) FROM tds_sync_queue_done_default") == 0


async def test_an_update_by_hand_may_finish_a_task_without_a_date(queue: Queue) -> None:
    """It lands in the default partition instead of failing, and can be set back."""
    await put(queue, "1")
    await queue.database.execute("UPDATE tds_sync_queue SET status = 'completed'")
    await queue.database.execute("UPDATE tds_sync_queue SET status = 'pending'")
    assert len(await queue.claim(["product"])) == 1


async def test_functions_work_from_any_search_path(queue: Queue, database_dsn: str) -> None:
    """An operator's psql knows nothing of our schema."""
    async with Database(Options(dsn=database_dsn, schema="elsewhere")).opened() as other:
        assert json.loads(await other.fetchval("SELECT public.tds_get_health_summary()::text"))["status"] == "healthy"
        assert await other.fetchval("SELECT public.tds_requeue()") == 0
        assert await other.fetch("SELECT * FROM public.tds_recover_stuck_tasks()") == []


async def test_psql_is_enough(queue: Queue, database_dsn: str) -> None:
    """A person with psql alone sees what is wrong, puts it right, and sees that it is."""
    await put(queue, *(str(number) for number in range(70)))
    await bury(queue, 60)
    await queue.claim(["product"], limit=5)
    seen = await psql(
        database_dsn,
        "SELECT tds_get_health_summary() ->> 'status'",
        "SELECT pending, processing, dead_letter FROM tds_get_queue_statistics()",
        "SELECT entity_type, pending, processing, dead_letter FROM tds_queue_overview",
        "SELECT error_code, entity_type, tasks, example FROM tds_dead_letter_causes",
        "SELECT status, count(*) FROM tds_sync_queue GROUP BY status ORDER BY status",
    )
    assert seen == [
        "warning", "5|5|60", "product|5|5|60", "planted|product|60|it broke", "dead_letter|60", "pending|5",
        "processing|5",
    ]  # fmt: skip
    done = await psql(
        database_dsn,
        "UPDATE tds_sync_queue SET processing_started_at = now() - interval '2 hours' WHERE status = 'processing'",
        "SELECT count(*) FROM tds_recover_stuck_tasks(older_than => '1 hour') WHERE NOT became_dead_letter",
        "SELECT tds_requeue(record => '1')",
        "SELECT tds_requeue(entity => 'product', code => 'planted')",
        "SELECT * FROM tds_prune(keep_tasks => '14 days')",
        "SELECT tds_get_health_summary() -> 'queue' ->> 'pending'",
        "SELECT resolution, resolved_by = current_user, count(*) FROM tds_dead_letter_queue GROUP BY 1, 2",
    )
    assert done == ["5", "1", "59", "0|0|0|0", "70", "retried|t|60"]
    assert len(await queue.claim(["product"], limit=100)) == 70


async def test_psql_sees_the_nodes(queue: Queue, database_dsn: str) -> None:
    """Which processes live, what they hold, and whose lease is over."""
    await put(queue, "1", "2")
    await queue.database.execute(
        "INSERT INTO tds_nodes (boot_id, name, host, pid, process, version, lease, renewed_at) VALUES"
        " ('this', 'a', 'h', 1, '', '', '60 s', now()), ('gone', 'b', 'h', 2, '', '', '60 s', now() - '2m'::interval)"
    )
    await queue.claim(["product"], limit=2)
    asked = "SELECT name, state, tasks_in_flight FROM tds_node_overview ORDER BY name"
    assert await psql(database_dsn, asked) == ["a|alive|2", "b|dead|0"]
