"""Transactions, outages and deadlines against a real server."""

import sys
from contextlib import suppress
from pathlib import Path

import anyio
import asyncpg
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from tds_runtime.database import Database, Options
from tds_runtime.errors import DatabaseGone, Error

pytestmark = pytest.mark.anyio

BYSTANDER = Path(__file__).with_name("bystander.py")


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


async def test_a_savepoint_undoes_its_own_part(database: Database) -> None:
    """A statement that fails inside a savepoint leaves the rest of the transaction alone."""
    await database.execute("CREATE TABLE thing (id integer PRIMARY KEY)")
    async with database.transaction() as connection:
        await connection.executemany("INSERT INTO thing VALUES ($1)", [(1,), (2,)])
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.savepoint():
                await connection.execute("INSERT INTO thing VALUES (3), (1)")
        async with connection.savepoint():
            await connection.copy("thing", [(4,)], ["id"])
    assert [row[0] for row in await database.fetch("SELECT id FROM thing ORDER BY id")] == [1, 2, 4]


async def test_a_swallowed_failure_is_no_commit(database: Database) -> None:
    """The server answers COMMIT of a failed transaction with ROLLBACK; that is not a success."""

    async def body() -> None:
        async with database.transaction() as connection:
            with suppress(asyncpg.DivisionByZeroError):
                await connection.execute("SELECT 1 / 0")

    with pytest.raises(Error, match="nothing was committed"):
        await body()


async def test_an_argument_that_cannot_be_encoded_is_no_outage(database: Database) -> None:
    """A mistake of the caller keeps its own exception, and the server counts as up."""
    with pytest.raises(asyncpg.DataError):
        await database.fetchval("SELECT $1::integer", "word")
    assert database.state == "up"
    assert database.statistics().outages == 0


async def test_a_statement_that_takes_too_long_is_an_outage(database_dsn: str) -> None:
    """The server gives it up before the client does, and the connection stays."""
    async with Database(Options(dsn=database_dsn, command_timeout=0.6)).opened() as database:
        async with database.connection() as connection:
            with pytest.raises(DatabaseGone, match="57014"):
                await connection.execute("SELECT pg_sleep(30)")
            assert database.state == "up"
            assert await connection.fetchval("SELECT 1") == 1
        assert database.statistics().outages == 1


async def test_closed_pools_are_an_outage(database_dsn: str) -> None:
    """After the end, and before the beginning, statements fail by name."""
    database = Database(Options(dsn=database_dsn))
    with pytest.raises(DatabaseGone, match="closed"):
        await database.fetchval("SELECT 1")


async def test_a_read_only_server_makes_connections_be_replaced(database: Database) -> None:
    """25006 after a fail-over: the statement is an outage, and the next acquire connects anew."""
    before = await database.fetchval("SELECT pg_backend_pid()")
    async with database.connection() as connection:
        await connection.execute("SET default_transaction_read_only = on")
        with pytest.raises(DatabaseGone, match="25006"):
            await connection.execute("CREATE TABLE thing ()")
    assert await database.fetchval("SELECT pg_backend_pid()") != before


async def test_killed_connections_leave_no_noise(database: Database, database_dsn: str) -> None:
    """Killed idle, in a transaction, in a statement, before they are given back or closed: nobody says a word."""
    kill = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = 'bystander'"
    script = [sys.executable, "-W", "error", str(BYSTANDER), database_dsn]
    async with await anyio.open_process(script) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        steps = BufferedByteReceiveStream(process.stdout)
        with anyio.fail_after(30):
            for expected in (4, 1, 2):
                assert await steps.receive_until(b"\n", 10) == b"kill"
                assert await database.fetchval(kill) >= expected
                await process.stdin.send(b"\n")
            said = b"".join([chunk async for chunk in process.stderr])
            status = await process.wait()
    assert (status, said.decode()) == (0, "")
