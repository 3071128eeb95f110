"""Transactions, outages and deadlines against a real server."""

import asyncpg
import pytest

from tds_runtime.database import Database, Options
from tds_runtime.errors import DatabaseGone

pytestmark = pytest.mark.anyio


async def test_a_transaction_commits(database: Database) -> None:
    """What the body wrote is there afterwards."""
    await database.execute("CREATE TABLE thing (id integer)")
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO thing VALUES (1)")
    assert await database.fetchval("SELECT count(*) FROM thing") == 1
    assert database.state == "up"


async def test_a_raising_body_rolls_back(database: Database) -> None:
    """An exception in the body undoes the transaction and arrives unchanged."""
    await database.execute("CREATE TABLE thing (id integer PRIMARY KEY)")
    with pytest.raises(asyncpg.UniqueViolationError):
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO thing VALUES (1), (1)")
    assert await database.fetchval("SELECT count(*) FROM thing") == 0


async def test_nobody_there_is_an_outage() -> None:
    """A server that is not there is DatabaseGone, and opening the pools does not wait for it."""
    async with Database(Options(dsn="postgresql://nobody@/nowhere?host=/nonexistent")).opened() as database:
        with pytest.raises(DatabaseGone):
            await database.fetchval("SELECT 1")
        assert database.state == "down"
