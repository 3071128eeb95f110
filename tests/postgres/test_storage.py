"""The storage actor: ready at once, up when Postgres is, never down with it."""

from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from actors.storage import storage
from tds_runtime import Context
from tds_runtime.database import Database, Options
from tds_runtime.embedded import Server
from tds_runtime.errors import DatabaseGone

pytestmark = pytest.mark.anyio


async def until(database: Database, state: str) -> None:
    with anyio.fail_after(30):
        while database.state != state:
            await checkpoint()


async def ask_until_gone(database: Database) -> None:
    with suppress(DatabaseGone), anyio.fail_after(30):
        while True:
            await database.fetchval("SELECT 1")


async def test_statements_wait_for_the_schema(empty_dsn: str) -> None:
    """Before the migrations are through every statement is an outage; afterwards they work."""
    database, ctx = Database(Options(dsn=empty_dsn)), Context()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: storage.function(ctx, database=database, statements=lambda: ["CREATE TABLE erp ()"]))
        while not ctx.is_ready:
            await checkpoint()
        with pytest.raises(DatabaseGone):
            await database.fetchval("SELECT 1")
        await until(database, "up")
        assert await database.fetchval("SELECT count(*) FROM erp") == 0
        ctx.stopping.set()
    assert database.state == "down"


async def test_an_embedded_server_that_dies_is_started_again(tmp_path: Path) -> None:
    """The server is ours: it starts, comes back after a kill, and stops with us."""
    options = Options(dsn="embedded", data_directory=tmp_path / "pg")
    database, server, ctx = Database(options), Server(options.data_directory), Context()
    states: list[str] = []
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: storage.function(ctx, database=database, server=server, on_change=states.append))
        await until(database, "up")
        await anyio.run_process(["kill", "-9", (tmp_path / "pg/data/postmaster.pid").read_text().split()[0]])
        await ask_until_gone(database)
        await until(database, "up")
        assert await database.fetchval("SELECT count(*) FROM tds_sync_queue") == 0
        ctx.stopping.set()
    assert server.statistics().started == 2
    assert not server.statistics().running
