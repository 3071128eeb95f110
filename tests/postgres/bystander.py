"""A process whose connections are killed in every state they can be in; it must have nothing to say about that.

Speaks one line for each step on its standard output and goes on when it is told so.
"""

import gc
import sys
from contextlib import AsyncExitStack, suppress

import anyio

from tds_runtime.database import Connection, Database, Options
from tds_runtime.errors import DatabaseGone


def step(word: str) -> None:
    """Meanwhile the loop stands still, so nobody has noticed anything when it goes on."""
    print(word, flush=True)  # noqa: T201 - the test reads it
    sys.stdin.readline()


async def busy(connection: Connection) -> None:
    with suppress(DatabaseGone):
        await connection.fetchval("SELECT pg_sleep(60)")


async def main(dsn: str) -> None:
    async with Database(Options(dsn=dsn), application_name="bystander").opened() as database:
        async with AsyncExitStack() as lent:
            for _ in range(4):
                await (await lent.enter_async_context(database.connection())).fetchval("SELECT 1")
        with suppress(DatabaseGone):  # two are idle, one is in a transaction, one in a statement
            async with database.transaction() as connection, database.connection() as other:
                await connection.execute("CREATE TEMPORARY TABLE thing ()")
                async with anyio.create_task_group() as group:
                    group.start_soon(busy, other)
                    await anyio.sleep(0.1)
                    step("kill")
                await connection.execute("SELECT 1")
        async with database.connection() as connection:
            await connection.fetchval("SELECT 1")
            step("kill")  # it is given back next
        for pool in ("ingest", "work"):
            with suppress(DatabaseGone):
                await database.fetchval("SELECT 1", pool=pool)
        step("kill")  # the pools are closed next
    gc.collect()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
