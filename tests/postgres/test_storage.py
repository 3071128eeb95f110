"""The storage actor: ready at once, up when Postgres is, never down with it."""

import math
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

import anyio
import pytest
from anyio.lowlevel import checkpoint

from actors.storage import storage
from tds_runtime import Context
from tds_runtime.database import Database, Options
from tds_runtime.embedded import Server
from tds_runtime.errors import DatabaseGone

pytestmark = pytest.mark.anyio

TABLES = ["CREATE TABLE erp ()"]


class States:
    """What `on_change` was told, and a way to wait for one of them."""

    def __init__(self) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[str](math.inf)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._send.close()
        self._receive.close()

    def told(self, state: str) -> None:
        self._send.send_nowait(state)

    async def until(self, state: str) -> None:
        with anyio.fail_after(60):
            while await self._receive.receive() != state:
                pass


async def ask_until_gone(database: Database) -> None:
    with suppress(DatabaseGone), anyio.fail_after(30):
        while True:
            await database.fetchval("SELECT 1")


async def test_statements_wait_for_the_schema(empty_dsn: str) -> None:
    """Before the migrations are through every statement is an outage; afterwards they work."""
    database, ctx = Database(Options(dsn=empty_dsn)), Context()
    with States() as states:
        run = partial(storage.function, ctx, database=database, statements=lambda: TABLES, on_change=states.told)
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            while not ctx.is_ready:
                await checkpoint()
            with pytest.raises(DatabaseGone):
                await database.fetchval("SELECT 1")
            await states.until("up")
            assert await database.fetchval("SELECT count(*) FROM erp") == 0
            ctx.stopping.set()
    assert database.state == "down"


async def test_an_embedded_server_that_dies_is_started_again(postgres_directory: Path) -> None:
    """The server is ours: it starts, comes back after a kill, and stops with us."""
    options = Options(dsn="embedded", data_directory=postgres_directory)
    database, server, ctx = Database(options), Server(options.data_directory), Context()
    with States() as states:
        run = partial(storage.function, ctx, database=database, server=server, on_change=states.told)
        async with anyio.create_task_group() as group:
            group.start_soon(run)
            await states.until("up")
            await anyio.run_process(["kill", "-9", (postgres_directory / "data/postmaster.pid").read_text().split()[0]])
            await ask_until_gone(database)
            await states.until("up")
            assert await database.fetchval("SELECT count(*) FROM tds_sync_queue") == 0
            ctx.stopping.set()
    assert server.statistics().started == 2
    assert not server.statistics().running
