"""Commits that wait for a standby, and what an operator who cancels that wait makes of them."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from tds_runtime.database import Database, Options
from tds_runtime.embedded import Server
from tds_runtime.errors import DatabaseGone

pytestmark = pytest.mark.anyio

CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
async def lonely(postgres_directory: Path, anyio_backend: str) -> AsyncIterator[Database]:
    """A database whose commits wait for a standby that does not exist."""
    server = Server(postgres_directory)
    options = Options(dsn=await server.start())
    async with Database(options).opened() as database:
        await database.execute("CREATE TABLE thing (id integer)")
        await database.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
        await database.execute("SELECT pg_reload_conf()")
        yield database
        await database.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await database.execute("SELECT pg_reload_conf()")
    await server.stop()


async def cancel_the_wait(database: Database) -> None:
    with anyio.fail_after(10):
        while not await database.fetch(CANCEL):  # noqa: ASYNC110 - the server's backends set no event here
            await anyio.sleep(0.02)


async def insert_in_transaction(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute("INSERT INTO thing VALUES (1)")


async def insert_at_once(database: Database) -> None:
    await database.execute("INSERT INTO thing VALUES (1)")


@pytest.mark.parametrize("insert", [insert_in_transaction, insert_at_once])
async def test_a_cancelled_wait_for_the_standby_is_no_success(lonely: Database, insert) -> None:
    """The server calls such a commit done; here it is an outage, as it is on no standby, and the next one works."""
    async with anyio.create_task_group() as group:
        group.start_soon(cancel_the_wait, lonely)
        with pytest.raises(DatabaseGone, match="standby"):
            await insert(lonely)
    assert await lonely.fetchval("SELECT 1") == 1
    assert "standby" in lonely.statistics().last_outage
