"""Processes that are really killed or frozen, and servers that are really stopped."""

import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from tds_runtime.database import Database, Options
from tds_runtime.embedded import Server
from tds_runtime.errors import DatabaseGone
from tds_runtime.nodes import Node
from tds_runtime.queue import Change, Queue

pytestmark = pytest.mark.anyio

SURVIVOR = Path(__file__).with_name("survivor.py")
EFFECTS = "CREATE TABLE effect (id bigint GENERATED ALWAYS AS IDENTITY, record text, version integer)"
QUICK = {"command_timeout": 2.0, "acquire_timeout": 2.0, "release_timeout": 0.5}


class Survivor:
    """A process and the lines that it has said so far."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._said = anyio.Event()

    async def listen(self) -> None:
        assert self.process.stdout is not None
        rest = ""
        async for chunk in TextReceiveStream(self.process.stdout):
            *whole, rest = (rest + chunk).split("\n")
            self.lines += whole
            self._said.set()
            self._said = anyio.Event()

    async def until(self, count: int, word: str = "") -> None:
        with anyio.fail_after(60):
            while sum(line.startswith(word) for line in self.lines) < count:
                await self._said.wait()

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):
            self.process.send_signal(number)


@asynccontextmanager
async def survivor(role: str, dsn: str, first: int = 0, lease: float = 60.0) -> AsyncIterator[Survivor]:
    command = [sys.executable, str(SURVIVOR), role, dsn, str(first), str(lease)]
    async with await anyio.open_process(command, stderr=None) as process, anyio.create_task_group() as group:
        alive = Survivor(process)
        group.start_soon(alive.listen)
        yield alive
        alive.send(signal.SIGKILL)


async def drain(database: Database) -> None:
    """A last worker that nobody kills finishes what is left."""
    node = Node(database)
    queue = Queue(database, boot_id=node.boot_id)
    await node.renew()
    await node.declare_dead()
    await queue.return_expired()
    sys.path.insert(0, str(SURVIVOR.parent))
    try:
        from survivor import apply  # noqa: PLC0415 - the script's own effect
    finally:
        sys.path.pop(0)
    while tasks := await queue.claim(["product"]):
        await apply(database, queue, tasks)


async def expired(database: Database) -> None:
    """Another node finds that the lease is over and takes the tasks back."""
    me = Node(database)
    await me.renew()
    queue = Queue(database, boot_id=me.boot_id)
    with anyio.fail_after(30):
        returned = await queue.return_expired()
        while not returned.ids:
            returned = await queue.return_expired()


async def test_killed_writers_and_workers_lose_nothing(database: Database, database_dsn: str) -> None:
    """Under SIGKILLs at random moments: all that was acknowledged is stored, applied once, in order."""
    random, acknowledged, sent = Random(7), set[int](), 0
    await database.execute(EFFECTS)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            async with survivor("store", database_dsn, sent) as writer, survivor("work", database_dsn) as worker:
                await worker.until(1, "up")
                await writer.until(random.randint(5, 60), "ok")
                await worker.until(random.randint(1, 8), "claimed")
                writer.send(signal.SIGKILL)
                worker.send(signal.SIGKILL)
                await writer.process.wait()
            acknowledged |= {int(line.split()[1]) for line in writer.lines}
            sent = max(acknowledged) + 1
        group.cancel_scope.cancel()
    await drain(database)
    stored = {int(row[0]) for row in await database.fetch("SELECT correlation_id FROM tds_inbox_events")}
    assert acknowledged <= stored
    rows = [(row[0], row[1]) for row in await database.fetch("SELECT record, version FROM effect ORDER BY id")]
    assert len(rows) == len(set(rows))
    for record in {record for record, _ in rows}:
        versions = [version for of, version in rows if of == record]
        assert versions == sorted(versions)
        assert versions[-1] == max(number // 20 for number in stored if str(number % 20) == record)
    assert await database.fetchval("SELECT count(*) FROM tds_sync_queue_live") == 0
    row = await database.fetchrow("SELECT count(*), sum(coalesced) FROM tds_sync_queue")
    assert row is not None
    assert row[0] + row[1] == len(stored)
    print(f"{len(acknowledged)} acknowledged under 10 kills: 0 lost, 0 duplicate effects, 0 reversals")  # noqa: T201 - the figure is what the campaign is read for


async def test_a_frozen_owner_changes_nothing(database: Database, database_dsn: str) -> None:
    """SIGSTOP for longer than the lease, another node takes over and finishes, SIGCONT: fenced, 0 rows changed."""
    await database.execute(EFFECTS)
    async with database.transaction() as connection:
        changes = [Change(entity_type="product", source_entity_id=str(n), payload=b"1") for n in range(10)]
        await Queue(database, boot_id="x").enqueue(connection, changes)
    async with survivor("work", database_dsn, lease=1.0) as frozen:
        async with database.transaction() as connection:
            await connection.execute("LOCK TABLE effect")  # the worker claims and comes no further
            await frozen.until(1, "claimed 10")
            frozen.send(signal.SIGSTOP)
        await expired(database)
        await drain(database)
        before = await database.fetch("SELECT * FROM effect")
        frozen.send(signal.SIGCONT)
        await frozen.until(1, "fenced")
    assert len(before) == 10
    assert await database.fetch("SELECT * FROM effect") == before
    assert await database.fetchval("SELECT count(*) FROM tds_sync_queue WHERE status = 'completed'") == 10


@pytest.fixture
async def own_server(postgres_directory: Path, anyio_backend: str) -> AsyncIterator[Server]:
    server = Server(postgres_directory)
    await server.start()
    yield server
    await server.stop()


def postmaster(server: Server) -> int:
    return int((server.data_directory / "data" / "postmaster.pid").read_text().split()[0])


async def until_it_works(database: Database) -> float:
    began = time.monotonic()
    with anyio.fail_after(60):
        while True:
            try:
                await database.fetchval("SELECT 1")
            except DatabaseGone:
                await anyio.sleep(0.02)
            else:
                return time.monotonic() - began


async def test_a_restarted_server_is_used_again_at_once(own_server: Server) -> None:
    """Statements fail as outages while it is away, and the first ones after its return work; no connection leaks."""
    async with Database(Options(dsn=own_server.dsn, **QUICK)).opened() as database:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(database.fetchval, "SELECT pg_sleep(0.1)")
        await own_server.stop()
        with pytest.raises(DatabaseGone):
            await database.fetchval("SELECT 1")
        assert database.state == "down"
        await own_server.start()
        assert await until_it_works(database) < 2
        assert database.state == "up"
        count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tds-runtime'"
        assert await database.fetchval(count) <= 10


async def test_a_frozen_server_is_given_up_in_time(own_server: Server) -> None:
    """SIGSTOP of the backends: every statement ends within command_timeout, also one that is being cancelled."""
    async with Database(Options(dsn=own_server.dsn, **QUICK)).opened() as database:
        pid = await database.fetchval("SELECT pg_backend_pid()")
        os.kill(pid, signal.SIGSTOP)
        os.kill(postmaster(own_server), signal.SIGSTOP)
        try:
            began = time.monotonic()
            with pytest.raises(DatabaseGone):
                await database.fetchval("SELECT 1")
            with anyio.move_on_after(0.1):
                await database.fetchval("SELECT 1", pool="ingest")
            assert time.monotonic() - began < 2 + 0.1 + 2 + 1
        finally:
            os.kill(postmaster(own_server), signal.SIGCONT)
            os.kill(pid, signal.SIGCONT)
        assert await until_it_works(database) < 5


async def test_a_cancelled_caller_does_not_harm_its_connection(database: Database) -> None:
    """Cancelling in the middle of transactions leaves no open transaction and no lost pool slot."""
    await database.execute("CREATE TABLE thing (id integer)")

    async def body() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO thing VALUES (1)")
            await connection.execute("SELECT pg_sleep(10)")

    for _ in range(3 * database.options.work_connections):
        with anyio.move_on_after(0.02):
            await body()
    assert await database.fetchval("SELECT count(*) FROM thing") == 0
    idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
    assert await database.fetchval(idle) == 0
    pool = database.statistics().pools["work"]
    assert pool.size - pool.idle == 0


async def test_terminated_backends_are_replaced(database: Database) -> None:
    """After pg_terminate_backend one statement per connection may fail, the next ones work."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
    async with database.connection() as one, database.connection("ingest") as two:
        await one.fetch(others, await one.fetchval("SELECT pg_backend_pid()"))
        with pytest.raises(DatabaseGone):
            await two.fetchval("SELECT 1")
    assert await until_it_works(database) < 1
    assert await database.fetchval("SELECT 1", pool="ingest") == 1


async def test_a_transaction_that_lost_its_connection_says_so(database: Database) -> None:
    """COMMIT that cannot be sent is an outage, never a silent success."""
    await database.execute("CREATE TABLE thing (id integer)")

    async def body() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO thing VALUES (1)")
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            await database.execute("SELECT pg_terminate_backend($1)", pid)

    with pytest.raises(DatabaseGone):
        await body()
    assert await database.fetchval("SELECT count(*) FROM thing") == 0


async def test_exhausted_pools_time_out(database_dsn: str) -> None:
    """With all connections lent, the next acquire is an outage after its timeout, not a hang."""
    options = Options(dsn=database_dsn, work_connections=1, acquire_timeout=0.1)
    async with Database(options).opened() as database, database.connection() as lent:
        await lent.fetchval("SELECT 1")
        with pytest.raises(DatabaseGone, match="no free connection"):
            await database.fetchval("SELECT 1")
        assert database.state == "up"
