"""Counting what is finished without reading it: exact, whoever changes what, at a price that history does not raise."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tds_runtime.database import Database
from tds_runtime.queue import Change, Completion, Queue

pytestmark = pytest.mark.anyio

DAYS = """
DO $$ BEGIN
    FOR ago IN 1..3 LOOP
        EXECUTE format('CREATE TABLE IF NOT EXISTS tds_sync_queue_done_%s PARTITION OF tds_sync_queue_done'
                       ' FOR VALUES FROM (%L) TO (%L)', to_char((now() AT TIME ZONE 'UTC')::date - ago, 'YYYYMMDD'),
                       ((now() AT TIME ZONE 'UTC')::date - ago)::timestamp AT TIME ZONE 'UTC',
                       ((now() AT TIME ZONE 'UTC')::date - ago + 1)::timestamp AT TIME ZONE 'UTC');
    END LOOP;
END $$
"""
# A vacuum or ANALYZE that is at a day keeps the sum from summarizing it for that minute; here none comes by chance.
UNATTENDED = """
DO $$ DECLARE day regclass; BEGIN
    FOR day IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'tds_sync_queue_done'::regclass LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', day);
    END LOOP;
END $$
"""
HISTORY = """
INSERT INTO tds_sync_queue_done (entity_type, source_entity_id, status, completed_at)
SELECT 'product', lpad(n::text, 5, '0'), CASE n % 10 WHEN 0 THEN 'cancelled' ELSE 'completed' END,
       now() - n * interval '6.85 seconds'
  FROM generate_series(1, 30000) AS n ORDER BY n DESC;
INSERT INTO tds_sync_queue (entity_type, source_entity_id, status) VALUES ('product', 'undated', 'completed')
"""
# Two days ago, 20,000 tasks in the order of the clock from midnight to 22:30, every five hundredth in the last hour.
SCATTERED = """
INSERT INTO tds_sync_queue_done (entity_type, source_entity_id, status, completed_at)
SELECT 'product', lpad(n::text, 5, '0'), 'completed',
       (date_trunc('day', now() AT TIME ZONE 'UTC' - interval '2 days')
        + CASE n % 500 WHEN 0 THEN interval '23 hours' + n * interval '0.1 second' ELSE n * interval '4.05 second' END)
       AT TIME ZONE 'UTC'
  FROM generate_series(1, 20000) AS n ORDER BY n
"""
TRUTH = """
SELECT count(*) FILTER (WHERE status = 'completed') AS completed,
       count(*) FILTER (WHERE status = 'cancelled') AS cancelled
  FROM tds_sync_queue_done WHERE $1::text::interval IS NULL OR completed_at >= now() - $1::text::interval
"""
COUNTED = "SELECT * FROM tds_count_finished(COALESCE(now() - $1::text::interval, '-infinity'))"
TOUCHED = """
SELECT sum(seq_tup_read + COALESCE(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables
 WHERE relname ~ '^tds_sync_queue_done'
"""
LATE = """
INSERT INTO tds_sync_queue (entity_type, source_entity_id, status, completed_at)
VALUES ('product', 'late', 'completed', now() - interval '1 day')
"""
BY_HAND = (
    "UPDATE tds_sync_queue SET status = 'pending', completed_at = NULL WHERE source_entity_id = '18001'",
    "DELETE FROM tds_sync_queue WHERE source_entity_id IN ('18001', '18002')",
    "UPDATE tds_sync_queue SET status = 'cancelled' WHERE source_entity_id IN ('18001', '18002')",
    "UPDATE tds_sync_queue SET completed_at = completed_at - interval '1 day' WHERE source_entity_id = '10000'",
    LATE,
)
WINDOWS = (None, "24 hours", "61 seconds", "10 minutes 13.5 seconds", "2 days 3 hours")


@pytest.fixture
async def days(database: Database) -> Database:
    """The three days before today, empty."""
    await database.execute(DAYS)
    await database.execute(UNATTENDED)
    return database


@pytest.fixture
async def past(days: Database) -> Database:
    """Three days of finished tasks, nobody has summed them up yet."""
    async with days.connection() as connection:
        await connection.execute(HISTORY)
    return days


async def sum_up(database: Database) -> None:
    for _ in range(20):  # a day at a time
        await database.execute("SELECT tds_sum_up_finished()")


async def truths(database: Database) -> list[tuple[Any, ...]]:
    """Counts as they are and as they are told, in one snapshot; asserts that they agree."""
    async with database.transaction() as connection:
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        true = [tuple(await connection.fetchrow(TRUTH, window) or ()) for window in WINDOWS]
        told = [tuple(await connection.fetchrow(COUNTED, window) or ()) for window in WINDOWS]
    assert told == true
    return told


async def test_counts_are_the_same_before_and_after_the_sum(past: Database) -> None:
    """In every window, with the edges inside of minutes, and the undated in the whole only."""
    before = await truths(past)
    assert before[0] == (27001, 3000)
    await sum_up(past)
    assert await past.fetchval("SELECT count(*) > 1000 FROM tds_finished_minutes")
    assert (await truths(past))[0] == before[0]


@pytest.mark.parametrize("change", BY_HAND)
async def test_what_is_changed_by_hand_is_counted_again(past: Database, change: str) -> None:
    """At once, and still after the next sum; also in a minute in which nothing was finished before."""
    await sum_up(past)
    await past.execute("DELETE FROM tds_sync_queue WHERE completed_at < now() - interval '23 hours 50 minutes'"
                       " AND completed_at > now() - interval '24 hours 10 minutes'")  # fmt: skip
    await past.execute(change)
    told = await truths(past)
    assert await past.fetchval("SELECT count(*) > 0 FROM tds_finished_minutes WHERE completed IS NULL")
    await sum_up(past)
    assert await past.fetchval("SELECT count(*) FROM tds_finished_minutes WHERE completed IS NULL") == 0
    assert (await truths(past))[0] == told[0]


async def test_few_finished_rows_are_read(past: Database) -> None:
    """Three counts read a few ranges of 16 pages, not the days: a thirtieth of the rows that reading them took."""
    await past.execute(
        "INSERT INTO tds_sync_queue_done (entity_type, source_entity_id, status, completed_at)"
        " SELECT 'product', lpad(n::text, 5, '0'), 'completed', now() - interval '30 hours'"
        " FROM generate_series(1, 70000) AS n"
    )
    await sum_up(past)
    queue = Queue(past, boot_id="this")
    assert (await queue.statistics()).completed == 97001
    async with past.transaction() as connection:
        before = await connection.fetchval(TOUCHED)
        await connection.execute("SELECT tds_get_health_summary()")
        await connection.execute("SELECT tds_get_queue_statistics()")
        touched = int(await connection.fetchval(TOUCHED)) - int(before)
    assert 0 < touched < 10_000


async def test_a_late_row_in_an_early_page_widens_no_range(days: Database) -> None:
    """A minute of a day is read by a few ranges of pages, though each range holds a row of the day's last hour."""
    await days.execute(SCATTERED)
    day = await days.fetchval(
        "SELECT date_trunc('day', now() AT TIME ZONE 'UTC' - interval '2 days') AT TIME ZONE 'UTC'"
    )
    await days.execute("SELECT tds_summarize_day($1)", day)
    minute = day + timedelta(hours=22)
    async with days.transaction() as connection:
        before = await connection.fetchval(TOUCHED)
        [row] = await connection.fetch(
            "SELECT * FROM tds_finished_between($1, $2)", minute, minute + timedelta(minutes=1)
        )
        touched = int(await connection.fetchval(TOUCHED)) - int(before)
    assert row["completed"] == 15
    assert 0 < touched < 3_000


async def test_an_open_transaction_is_waited_for(past: Database) -> None:
    """A task that is finished late, in a transaction that began long ago, is not overlooked."""
    queue = Queue(past, boot_id="this")
    async with past.transaction() as connection:
        await queue.enqueue(connection, [Change(entity_type="product", source_entity_id="slow", payload=b"{}")])
    [task] = await queue.claim(["product"])
    await sum_up(past)
    async with past.transaction() as connection:
        await connection.execute("CREATE TEMPORARY TABLE written ()")
        began = await connection.fetchval("SELECT now()")
        await sum_up(past)
        assert await past.fetchval("SELECT max(minute) < $1 FROM tds_finished_minutes", began)
        await queue.complete(connection, [Completion(task.id, task.fence, "applied")])
    assert (await truths(past))[0] == (27002, 3000)


async def test_days_that_are_dropped_no_longer_count(past: Database) -> None:
    """Their minutes leave with them, also when somebody dropped them by hand."""
    await sum_up(past)
    [day] = await past.fetchrow("SELECT to_char((now() AT TIME ZONE 'UTC')::date - 1, 'YYYYMMDD')") or ()
    await past.execute(f"DROP TABLE tds_sync_queue_done_{day}")
    await past.execute("SELECT tds_drop_partitions('1 day')")
    await truths(past)
