"""A process that stores or works until it is killed; what it was told is acknowledged goes to its standard output.

`store` acknowledges deliveries one after the other, `work` applies tasks to the table `effect` with the usual guard.
"""

import itertools
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import anyio

from tds_runtime.database import Database, Options
from tds_runtime.errors import DatabaseGone, LeaseLost
from tds_runtime.intake import Delivery, store
from tds_runtime.nodes import Node
from tds_runtime.queue import Completion, Queue, Task

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
RECORDS = 20
APPLY = """
INSERT INTO effect (record, version) SELECT * FROM unnest($1::text[], $2::integer[])
"""
GUARD = """
SELECT record, max(version) FROM effect WHERE record = ANY ($1::text[]) GROUP BY record
"""


def say(word: str) -> None:
    print(word, flush=True)  # noqa: T201 - the test reads it


def delivery(number: int) -> Delivery:
    record, version = str(number % RECORDS), number // RECORDS
    return Delivery(
        source="zoho",
        entity_type="product",
        source_entity_id=record,
        operation="upsert",
        modified_at=EPOCH + timedelta(seconds=version),
        body=str(version).encode(),
        content_type="text/plain",
        query="",
        correlation_id=str(number),
    )


async def storing(database: Database, first: int) -> None:
    for number in itertools.count(first):
        with suppress(DatabaseGone):
            await store(database, [delivery(number)])
            say(f"ok {number}")


async def apply(database: Database, queue: Queue, tasks: list[Task]) -> None:
    async with database.transaction() as connection:
        known = dict(await connection.fetch(GUARD, [task.source_entity_id for task in tasks]))
        new = [task for task in tasks if int(task.payload or b"") > known.get(task.source_entity_id, -1)]
        await connection.execute(
            APPLY, [task.source_entity_id for task in new], [int(task.payload or b"") for task in new]
        )
        await queue.complete(connection, [Completion(task.id, task.fence, "applied") for task in tasks])


async def working(database: Database, node: Node) -> None:
    queue = Queue(database, boot_id=node.boot_id)
    await node.renew()
    await node.declare_dead()
    await queue.return_expired()
    say("up")
    while True:
        try:
            tasks = await queue.claim(["product"], limit=10)
            if tasks:
                say(f"claimed {len(tasks)}")
                await apply(database, queue, tasks)
            else:
                await anyio.sleep(0.01)
        except LeaseLost:
            say("fenced")
        except DatabaseGone:
            continue


async def main(role: str, dsn: str, first: int, lease: float) -> None:
    async with Database(Options(dsn=dsn)).opened() as database:
        if role == "store":
            await storing(database, first)
        else:
            await working(database, Node(database, lease=lease))


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
