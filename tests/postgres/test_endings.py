"""How tasks end that nobody ends: by time, and by what they do to their owners."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tds_runtime.database import Database
from tds_runtime.queue import Change, Options, Queue

pytestmark = pytest.mark.anyio


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, boot_id="this", options=Options(max_attempts=3))


async def put(queue: Queue) -> None:
    async with queue.database.transaction() as connection:
        await queue.enqueue(connection, [Change(entity_type="invoice", source_entity_id="1", payload=b"{}")])


async def test_what_is_put_off_for_a_day_is_buried(queue: Queue) -> None:
    """A parent that does not come: snoozed again and again without an attempt, and after 24 hours a dead letter."""
    await put(queue)
    soon = datetime.now(UTC) - timedelta(seconds=1)
    for hours in (0, 12, 23):
        await queue.database.execute(f"UPDATE tds_sync_queue SET snoozed_at = now() - interval '{hours} hours'")
        [task] = await queue.claim(["invoice"])
        assert task.attempt_count == 1
        assert (await queue.snooze([(task.id, task.fence)], soon, "waits for customer 7")).returned == {task.id}
        assert await queue.promote_due() == 1
    await queue.database.execute("UPDATE tds_sync_queue SET snoozed_at = now() - interval '24 hours 1 second'")
    [task] = await queue.claim(["invoice"])
    assert (await queue.snooze([(task.id, task.fence)], soon, "waits for customer 7")).buried == {task.id}
    [letter] = await queue.dead_letters()
    assert (letter.error_code, letter.error_message) == ("put_off_too_long", "waits for customer 7")


async def test_a_task_that_kills_its_node_is_buried(queue: Queue) -> None:
    """Each claim counts, so after max_attempts dead owners it is a dead letter that names the last of them."""
    await put(queue)
    for number in (1, 2, 3):
        owner = Queue(queue.database, boot_id=f"life {number}", options=queue.options)
        [task] = await owner.claim(["invoice"])
        assert task.attempt_count == number
        moved = await queue.return_expired()  # nobody has heard of such a node: its lease is over
        assert moved.buried == ({task.id} if number == 3 else frozenset())
    assert await queue.claim(["invoice"]) == []
    [letter] = await queue.dead_letters()
    assert (letter.error_code, letter.attempt_count) == ("node_lost", 3)
    assert "life 3" in letter.error_message
