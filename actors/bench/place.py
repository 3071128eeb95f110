"""Where benches run: a Postgres of their own in a temporary directory, with the daemon's default durability."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from actors.processes import playground
from tds_runtime.embedded import Server

SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "max_connections": "100"}
SEGMENTS = 40
AGED = {"min_wal_size": f"{SEGMENTS * 16}MB", "autovacuum_analyze_threshold": "100000"}


@asynccontextmanager
async def server(settings: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """The DSN of a fresh server, with more settings where a bench needs them; it is gone afterwards."""
    with playground("tds-bench-") as directory:
        postgres = Server(directory / "postgres", settings={**SETTINGS, **(settings or {})})
        dsn = await postgres.start()
        try:
            yield dsn
        finally:
            await postgres.stop()


@asynccontextmanager
async def aged_server() -> AsyncIterator[str]:
    """The same without two stalls that only a server of a few minutes has; vacuum is left as it is.

    The first segments of its log are made, zeroed and synced when a commit needs them, which then waits some 30 ms:
    here they lie ready. And tables of a few thousand rows are analyzed anew every ten seconds under load, since a tenth
    of them is new then: here as seldom as those of a million rows.
    """
    async with server(AGED) as dsn:
        async with connection(dsn) as opened:
            for _ in range(SEGMENTS):
                await opened.execute("SELECT pg_logical_emit_message(false, 'bench', 'a segment with something in it')")
                await opened.execute("SELECT pg_switch_wal()")
            await opened.execute("CHECKPOINT")
        yield dsn


@asynccontextmanager
async def connection(dsn: str) -> AsyncIterator[Any]:
    """One connection of the driver itself, for the sides that do without the daemon."""
    opened = await asyncpg.connect(dsn, timeout=30, command_timeout=120)
    try:
        yield opened
    finally:
        await opened.close(timeout=10)


async def database(dsn: str, name: str) -> str:
    """The DSN of one more database on the same server, which is made for it."""
    async with connection(dsn) as opened:
        await opened.execute(f"CREATE DATABASE {name}")
    return urlsplit(dsn)._replace(path=f"/{name}").geturl()


async def version(dsn: str) -> str:
    """Which Postgres this is, as it calls itself."""
    async with connection(dsn) as opened:
        return str(await opened.fetchval("SHOW server_version"))


async def settle(dsn: str, table: str) -> None:
    """Vacuum and analyze the table that a bench has filled; no CHECKPOINT, which would have every page logged whole."""
    async with connection(dsn) as opened:
        await opened.execute(f"VACUUM ANALYZE {table}")


def check(side: str, found: int, wanted: int) -> None:
    """Refuse a figure for work that was not done."""
    if found != wanted:
        raise AssertionError(f"{side}: {found} of {wanted} rows were written, the figure would mean nothing")
