"""Where benches run: a Postgres of their own in a temporary directory, with the daemon's default durability."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from actors.processes import playground
from tds_runtime.embedded import Server

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "max_connections": "100"}


@asynccontextmanager
async def server() -> AsyncIterator[str]:
    """The DSN of a fresh server; it is gone afterwards."""
    with playground("tds-bench-") as directory:
        postgres = Server(directory / "postgres", settings=SETTINGS)
        dsn = await postgres.start()
        try:
            yield dsn
        finally:
            await postgres.stop()


@asynccontextmanager
async def connection(dsn: str) -> AsyncIterator[Any]:
    """One connection of the driver itself, for the sides that do without the daemon."""
    opened = await asyncpg.connect(dsn, timeout=30, command_timeout=120)
    try:
        yield opened
    finally:
        await opened.close(timeout=10)
