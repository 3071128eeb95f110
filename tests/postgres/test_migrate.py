"""Migrations: once each, under a lock, never over somebody else's tables."""

from pathlib import Path
from urllib.parse import urlsplit

import anyio
import asyncpg
import pytest

from tds_runtime import migrate
from tds_runtime.database import Database, Options
from tds_runtime.embedded import Server
from tds_runtime.errors import DatabaseGone, DatabaseRefused
from tds_runtime.migrate import Migration

pytestmark = pytest.mark.anyio


def numbered(version: int, text: str) -> Migration:
    return Migration(version, f"step_{version}", text, "x")


FIRST = numbered(1, "CREATE TABLE tds_one (id integer)")


async def apply(dsn: str, *migrations: Migration, schema: str = "public") -> tuple[str, ...]:
    async with Database(Options(dsn=dsn, schema=schema)).opened() as database:
        return await migrate.apply(database, migrations=migrations)


async def test_each_is_applied_once(empty_dsn: str) -> None:
    """What is there is not applied again, what is new is."""
    assert await apply(empty_dsn, FIRST) == ("step_1",)
    assert await apply(empty_dsn, FIRST, numbered(2, "ALTER TABLE tds_one ADD name text")) == ("step_2",)
    assert await apply(empty_dsn, FIRST, numbered(2, "")) == ()


async def test_a_failing_one_leaves_no_half(empty_dsn: str) -> None:
    """The statements of a migration and its record are one transaction."""
    broken = numbered(2, "CREATE TABLE tds_two (id integer); SELECT 1 / 0")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await apply(empty_dsn, FIRST, broken)
    async with Database(Options(dsn=empty_dsn)).opened() as database:
        assert await database.fetchval("SELECT to_regclass('tds_two')") is None
        assert (await migrate.status(database, [FIRST, broken])).applied == (1,)


async def test_eight_nodes_at_once_apply_each_once(empty_dsn: str) -> None:
    """Whoever comes second waits for its turn (as an outage) and finds nothing to do."""
    steps = [FIRST, numbered(2, "ALTER TABLE tds_one ADD name text; SELECT pg_sleep(0.05)")]

    async def node() -> None:
        while True:
            try:
                await apply(empty_dsn, *steps)
            except DatabaseGone:
                continue
            return

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(node)
    async with Database(Options(dsn=empty_dsn)).opened() as database:
        assert (await migrate.status(database, steps)).applied == (1, 2)


async def test_a_newer_schema_is_refused(empty_dsn: str) -> None:
    """A release that is older than the schema does not touch it."""
    await apply(empty_dsn, FIRST, numbered(2, "SELECT 1"))
    with pytest.raises(DatabaseRefused, match="newer release"):
        await apply(empty_dsn, FIRST)


async def test_foreign_tables_are_refused(empty_dsn: str) -> None:
    """Tables with our prefix that we did not make are named, with advice; a schema of our own works."""
    async with Database(Options(dsn=empty_dsn)).opened() as database:
        await database.execute("CREATE TABLE tds_sync_queue (theirs text)")
    with pytest.raises(DatabaseRefused, match=r"tds_sync_queue.*\[database\] schema"):
        await apply(empty_dsn, FIRST)
    assert await apply(empty_dsn, FIRST, schema='Odd "name"') == ("step_1",)


@pytest.mark.parametrize("level", ["DATABASE", "ROLE"])
async def test_synchronous_commit_off_is_refused(empty_dsn: str, level: str) -> None:
    """A default that loses acknowledged work is refused wherever it is set; our own sessions override it."""
    name = urlsplit(empty_dsn).path.strip("/")
    async with Database(Options(dsn=empty_dsn)).opened() as database:
        user = await database.fetchval("SELECT current_user")
        target = f"DATABASE {name}" if level == "DATABASE" else f"ROLE {user} IN DATABASE {name}"
        await database.execute(f"ALTER {target} SET synchronous_commit = off")
    with pytest.raises(DatabaseRefused, match=f"synchronous_commit is off.*ALTER {level}"):
        await apply(empty_dsn, FIRST)
    async with Database(Options(dsn=empty_dsn)).opened() as database:
        assert await database.fetchval("SHOW synchronous_commit") == "on"


async def test_a_database_in_another_encoding_is_refused(postgres_dsn: str, empty_dsn: str) -> None:
    """Only UTF-8 keeps every name."""
    name = urlsplit(empty_dsn).path.strip("/")
    admin = await asyncpg.connect(postgres_dsn, timeout=10)
    try:
        await admin.execute(f"DROP DATABASE {name}")
        await admin.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        )
    finally:
        await admin.close(timeout=5)
    with pytest.raises(DatabaseRefused, match="SQL_ASCII: create it with ENCODING 'UTF8'"):
        await apply(empty_dsn, FIRST)


async def test_statements_follow_the_migrations(empty_dsn: str) -> None:
    """The ERP's own tables are made after ours, in one transaction."""
    async with Database(Options(dsn=empty_dsn)).opened() as database:
        await migrate.apply(
            database, migrations=[FIRST], statements=["CREATE TABLE a (id integer)", "CREATE TABLE b ()"]
        )
        assert await database.fetchval("SELECT to_regclass('b')") is not None


async def test_the_packaged_migrations_apply(empty_dsn: str) -> None:
    """All numbers are different, all texts apply in a schema of any name."""
    versions = [migration.version for migration in migrate.available()]
    assert versions == sorted(set(versions))
    assert await apply(empty_dsn, *migrate.available(), schema="erp")


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit"])
async def test_a_server_that_forgets_is_refused(postgres_directory: Path, setting: str) -> None:
    """Settings that lose acknowledged work after a crash are refused, by name and with what to do."""
    server = Server(postgres_directory, settings={setting: "off"})
    try:
        with pytest.raises(DatabaseRefused, match=f"{setting} is off.* to on|SET {setting} = on"):
            await apply(await server.start(), FIRST)
    finally:
        await server.stop()


async def test_what_changes_much_says_how_it_is_vacuumed(empty_dsn: str) -> None:
    """Room for updates in place, or an early vacuum, is set when a table is made, not by whoever finds it swollen."""
    async with Database(Options(dsn=empty_dsn)).opened() as database:
        await migrate.apply(database)
        rows = await database.fetch(
            "SELECT relname::text FROM pg_class"
            " WHERE relkind = 'r' AND array_to_string(reloptions, ' ') ~ 'fillfactor|autovacuum'"
        )
    assert {row[0] for row in rows} >= {
        "tds_sync_queue_live", "tds_inbox_events", "tds_last_deliveries", "tds_event_keys", "tds_record_state",
        "tds_nodes", "tds_leaders", "tds_sync_runs", "tds_sync_cursors", "tds_upstreams",
    }  # fmt: skip
