"""The schema: numbered SQL files applied once each, one transaction a file, by one node at a time.

Refuses, with advice, what must not be written to: a schema newer than this release, foreign tables with our prefix,
and a server whose settings would make an acknowledgement a lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import metadata, resources

import asyncpg
from msgspec import Struct

from tds_runtime import sql
from tds_runtime.database import Connection, Database
from tds_runtime.errors import DatabaseGone, DatabaseRefused

OLDEST_SERVER = 140000
PATIENCE = 900.0  # seconds a single migration may take
_REMEDIES = {
    "fsync": "say ALTER SYSTEM SET fsync = on and reload the server",
    "full_page_writes": "say ALTER SYSTEM SET full_page_writes = on and reload the server",
    "synchronous_commit": "set it to on for the server, or RESET it by ALTER DATABASE or ALTER ROLE",
}
LOCK = 7_305_801_316_121_089_634  # any number that no other application uses


class Migration(Struct, frozen=True):
    """One file: its number, its name without number and suffix, its text, and a digest of the text."""

    version: int
    name: str
    text: str
    checksum: str


class Status(Struct, frozen=True):
    """Versions that the database has, and migrations that it lacks."""

    applied: tuple[int, ...]
    pending: tuple[Migration, ...]


def available(package: str = "tds_runtime") -> tuple[Migration, ...]:
    """Return the migrations that this release brings, in order."""
    files = resources.files(package).joinpath("migrations").iterdir()
    texts = sorted((file.name, file.read_text(encoding="utf-8")) for file in files if file.name.endswith(".sql"))
    return tuple(_migration(name, text) for name, text in texts)


async def status(database: Database, migrations: Sequence[Migration] | None = None) -> Status:
    """Compare the database with this release; raises DatabaseRefused for a newer or foreign schema."""
    async with database.unguarded() as connection:
        return await _status(connection, available() if migrations is None else migrations)


async def apply(
    database: Database,
    *,
    migrations: Sequence[Migration] | None = None,
    statements: Sequence[str] = (),
) -> tuple[str, ...]:
    """Check the server, bring the schema to this release, then execute `statements` in one transaction.

    Returns:
        The names of what was applied, () when the schema was current.

    Raises:
        DatabaseRefused: the server or the schema must not be used; nothing was changed.
        DatabaseGone: the server went away, or another node is migrating; try again.
    """
    wanted = available() if migrations is None else tuple(migrations)
    applied: list[str] = []
    async with database.unguarded() as connection:
        await check(connection)
        await _ensure_schema(connection, database.options.schema)
        while (name := await _step(database, connection, wanted)) is not None:
            applied.append(name)
        if statements:
            async with database.transaction_on(connection):
                await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                await _long(database, connection, ";\n".join(statements))
    return tuple(applied)


async def check(connection: Connection) -> None:
    """Raise DatabaseRefused for a server that is too old, not UTF-8, or set to lose acknowledged work."""
    row = await connection.fetchrow(sql.load("migrate/settings"))
    if row is None or row["version"] < OLDEST_SERVER:
        raise DatabaseRefused(
            "this needs PostgreSQL 14 or newer: upgrade the server, or name another one in [database] dsn"
        )
    if row["encoding"] != "UTF8":
        raise DatabaseRefused(f"the database is encoded in {row['encoding']}: create it with ENCODING 'UTF8'")
    for name, remedy in _REMEDIES.items():
        if row[name] == "off":
            raise DatabaseRefused(f"{name} is off, so what is acknowledged could be lost: {remedy}")


async def _step(database: Database, connection: Connection, wanted: Sequence[Migration]) -> str | None:
    """Apply the next migration in a transaction of its own, under the lock; None when there is none left."""
    if not (await _status(connection, wanted)).pending:
        return None
    async with database.transaction_on(connection):
        if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK):
            raise DatabaseGone("another node is migrating the database")
        pending = (await _status(connection, wanted)).pending
        if not pending:
            return None
        await connection.execute(sql.load("migrate/create"))
        await _long(database, connection, pending[0].text)
        await connection.execute(sql.load("migrate/record"), *_record(pending[0]))
        return pending[0].name


async def _long(database: Database, connection: Connection, text: str) -> None:
    with database.outages(connection.wire):
        await connection.wire.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = '3s'")
        try:
            await connection.wire.execute(text, timeout=PATIENCE)
        except asyncpg.LockNotAvailableError as error:
            raise DatabaseGone("a migration waits for a lock") from error


async def _status(connection: Connection, wanted: Sequence[Migration]) -> Status:
    [(ours, found)] = await connection.fetch(sql.load("migrate/known"))
    if not ours:
        _refuse_foreign(found)
        return Status((), tuple(wanted))
    applied = tuple(row[0] for row in await connection.fetch(sql.load("migrate/applied")))
    newest = max((migration.version for migration in wanted), default=0)
    if applied and applied[-1] > newest:
        raise DatabaseRefused(
            f"the schema is at {applied[-1]}, this release knows {newest}: start the newer release, "
            "or restore a backup from before it"
        )
    return Status(applied, tuple(one for one in wanted if one.version not in applied))


def _refuse_foreign(found: Sequence[str]) -> None:
    if found:
        raise DatabaseRefused(
            f"the schema already holds {', '.join(found[:5])} from another application: "
            "name a schema of its own in [database] schema"
        )


async def _ensure_schema(connection: Connection, schema: str) -> None:
    if await connection.fetchval("SELECT to_regnamespace(quote_ident($1)) IS NULL", schema):
        await connection.execute("CREATE SCHEMA IF NOT EXISTS " + '"' + schema.replace('"', '""') + '"')


def _migration(filename: str, text: str) -> Migration:
    number, _, name = filename.removesuffix(".sql").partition("_")
    text = sql.expand(text)
    return Migration(int(number), name, text, hashlib.sha256(text.encode()).hexdigest()[:16])


def _record(migration: Migration) -> tuple[int, str, str, str]:
    return migration.version, migration.name, migration.checksum, release()


def release() -> str:
    """Return the version of this software, "source" where it is not installed."""
    try:
        return metadata.version("tds-runtime")
    except metadata.PackageNotFoundError:
        return "source"
