"""The roles of ops/postgres/roles.sql on a real server: each can do its work and nothing else."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import anyio
import asyncpg
import pytest

from actors.healer import Healer, Retention
from actors.healer import Options as HealerOptions
from tds_runtime import migrate, premises
from tds_runtime.database import Database, Options
from tds_runtime.intake import Delivery, store
from tds_runtime.metrics import Metrics
from tds_runtime.nodes import Keeper, Node
from tds_runtime.queue import Change, Completion, Failure, Queue

pytestmark = pytest.mark.anyio

ROLES = Path(__file__).parents[2] / "ops" / "postgres" / "roles.sql"
SERIAL = itertools.count()
DENIED = asyncpg.InsufficientPrivilegeError


@pytest.fixture
async def granted(database: Database, database_dsn: str) -> Database:
    """The owner's connection to a database in which the roles were made, twice."""
    psql = str(premises.reachable_programs() / "psql")
    for _ in range(2):
        words = ["--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", "-f", str(ROLES), database_dsn]
        await anyio.run_process([psql, *words], cwd="/")
    return database


@asynccontextmanager
async def member(owner: Database, role: str) -> AsyncIterator[Database]:
    """A database as a login of one role sees it."""
    login = f"tds_test_login_{os.getpid()}_{next(SERIAL)}"
    await owner.execute(f"CREATE ROLE {login} LOGIN IN ROLE {role}")
    url = urlsplit(owner.options.dsn)
    dsn = urlunsplit(url._replace(netloc=f"{login}@{url.netloc.rpartition('@')[2]}"))
    try:
        async with Database(Options(dsn=dsn)).opened() as database:
            yield database
    finally:
        await owner.execute(f"DROP ROLE {login}")


def delivery(record: str) -> Delivery:
    return Delivery(
        source="zoho", entity_type="product", source_entity_id=record, operation="upsert", modified_at=None,
        body=b"{}", content_type="", query="", correlation_id="", event_id=f"e{record}",
    )  # fmt: skip


async def change(database: Database, *records: str) -> None:
    async with database.transaction() as connection:
        changes = [Change(entity_type="product", source_entity_id=record, payload=b"{}") for record in records]
        await Queue(database, boot_id="x").enqueue(connection, changes)


async def test_ingest_stores_and_does_nothing_else(granted: Database) -> None:
    """It acknowledges webhooks, repeats too; it reads no body, removes nothing, and sees no other table."""
    async with member(granted, "tds_ingest") as database:
        await store(database, [delivery("1"), delivery("2")])
        await store(database, [delivery("2"), delivery("3")])
        for forbidden in (
            "SELECT body FROM tds_inbox_events", "DELETE FROM tds_inbox_events",
            "DELETE FROM tds_sync_queue_live", "SELECT * FROM tds_tokens", "SELECT * FROM tds_audit_trail",
            "SELECT tds_drop_partitions()", "CREATE TABLE public.tds_mine ()",
        ):  # fmt: skip
            with pytest.raises(DENIED):
                await database.execute(forbidden)
    assert await granted.fetchval("SELECT count(*) FROM tds_inbox_events") == 3


async def test_a_worker_works_and_rewrites_no_history(granted: Database) -> None:
    """Everything the daemon does but migrating: storing, settling, burying, keeping house, healing."""
    async with member(granted, "tds_worker") as database:
        assert (await migrate.apply(database)) == ()
        node = Node(database)
        queue = Queue(database, boot_id=node.boot_id)
        await node.renew()
        await store(database, [delivery("1")])
        await change(database, "2", "3")
        one, two, three = await queue.claim(["product"])
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO tds_audit_trail (action) VALUES ('insert')")
            await queue.complete(connection, [Completion(one.id, one.fence, "applied")])
        await queue.retry([Failure(id=two.id, fence=two.fence, error_code="x", error_message="x")])
        await queue.bury([Failure(id=three.id, fence=three.fence, error_code="x", error_message="x")])
        assert (await queue.statistics()).completed == 1
        await Keeper(database, node, queue).turn()
        options = HealerOptions(partitions_ahead=16)
        await Healer(database, queue, Metrics(), options=options, retention=Retention()).heal()
        await database.execute("SELECT tds_get_health_summary(), tds_requeue(), tds_prune()")
        for forbidden in (
            "UPDATE tds_audit_trail SET actor = 'nobody'", "DELETE FROM tds_audit_trail", "DROP TABLE tds_sync_queue",
            "UPDATE tds_migrations SET version = 1", "CREATE TABLE public.tds_mine ()", "TRUNCATE tds_sync_queue",
        ):  # fmt: skip
            with pytest.raises(DENIED):
                await database.execute(forbidden)
    name = "SELECT to_regclass('tds_sync_queue_done_' || to_char((now() AT TIME ZONE 'UTC')::date + 16, 'YYYYMMDD'))"
    assert await granted.fetchval(name) is not None


async def test_a_reader_sees_how_it_goes_and_no_secret(granted: Database) -> None:
    """Views, counts and history; no token, no body, and no write."""
    async with member(granted, "tds_reader") as database:
        for allowed in (
            "SELECT tds_get_health_summary()", "SELECT * FROM tds_get_queue_statistics()",
            "SELECT * FROM tds_queue_overview", "SELECT * FROM tds_dead_letter_causes",
            "SELECT * FROM tds_node_overview", "SELECT status, count(*) FROM tds_sync_queue GROUP BY status",
            "SELECT id, received_at, source_entity_id FROM tds_inbox_events", "SELECT * FROM tds_audit_trail",
        ):  # fmt: skip
            await database.fetch(allowed)
        for forbidden in (
            "SELECT * FROM tds_tokens", "SELECT * FROM tds_memos", "SELECT body FROM tds_inbox_events",
            "SELECT tds_requeue()", "UPDATE tds_sync_queue SET status = 'pending'", "SELECT tds_drop_partitions()",
        ):  # fmt: skip
            with pytest.raises(DENIED):
                await database.fetch(forbidden)


async def test_a_temporary_table_stands_in_for_none_of_ours(granted: Database) -> None:
    """What runs in the owner's name looks for its tables in the schema only."""
    async with member(granted, "tds_worker") as database, database.connection() as connection:
        await connection.execute("CREATE TEMPORARY TABLE tds_finished_minutes (minute timestamptz)")
        await connection.execute("INSERT INTO tds_finished_minutes VALUES ('2020-01-01')")
        await connection.execute("SELECT tds_drop_partitions()")
        assert await connection.fetchval("SELECT count(*) FROM pg_temp.tds_finished_minutes") == 1
