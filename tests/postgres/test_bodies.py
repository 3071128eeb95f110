"""A webhook's payload stands in the inbox, and a claim reads it there, whatever else commits at that moment."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from tds_runtime.database import Database
from tds_runtime.intake import Delivery, store
from tds_runtime.queue import Completion, Queue, Task

pytestmark = pytest.mark.anyio

GATE = """
ALTER TABLE tds_pauses RENAME TO pauses;
CREATE FUNCTION gate() RETURNS SETOF pauses LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(1);
    RETURN QUERY SELECT * FROM pauses;
END
$$;
CREATE VIEW tds_pauses AS SELECT * FROM gate();
"""
AT_THE_GATE = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def delivery(version: int, record: str = "7") -> Delivery:
    return Delivery(
        source="zoho",
        entity_type="product",
        source_entity_id=record,
        operation="upsert",
        modified_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=version),
        body=f"version {version}".encode(),
        content_type="application/json",
        query="",
        correlation_id=str(version),
    )


@asynccontextmanager
async def while_claiming(database: Database) -> AsyncIterator[None]:
    """A claim that begins in the body has its snapshot and looks at no row before the body ends."""
    await database.execute(GATE)
    async with database.connection("ingest") as connection:
        await connection.execute("SELECT pg_advisory_lock(1)")
        yield
        await connection.execute("SELECT pg_advisory_unlock(1)")


async def overtaken(database: Database, claim: Callable[[], Awaitable[list[Task]]]) -> list[Task]:
    """What a claim returns when a newer delivery is folded into the task between its snapshot and its locks."""
    claimed: list[Task] = []

    async def work() -> None:
        claimed.extend(await claim())

    async with anyio.create_task_group() as group, while_claiming(database):
        group.start_soon(work)
        with anyio.fail_after(10):
            while not await database.fetchval(AT_THE_GATE):  # noqa: ASYNC110 - a lock sets no event here
                await anyio.sleep(0.01)
        await store(database, [delivery(2)])
    return claimed


async def test_a_claim_reads_the_body_that_was_folded_in_under_it(database: Database) -> None:
    """The task comes with the newer payload: none at all would cost a call of the source."""
    queue = Queue(database, boot_id="one")
    await store(database, [delivery(1)])
    [task] = await overtaken(database, lambda: queue.claim(["product"]))
    assert (task.last_inbox_id, task.payload) == (2, b"version 2")


async def test_completing_and_claiming_reads_it_as_well(database: Database) -> None:
    """The same where the claim rides on a completion."""
    queue = Queue(database, boot_id="one")
    await store(database, [delivery(1, "6")])
    [done] = await queue.claim(["product"])
    await store(database, [delivery(1)])

    async def claim() -> list[Task]:
        async with database.transaction() as connection:
            return await queue.complete_and_claim(connection, [Completion(done.id, done.fence, "applied")], "product")

    [task] = await overtaken(database, claim)
    assert task.payload == b"version 2"


async def test_a_body_that_was_pruned_stays_unknown(database: Database) -> None:
    """A payload that is nowhere any more is None, and the task is claimed all the same."""
    queue = Queue(database, boot_id="one")
    await store(database, [delivery(1)])
    await database.execute("DELETE FROM tds_inbox_events")
    [task] = await queue.claim(["product"])
    assert task.payload is None
