from __future__ import annotations

import anyio
import pytest

from actors.messages import Wake
from actors.strays import bury, strays
from tds_runtime import Supervisor, run
from tds_runtime.database import Database
from tds_runtime.queue import Change, Queue

pytestmark = pytest.mark.anyio


async def enqueue(database: Database, queue: Queue, entity: str, count: int) -> None:
    async with database.transaction() as connection:
        changes = [Change(entity_type=entity, source_entity_id=str(number), payload=b"{}") for number in range(count)]
        await queue.enqueue(connection, changes)


async def test_tasks_that_nobody_maps_become_dead_letters(database: Database) -> None:
    """All of them are buried with their reason, more than one batch too, and other entities are left alone."""
    queue = Queue(database, boot_id="test")
    await enqueue(database, queue, "unknown", 250)
    await enqueue(database, queue, "product", 1)
    assert await bury(queue, "unknown") == 250
    [letter] = await queue.dead_letters(limit=1)
    assert (letter.entity_type, letter.error_code) == ("unknown", "unknown_entity")
    assert letter.error_message == 'no mapping names the entity "unknown"'
    assert (await queue.statistics()).pending == 1


async def test_the_actor_buries_on_each_wake_up(database: Database) -> None:
    """A wake-up for an entity without a mapping is enough."""
    queue = Queue(database, boot_id="test")
    await enqueue(database, queue, "unknown", 3)
    spec = strays(queue=queue)
    with anyio.fail_after(20):
        async with run(Supervisor("test", children=[spec])):
            await spec.ref.tell(Wake("unknown"))
            while (await queue.statistics()).dead_letter < 3:  # noqa: ASYNC110 - the database sets no event here
                await anyio.sleep(0.01)
