"""Postgres for everybody else: its server if it is ours, its pools, its schema, and whether it is up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import anyio

from tds_runtime import Context, actor, migrate, ride_out
from tds_runtime.database import Database
from tds_runtime.embedded import Server
from tds_runtime.errors import DatabaseGone

PROBE = 1.0  # seconds between looks while the database is down


@actor(start_timeout=60, stop=30)
async def storage(
    ctx: Context,
    *,
    database: Database,
    server: Server | None = None,
    statements: Callable[[], Sequence[str]] = tuple,
    on_change: Callable[[str], None] = lambda _state: None,
) -> None:
    """Be ready once the handle exists; with Postgres down the others run and say so.

    `server` is the embedded one; `statements` make the ERP's tables where they are wanted. A database that must not be
    used (DatabaseRefused) ends this actor and, by its budget, the daemon.
    """
    try:
        async with database.opened(held=True):
            ctx.ready()
            await ride_out(ctx, "database", lambda: _bring_up(database, server, statements))
            database.admit()
            await _watch(ctx, database, server, on_change)
    except DatabaseGone:
        if not ctx.stopping.is_set():
            raise
    finally:
        if server is not None:
            with anyio.CancelScope(shield=True):
                await server.stop()


async def _bring_up(database: Database, server: Server | None, statements: Callable[[], Sequence[str]]) -> None:
    if server is not None:
        await server.start()
    await migrate.apply(database, statements=statements())


async def _watch(ctx: Context, database: Database, server: Server | None, on_change: Callable[[str], None]) -> None:
    """Look for a lost database until it is back, so that its return is noticed without anybody's request."""
    known = ""
    while not ctx.stopping.is_set():
        if database.state != known:
            known = database.state
            on_change(known)
        if known == "down":
            await ride_out(ctx, "database", lambda: _probe(database, server), cap=PROBE)
            continue
        with anyio.move_on_after(PROBE):
            await ctx.stopping.wait()


async def _probe(database: Database, server: Server | None) -> None:
    if server is not None:
        await server.start()
    await database.fetchval("SELECT 1")
