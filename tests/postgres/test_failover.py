"""Several servers behind one URL: the one that takes writes is found, whatever became of the others."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest
from fixtures.daemon import until

from tds_runtime import migrate, premises
from tds_runtime.database import Database, Options
from tds_runtime.embedded import Server
from tds_runtime.errors import DatabaseGone
from tds_runtime.queue import Change, Queue

pytestmark = pytest.mark.anyio


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of somebody who accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_silent_host_costs_its_share_of_the_time_once(silent: int, database_dsn: str) -> None:
    """The next host is asked while there is time left, and asked first from then on."""
    url = urlsplit(database_dsn)
    where = dict(part.split("=") for part in url.query.split("&"))
    name = url.path.strip("/")
    dsn = f"postgresql://postgres@/{name}?host=127.0.0.1,{where['host']}&port={silent},{where['port']}"
    async with Database(Options(dsn=dsn, acquire_timeout=2.0)).opened() as database:
        assert await database.fetchval("SELECT current_database()") == name
        with anyio.fail_after(0.9):
            async with database.connection() as one, database.connection() as two:
                assert await one.fetchval("SELECT 1") == await two.fetchval("SELECT 1")


async def program(server: Server, name: str, *words: str) -> None:
    """Run one of the server's programs as the user that the server runs as."""
    user = premises.owner()
    await anyio.run_process(
        [str(premises.reachable_programs() / name), *words],
        cwd="/",
        user=user.pw_uid if user else None,
        group=user.pw_gid if user else None,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture
async def pair(postgres_directory: Path, anyio_backend: str) -> AsyncIterator[tuple[Server, Server]]:
    """A primary and a standby that follows it."""
    primary, standby = Server(postgres_directory / "one"), Server(postgres_directory / "two")
    await primary.start()
    standby.data_directory.mkdir(parents=True)
    premises.give(standby.data_directory)
    sockets = premises.socket_directory(primary.data_directory)
    await program(
        primary, "pg_basebackup", f"--host={sockets}", f"--username={premises.USER}", "--checkpoint=fast",
        "--write-recovery-conf", f"--pgdata={standby.data_directory / 'data'}",
    )  # fmt: skip
    (standby.data_directory / "data" / f"{premises.SOCKET_NAME}.lock").unlink()  # the backup took it along
    try:
        await standby.start()
        yield primary, standby
    finally:
        await standby.stop()
        await primary.stop()


async def test_a_failover_needs_nobody(pair: tuple[Server, Server]) -> None:
    """Writes go to the primary though the standby is named first; killed and the standby promoted, they go there."""
    primary, standby = pair
    directories = ",".join(premises.socket_directory(one.data_directory) for one in (standby, primary))
    dsn = f"postgresql://{premises.USER}@/tds?host={directories}&port={premises.PORT}&target_session_attrs=read-write"
    async with Database(Options(dsn=dsn)).opened() as database:
        await migrate.apply(database)
        await enqueue(database, "1")
        await follows(standby)
        os.kill(int((primary.data_directory / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        await until(lambda: gone(database))
        await program(standby, "pg_ctl", "promote", "--wait", f"--pgdata={standby.data_directory / 'data'}")
        await until(lambda: works(database), within=5)
        await enqueue(database, "2")
        assert (await Queue(database, boot_id="x").statistics()).pending == 2


async def test_connections_to_a_server_that_became_read_only_are_left(pair: tuple[Server, Server]) -> None:
    """25006 on any connection: the rest of the pool is not asked again, and the next one leads to the new primary."""
    primary, standby = pair
    directories = ",".join(premises.socket_directory(one.data_directory) for one in (primary, standby))
    dsn = f"postgresql://{premises.USER}@/tds?host={directories}&port={premises.PORT}&target_session_attrs=read-write"
    async with Database(Options(dsn=dsn)).opened() as database, Database(Options(dsn=primary.dsn)).opened() as admin:
        await migrate.apply(database)
        async with anyio.create_task_group() as group:
            for _ in range(6):
                group.start_soon(database.fetchval, "SELECT pg_sleep(0.1)")
        await follows(standby)
        await program(standby, "pg_ctl", "promote", "--wait", f"--pgdata={standby.data_directory / 'data'}")
        await admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await admin.execute("SELECT pg_reload_conf()")
        await until(lambda: is_read_only(admin))
        with pytest.raises(DatabaseGone, match="25006"):
            await enqueue(database, "1")
        await enqueue(database, "1")
        assert await database.fetchval("SELECT count(*) FROM tds_sync_queue") == 1
        assert await admin.fetchval("SELECT count(*) FROM tds_sync_queue") == 0


async def enqueue(database: Database, record: str) -> None:
    async with database.transaction() as connection:
        change = Change(entity_type="product", source_entity_id=record, payload=b"{}")
        await Queue(database, boot_id="x").enqueue(connection, [change])


async def follows(standby: Server) -> None:
    """Wait until what was written is on the standby as well."""
    async with Database(Options(dsn=standby.dsn)).opened() as there:
        await until(lambda: has_the_schema(there))


async def has_the_schema(database: Database) -> bool:
    return bool(await database.fetchval("SELECT to_regclass('tds_finished_minutes') IS NOT NULL"))


async def is_read_only(database: Database) -> bool:
    return bool(await database.fetchval("SHOW default_transaction_read_only") == "on")


async def gone(database: Database) -> bool:
    return not await works(database)


async def works(database: Database) -> bool:
    try:
        return bool(await database.fetchval("SELECT NOT pg_is_in_recovery()"))
    except DatabaseGone:
        return False
