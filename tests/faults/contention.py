"""Plants sessions of others that stand in the way: an old snapshot, locks taken in the wrong order, locks that stay."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from statistics import quantiles

import anyio
import asyncpg
from faults import aftermath
from faults.fact import Fact
from faults.history import FIRST_ID, Client, Delivery, History
from faults.place import Place, execute
from faults.traffic import OK, REFUSED, Caller, traffic
from faults.warm import Warm

from tds_runtime import migrate
from tds_runtime.database import Database, Options
from tds_runtime.errors import DatabaseGone
from tds_runtime.migrate import Migration
from tds_runtime.queue import Change, Completion, Queue

LIMIT = 0.05  # seconds a claim may take, 99 times of 100
RECORDS = 2000
AT_ONCE = 1000
LOCK_TIMEOUT = 3.0  # of migrations
PLANTED = Migration(9999, "planted", "ALTER TABLE tds_inbox_events ADD COLUMN planted integer", "planted")
WAITING = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'tds-runtime' AND wait_event_type = 'Lock'
"""


@asynccontextmanager
async def session(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """Somebody else's connection."""
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=60)
    try:
        yield connection
    finally:
        connection.terminate()


async def until_waiting(watcher: asyncpg.Connection) -> None:
    """Return as soon as a backend of the daemon waits for a lock."""
    with anyio.fail_after(20, reason="no backend of the daemon came to wait for a lock"):
        while not await watcher.fetchval(WAITING):  # noqa: ASYNC110 - another process waits
            await anyio.sleep(0.01)


# --- an old snapshot


async def xmin_pinned(place: Place, *, tasks: int = 50_000, batch: int = 100) -> Fact:
    """A transaction that stays open keeps vacuum from removing anything while `tasks` tasks pass through the queue."""
    began = time.monotonic()
    dsn = await place.database()
    async with session(dsn) as reader, Database(Options(dsn=dsn)).opened() as database:
        await reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await reader.fetchval("SELECT count(*) FROM tds_sync_queue")
        took: list[float] = []
        for first in range(0, tasks, AT_ONCE):
            await put(database, range(first, min(first + AT_ONCE, tasks)))
            took += await drain(database, batch)
        dead = await execute(dsn, "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'tds_sync_queue_live'")
    [(done,)] = await execute(dsn, "SELECT count(*) FROM tds_sync_queue WHERE status = 'completed'")
    percentile = quantiles(took, n=100)
    figures: dict[str, int | float | str] = {
        "tasks": done,
        "claims": len(took),
        "claim_p50_ms": round(1000 * percentile[49], 2),
        "claim_p99_ms": round(1000 * percentile[98], 2),
        "dead_rows": dead[0][0],
    }
    passed = done == tasks and percentile[98] < LIMIT
    return Fact(fact="old snapshot", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def put(database: Database, numbers: Sequence[int]) -> None:
    async with database.transaction() as connection:
        changes = [
            Change(entity_type="product", source_entity_id=str(number % RECORDS), payload=b"{}") for number in numbers
        ]
        await Queue(database, boot_id="putter").enqueue(connection, changes)


async def drain(database: Database, batch: int) -> list[float]:
    """Claim and complete until nothing waits; the seconds of each claim that found something."""
    queue = Queue(database, boot_id="claimer")
    took = []
    while True:
        began = time.perf_counter()
        tasks = await queue.claim(["product"], limit=batch)
        if not tasks:
            return took
        took.append(time.perf_counter() - began)
        async with database.transaction() as connection:
            await queue.complete(connection, [Completion(task.id, task.fence, "applied") for task in tasks])


# --- locks in the wrong order


async def deadlocked(place: Place) -> Fact:
    """Another application takes the daemon's rows in the opposite order: once of the writer's, once of the sync's."""
    began = time.monotonic()
    dsn = await place.database()
    environment = {"TDS_QUEUE__FIRST_DELAY": "1s"}
    daemon = await place.nursery.start(place.configure(dsn), environment=environment)
    with History(daemon.log.with_name("history.jsonl")) as history:
        clients = [Client(daemon.address, history) for _ in range(3)]
        for record, client in enumerate(clients):
            assert await client.deliver(Delivery(record=record, version=1)) == "ok"
        await aftermath.settled(dsn)
        stored = await deadlock_of_writer(dsn, clients)
        await aftermath.settled(dsn)
        await deadlock_of_sync(dsn, clients)
        await aftermath.settled(dsn)
        for client in clients:
            await client.aclose()
        evidence = await aftermath.violations(dsn, history.lines, daemon)
    [(met,)] = await execute(dsn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    figures: dict[str, int | float | str] = {
        "deadlocks": met,
        "acknowledged_through_it": stored,
        "restarts": aftermath.troubles(daemon),
        **evidence,
    }
    passed = met >= 2 and stored == 3 and not figures["restarts"] and not figures["violations"]
    assert await daemon.stop() == 0
    return Fact(fact="deadlocks", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def deadlock_of_writer(dsn: str, clients: Sequence[Client]) -> int:
    """Hold the last of three rows that one commit takes in order, then ask for the second; returns the acks."""
    lock = "SELECT FROM tds_last_deliveries WHERE record = $1 FOR UPDATE"
    answers = []

    async def deliver(record: int) -> None:
        answers.append(await clients[record].deliver(Delivery(record=record, version=2)))

    async with (
        session(dsn) as first,
        session(dsn) as other,
        session(dsn) as watcher,
        anyio.create_task_group() as group,
    ):
        await first.execute("BEGIN")
        await first.execute(lock, str(FIRST_ID))
        group.start_soon(deliver, 0)
        await until_waiting(watcher)  # what comes now shares the next commit
        group.start_soon(deliver, 1)
        group.start_soon(deliver, 2)
        await cross(other, watcher, lock, (str(FIRST_ID + 2), str(FIRST_ID + 1)), partial(first.execute, "COMMIT"))
    return answers.count("ok")


async def deadlock_of_sync(dsn: str, clients: Sequence[Client]) -> None:
    """Hold the last of two rows that one batch writes in order, then ask for the first."""
    lock = "SELECT FROM products WHERE zoho_item_id = $1 FOR UPDATE"
    async with (
        session(dsn) as other,
        session(dsn) as watcher,
        Database(Options(dsn=dsn)).opened() as database,
    ):
        queue = Queue(database, boot_id="operator")
        await queue.pause("product", by="the test")
        for record in (1, 2):
            assert await clients[record].deliver(Delivery(record=record, version=3)) == "ok"
        rows = (str(FIRST_ID + 2), str(FIRST_ID + 1))
        await cross(other, watcher, lock, rows, partial(queue.resume, "product"))


async def cross(
    other: asyncpg.Connection,
    watcher: asyncpg.Connection,
    lock: str,
    rows: tuple[str, str],
    let_go: Callable[[], Awaitable[object]],
) -> None:
    """Take one row, let the daemon go on, and when it waits for that row ask for the one that it holds."""
    await other.execute("SET deadlock_timeout = '30s'")  # so that the daemon is the one to give way
    await other.execute("BEGIN")
    await other.execute(lock, rows[0])
    await let_go()
    await anyio.sleep(0.05)
    await until_waiting(watcher)
    await other.execute(lock, rows[1])
    await other.execute("COMMIT")


# --- a lock that stays


async def migration_waits(place: Place) -> Fact:
    """A migration meets a long reader under traffic and gives way; a daemon that starts behind another waits."""
    began = time.monotonic()
    dsn = await place.database()
    daemon = await place.nursery.start(place.configure(dsn))
    async with Database(Options(dsn=dsn)).opened() as database, traffic(daemon.log.parent, daemon.address) as flow:
        await flow.more(50)
        async with session(dsn) as reader:
            await reader.execute("BEGIN")
            await reader.fetchval("SELECT count(*) FROM tds_inbox_events")
            gave_way = await gives_way(database)
        await flow.more(50)
        applied = await migrate.apply(database, migrations=[*migrate.available(), PLANTED])
        await flow.more(50)
    await execute(dsn, "DELETE FROM tds_migrations WHERE version = 9999")
    waited = await start_behind_lock(place, dsn)
    await aftermath.settled(dsn)
    figures: dict[str, int | float | str] = {
        "gave_way_s": gave_way,
        "slowest_ack_s": round(max(one.took for one in flow.answers), 2),
        "refused": sum(one.status != OK for one in flow.answers),
        "applied_later": len(applied),
        **waited,
        "restarts": aftermath.troubles(daemon),
        **await aftermath.violations(dsn, flow.history.lines, daemon),
    }
    passed = (
        float(figures["slowest_ack_s"]) < LOCK_TIMEOUT + 1
        and applied == ("planted",)
        and waited["start_said_503"] == 1
        and float(waited["ready_after_s"]) < 5
        and not any(figures[name] for name in ("refused", "restarts", "violations"))
    )
    assert await daemon.stop() == 0
    return Fact(fact="migration lock", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def gives_way(database: Database) -> float:
    """Try a migration that cannot get its lock; returns after how many seconds it gave up."""
    began = time.monotonic()
    try:
        await migrate.apply(database, migrations=[*migrate.available(), PLANTED])
    except DatabaseGone:
        return round(time.monotonic() - began, 2)
    raise AssertionError("the migration did not meet the reader")


async def start_behind_lock(place: Place, dsn: str) -> dict[str, int | float]:
    """Start a daemon while somebody else migrates, and see what it says until it is let in."""
    async with session(dsn) as migrator:
        await migrator.execute("SELECT pg_advisory_lock($1)", migrate.LOCK)
        late: Warm = await place.nursery.start(place.configure(dsn), ready=False)
        caller = Caller(late.address)
        with anyio.fail_after(20):
            while (await caller.get("/livez", patience=5)).status != OK:  # noqa: ASYNC110 - another process starts
                await anyio.sleep(0.05)
        said = (await caller.get("/readyz", patience=15)).status
    released = time.monotonic()
    await late.ready()
    waited = time.monotonic() - released
    await caller.aclose()
    assert await late.stop() == 0
    return {"start_said_503": int(said == REFUSED), "ready_after_s": round(waited, 2)}
