"""Whatever happens to tasks, in whatever order: nothing is lost, nothing overtakes, one in flight per record."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tds_runtime.database import Database
from tds_runtime.errors import LeaseLost
from tds_runtime.queue import Change, Completion, Failure, Fetched, Options, Queue, Selection, Task
from tds_runtime.task import fold, verdict

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
RECORDS = [str(number) for number in range(8)]


class World:
    """A source whose records change, three nodes that work badly, and a table with the guard that every effect has."""

    def __init__(self, database: Database, seed: int) -> None:
        self.random = Random(seed)
        self.database = database
        options = Options(batch=3, max_attempts=3, first_delay=0.0, longest_delay=0.0)
        self.queues = [Queue(database, boot_id=str(node), options=options, random=Random(seed)) for node in range(3)]
        self.source = dict.fromkeys(RECORDS, 0)
        self.told = dict.fromkeys(RECORDS, -1)
        self.effects = dict.fromkeys(RECORDS, -1)
        self.held: list[tuple[Queue, Task]] = []
        self.enqueued = 0

    async def change(self) -> None:
        """One to four changes in one transaction, some late, some without content, half the time taken at once."""
        changes = []
        for _ in range(self.random.randint(1, 4)):
            record = self.random.choice(RECORDS)
            self.source[record] += 1
            version = self.source[record] - (self.random.random() < 0.2)
            fetch = self.random.random() < 0.2
            changes.append(self._change(record, None if fetch else version))
            self.told[record] = max(self.told[record], self.source[record] if fetch else version)
        queue = self.random.choice(self.queues)
        enqueue = self.random.choice([queue.enqueue, queue.enqueue_taken])
        async with self.database.transaction() as connection:
            enqueued = await enqueue(connection, changes)
        self.held += [(queue, task) for task in enqueued.taken]
        self.enqueued += len(changes)
        await self.check()

    async def claim(self) -> None:
        queue = self.random.choice(self.queues)
        operations: Any = self.random.choice([("upsert", "delete"), ("fetch",)])
        self.held += [(queue, task) for task in await queue.claim(["product"], operations)]
        await self.check()

    async def check(self) -> None:
        """Never two of a record in flight."""
        in_flight = await self.database.fetchval(
            "SELECT count(*) - count(DISTINCT source_entity_id) FROM tds_sync_queue WHERE status = 'processing'"
        )
        assert in_flight == 0

    async def end(self) -> None:
        """One of the tasks in hand ends in one way or another; it may be a stale one."""
        if not self.held:
            return
        queue, task = self.held.pop(self.random.randrange(len(self.held)))
        lease = [(task.id, task.fence)]
        failure = Failure(id=task.id, fence=task.fence, error_code="x", error_message="x")
        endings: list[Callable[[], Awaitable[object]]] = [
            lambda: queue.retry([failure]), lambda: queue.bury([failure]), lambda: queue.release(lease),
            lambda: queue.snooze(lease, None, "later"), lambda: queue.refetch(None, lease, "thin"),
        ]  # fmt: skip
        if self.random.random() < 0.5:
            await self.finish(queue, task)
        else:
            await self.random.choice(endings)()

    async def finish(self, queue: Queue, task: Task) -> None:
        if task.operation == "fetch":
            version = self.source[task.source_entity_id]
            change = self._change(task.source_entity_id, version)
            answer = Fetched(
                id=task.id, fence=task.fence, operation="upsert", payload=change.payload,
                source_modified_at=change.source_modified_at, observed_at=EPOCH,
            )  # fmt: skip
            if self.random.random() < 0.5:
                with queue.handover("product").attended(lambda: True):
                    kept = await queue.fetched(None, [answer], {task.id: task})
                self.held += [(queue, one) for one in kept]
            else:
                await queue.fetched(None, [answer])
            return
        try:
            async with self.database.transaction() as connection:
                await queue.complete(connection, [Completion(task.id, task.fence, "applied")])
        except LeaseLost:
            return
        record, version = task.source_entity_id, int(task.payload or b"-1")
        self.effects[record] = max(self.effects[record], version)

    async def crash(self) -> None:
        """A node dies and its next life returns what it held; the old life still has the tasks in hand."""
        await self.random.choice(self.queues).return_own(["product"], ("upsert", "delete", "fetch"))

    async def revive(self) -> None:
        await self.queues[0].retry_dead(Selection(), by="test", once=self.random.random() < 0.5)

    async def promote(self) -> None:
        await self.queues[0].promote_due()

    async def drain(self) -> None:
        queue = self.queues[0]
        while True:
            for each in self.queues:
                await each.return_own(["product"], ("upsert", "delete", "fetch"))
            await queue.promote_due()
            await queue.retry_dead(Selection(), by="test")
            tasks = await queue.claim(["product"]) + await queue.claim(["product"], ("fetch",))
            if not tasks and not await queue.count_dead():
                return
            for task in tasks:
                await self.finish(queue, task)

    def _change(self, record: str, version: int | None) -> Change:
        return Change(
            entity_type="product",
            source_entity_id=record,
            operation="fetch" if version is None else "upsert",
            payload=None if version is None else str(version).encode(),
            source_modified_at=None if version is None else EPOCH + timedelta(seconds=version),
            observed_at=EPOCH,
        )


@pytest.mark.anyio
@pytest.mark.parametrize("seed", range(6))
async def test_nothing_is_lost_and_nothing_overtakes(database: Database, seed: int) -> None:
    """After any history every record is at its newest version, and enqueued = completed + coalesced."""
    world = World(database, seed)
    steps = [world.change, world.claim, world.end, world.end, world.crash, world.revive, world.promote]
    weights = [1, 2, 1, 2, 1, 1, 1]
    for _ in range(250):
        [step] = world.random.choices(steps, weights)
        await step()
    await world.drain()
    assert all(world.effects[record] >= version for record, version in world.told.items())
    row = await database.fetchrow("SELECT count(*), sum(coalesced) FROM tds_sync_queue WHERE status = 'completed'")
    assert row is not None
    assert world.enqueued == row[0] + row[1]
    assert await database.fetchval("SELECT count(*) FROM tds_sync_queue_live") == 0


stamps = st.none() | st.integers(0, 2).map(lambda second: EPOCH + timedelta(seconds=second))
changes = st.builds(
    Change,
    entity_type=st.just("product"),
    source_entity_id=st.just("1"),
    operation=st.sampled_from(["upsert", "upsert", "delete", "fetch"]),
    payload=st.none() | st.sampled_from([b"a", b"b"]),
    payload_kind=st.sampled_from(["webhook", "list", "detail"]),
    source_modified_at=stamps,
    observed_at=stamps,
    priority=st.integers(1, 3),
    coalesced=st.integers(0, 3),
)


@given(changes, changes)
def test_folding_keeps_the_count_and_the_urgency(earlier: Change, later: Change) -> None:
    """Whichever stays, it stands for both, and is as urgent as the more urgent one."""
    folded = fold(earlier, later)
    assert folded.coalesced == earlier.coalesced + later.coalesced + 1
    assert folded.priority == min(earlier.priority, later.priority)
    assert folded.operation == "fetch" or folded.payload in {earlier.payload, later.payload}


@given(changes, changes)
def test_a_newer_stamp_wins_in_either_order(one: Change, two: Change) -> None:
    """Between upserts with different stamps the order of arrival does not matter."""
    a, b = one.source_modified_at, two.source_modified_at
    if one.operation == two.operation == "upsert" and a is not None and b is not None and a != b:
        assert {verdict(one, two), verdict(two, one)} == {"earlier", "later"}


PAIRS = st.lists(st.tuples(changes, changes), min_size=50, max_size=50)
DECIDE = """
SELECT tds_fold(a_operation, a_modified, a_observed, a_kind, a_hash,
                b_operation, b_modified, b_observed, b_kind, b_hash)
  FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::bytea[],
              $6::text[], $7::timestamptz[], $8::timestamptz[], $9::text[], $10::bytea[])
    AS p (a_operation, a_modified, a_observed, a_kind, a_hash, b_operation, b_modified, b_observed, b_kind, b_hash)
"""


@pytest.mark.anyio
async def test_the_database_decides_as_python_does(database: Database) -> None:
    """tds_fold and task.verdict agree on any two changes."""
    pairs: list[tuple[Change, Change]] = []

    @settings(max_examples=40, database=None, derandomize=True)
    @given(PAIRS)
    def collect(found: list[tuple[Change, Change]]) -> None:
        pairs.extend(found)

    collect()
    columns = [
        [value for pair in pairs for value in [getattr(pair[side], name)]]
        for side in (0, 1)
        for name in ("operation", "source_modified_at", "observed_at", "payload_kind", "payload_hash")
    ]
    decided = [row[0] for row in await database.fetch(DECIDE, *columns)]
    assert decided == [verdict(*pair) for pair in pairs]
