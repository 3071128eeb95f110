"""The smallest situations in which a broken promise shows: a crash, a repeat, a late arrival, a badly timed lock.

Each plays on a fresh database with a daemon that may bear a mutant, and ends with the evidence for the checker. A lock
on a table holds the daemon exactly where the fault is wanted, so that nothing depends on luck.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import asyncpg
import httpx2
from faults.checker import Expected, Violation, check
from faults.evidence import gather
from faults.history import Client, Delivery, Event, History
from faults.place import Place, execute
from faults.warm import Warm

from tds_runtime.database import Database, Options
from tds_runtime.queue import Change, Queue

OPERATOR = "anOperatorTokenForTheTests"
MORE = f"""
[queue]
poll = "200ms"
first_delay = "100ms"
longest_delay = "200ms"

[api.tokens.test]
role = "operator"
token = "{OPERATOR}"
"""
BLOCKED = """
SELECT count(*) > 0 FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
 WHERE NOT l.granted AND a.application_name = 'tds-runtime' AND a.datname = current_database()
"""
TERMINATE = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
 WHERE application_name = 'tds-runtime' AND datname = current_database()
"""
RELUCTANT = """
CREATE SEQUENCE reluctance;
CREATE FUNCTION reluctant() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('reluctance') <= 2 THEN RAISE EXCEPTION 'not now' USING ERRCODE = '40001'; END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER reluctant BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION reluctant();
"""
NOTHING_WAITS = """
SELECT count(*) = 0 FROM tds_sync_queue_live
 WHERE status IN ('pending', 'processing', 'failed') AND operation <> 'fetch'
"""
STATES = "LOCK TABLE tds_record_state IN EXCLUSIVE MODE"
PRODUCTS = "LOCK TABLE products IN EXCLUSIVE MODE"
DONE = "LOCK TABLE tds_sync_queue_done IN EXCLUSIVE MODE"
INBOX = "LOCK TABLE tds_inbox_events IN EXCLUSIVE MODE"


class Play:
    """A database, the daemons on it, one sender, and what the checker is to expect."""

    def __init__(self, place: Place, dsn: str, history: History, mutant: str) -> None:
        self.dsn = dsn
        self.history = history
        self.expected = Expected()
        self.daemons: list[Warm] = []
        self._place, self._mutant = place, mutant
        self._configuration = place.configure(dsn, more=MORE)

    @property
    def daemon(self) -> Warm:
        """The one that was started last."""
        return self.daemons[-1]

    async def start(self, *, another: bool = False) -> None:
        """Start the daemon (again), or another one beside it."""
        if another:
            self._configuration = self._place.configure(self.dsn, more=MORE)
        self.daemons.append(await self._place.nursery.start(self._configuration, mutant=self._mutant))

    async def send(self, delivery: Delivery, within: float = 10.0) -> Event:
        """Deliver once."""
        client = Client(self.daemon.address, self.history)
        try:
            return await client.deliver(delivery, within)
        finally:
            await client.aclose()

    async def tell(self, *deliveries: Delivery) -> None:
        """Deliver one after the other, each until it is answered."""
        for delivery in deliveries:
            while await self.send(delivery) == "info":  # noqa: ASYNC110 - another process sets no event here
                await anyio.sleep(0.02)

    async def crash(self) -> None:
        """Daemon and connections are gone, with what they had not committed."""
        await self.daemon.kill()
        await execute(self.dsn, TERMINATE)

    async def until(self, condition: str, within: float = 3.0) -> bool:
        """Ask the database again and again; False when it did not agree in time."""
        with anyio.move_on_after(within):
            while not (await execute(self.dsn, condition))[0][0]:  # noqa: ASYNC110 - another process sets no event here
                await anyio.sleep(0.02)
            return True
        return False

    @asynccontextmanager
    async def held(self, *locks: str) -> AsyncIterator[None]:
        """Locks that last as long as the body."""
        connection = await asyncpg.connect(self.dsn, timeout=10, command_timeout=30)
        try:
            async with connection.transaction():
                for lock in locks:
                    await connection.execute(lock)
                yield
        finally:
            await connection.close(timeout=10)

    async def settle(self) -> None:
        """Wait until nothing waits; a mutant gets less time, since it may never come to an end."""
        await self.until(NOTHING_WAITS, 2.5 if self._mutant else 20.0)

    @asynccontextmanager
    async def queue(self) -> AsyncIterator[Queue]:
        """The queue as another node sees it."""
        async with Database(Options(dsn=self.dsn)).opened() as database:
            yield Queue(database, boot_id="another")


Scenario = Callable[[Play], Awaitable[None]]


async def play(place: Place, scenario: Scenario, mutant: str = "") -> list[Violation]:
    """Play a scenario with or without a mutant; returns what the checker finds."""
    dsn = await place.database()
    path = place.directory / f"history-{dsn.partition('?')[0].rpartition('/')[2]}.jsonl"
    with History(path) as history:
        playing = Play(place, dsn, history, mutant)
        try:
            await playing.start()
            await scenario(playing)
            await playing.settle()
            logs = {daemon.log for daemon in playing.daemons}
            return check(await gather(dsn, history.lines, logs=logs), playing.expected)
        finally:
            for daemon in playing.daemons:
                await daemon.kill()


def product(record: int, version: int, **more: str) -> Delivery:
    """A version of a product."""
    return Delivery(record=record, version=version, **more)


async def stream(playing: Play) -> None:
    """Versions in order, then the last one again, an old one late, forgeries, and a deletion."""
    for version in (1, 2, 4):
        await playing.tell(*(product(record, version) for record in (1, 2, 3)))
        await playing.settle()
    await playing.tell(product(1, 4), product(2, 2), product(3, 5, operation="delete"))
    await playing.tell(*(Delivery(record=record, version=50_000, forged=True) for record in (1, 9)))


async def unacknowledged(playing: Play) -> None:
    """Nothing can be committed: a delivery waits, comes again, loses its connection; then the daemon is killed."""
    await playing.tell(product(1, 1))
    async with playing.held(INBOX), anyio.create_task_group() as group:
        group.start_soon(playing.send, product(2, 1), 2.0)
        await playing.until(BLOCKED)
        await playing.send(product(2, 1), 0.3)
        await execute(playing.dsn, TERMINATE)
        await playing.send(product(3, 1), 0.3)
        await playing.crash()
    await playing.start()


async def twins(playing: Play) -> None:
    """Two contents with one stamp, and the first of them again."""
    first, second = product(1, 1, twist=" a"), product(1, 1, twist=" b")
    playing.expected = Expected(awaited=frozenset({first.record_id}))
    for delivery in (first, second, first):
        await playing.tell(delivery)
        await playing.settle()


async def stolen(playing: Play) -> None:
    """A task is taken from its owner in the middle and gets a newer delivery; then the owner goes on."""
    async with playing.held(STATES), playing.queue() as queue:
        await playing.tell(product(1, 1))
        await playing.until(BLOCKED)
        await queue.return_stuck(0.0)
        await playing.tell(product(1, 2))


async def killed_at_completion(playing: Play) -> None:
    """Effects are written, their completion waits, the daemon is killed."""
    async with playing.held(DONE):
        await playing.tell(product(1, 1), product(2, 1))
        await playing.until(BLOCKED)
        await playing.crash()
    await playing.start()


async def killed_at_effect(playing: Play) -> None:
    """Tasks are in flight, their effects wait, the daemon is killed."""
    async with playing.held(PRODUCTS):
        await playing.tell(product(1, 1), product(2, 1))
        await playing.until(BLOCKED)
        await playing.crash()
    await playing.start()


async def restarted_actor(playing: Play) -> None:
    """Tasks are in flight, and their actor alone is killed and restarted."""
    async with playing.held(PRODUCTS):
        await playing.tell(product(1, 1))
        await playing.until(BLOCKED)
        async with httpx2.AsyncClient(base_url=playing.daemon.address, trust_env=False) as client:
            wanted = {"path": "tds/work/product", "reason": "a test"}
            headers = {"authorization": f"Bearer {OPERATOR}"}
            answer = await client.post("/api/tree/kill", json=wanted, headers=headers)
            assert answer.status_code == httpx2.codes.OK, answer.text


async def crowded(playing: Play) -> None:
    """Two newer deliveries of a record arrive while the first is in flight."""
    async with playing.held(STATES):
        await playing.tell(product(1, 1))
        await playing.until(BLOCKED)
        await playing.tell(product(1, 2), product(1, 3))


async def two_nodes(playing: Play) -> None:
    """One node is stuck in a batch; a newer version of a record of that batch arrives at the other."""
    await playing.tell(product(9, 1))
    await playing.settle()
    await playing.start(another=True)
    await execute(playing.dsn, "INSERT INTO tds_pauses (entity_type) VALUES ('product')")
    await playing.tell(product(1, 1), product(9, 2))
    stuck = f"SELECT FROM tds_record_state WHERE source_entity_id = '{product(9, 1).record_id}' FOR UPDATE"
    async with playing.held(stuck):
        await execute(playing.dsn, "DELETE FROM tds_pauses")
        await playing.until(BLOCKED)
        await playing.tell(product(1, 2))
        await playing.until("SELECT count(*) > 0 FROM effects WHERE version = 2", within=1.5)


async def reluctant(playing: Play) -> None:
    """The first two attempts to write are refused for a reason that passes."""
    await execute(playing.dsn, RELUCTANT)
    await playing.tell(product(1, 1))


async def late_commit(playing: Play) -> None:
    """A task with a lower number commits after one with a higher number was finished."""
    late = product(1, 1)
    playing.expected = Expected(pulled=frozenset({late.record_id}))
    serial = playing.history.invoke(late)
    async with playing.queue() as queue, queue.database.transaction() as connection:
        change = Change(
            entity_type="product", source_entity_id=late.record_id, payload=late.body, payload_kind="webhook"
        )
        await queue.enqueue(connection, [change])
        await playing.tell(product(2, 1))
        await playing.until("SELECT count(*) > 0 FROM tds_sync_queue_done")
    playing.history.end(serial, late, "ok", 200)


SCENARIOS: tuple[Scenario, ...] = (
    stream,
    unacknowledged,
    twins,
    stolen,
    killed_at_completion,
    killed_at_effect,
    restarted_actor,
    crowded,
    two_nodes,
    reluctant,
    late_commit,
)
