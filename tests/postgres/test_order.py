"""Eight claimers work on the same records and fail at random: a record's effects stand in the order of its changes."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import Random

import anyio
import asyncpg
import pytest

from tds_runtime.database import Database, Options
from tds_runtime.errors import LeaseLost
from tds_runtime.queue import Change, Completion, Failure, Queue, Task
from tds_runtime.queue import Options as QueueOptions

pytestmark = pytest.mark.anyio

CLAIMERS, RECORDS, CHANGES, TOGETHER = 8, 500, 40, 50
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
EFFECTS = """
CREATE TABLE effects (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, record text, version integer)
"""
EFFECT = "INSERT INTO effects (record, version) SELECT * FROM unnest($1::text[], $2::integer[])"


class Planted(Exception):
    """A fault of this test."""


class World:
    """A source whose records change again and again, and the claimers that bring its changes to a table."""

    def __init__(self, database: Database, seed: int) -> None:
        self.database = database
        self.random = Random(seed)
        self.held: dict[str, str] = {}
        self.planted: Counter[str] = Counter()
        self.all_told = False

    async def tell(self) -> None:
        """Every record changes once a round; a part of them at a time, so that no round goes down as one."""
        queue = self.queue("source")
        for version in range(1, CHANGES + 1):
            records = self.random.sample(range(RECORDS), RECORDS)
            for start in range(0, RECORDS, TOGETHER):
                async with self.database.transaction() as connection:
                    changes = [changed(record, version) for record in records[start : start + TOGETHER]]
                    await queue.enqueue(connection, changes)
        self.all_told = True

    async def work(self, name: str) -> None:
        """Claim and end until nothing is left, now and then as a worker does that fails, dies, or wakes up too late."""
        queue = self.queue(name)
        endings = [self.complete, self.complete_and_claim, self.fail, self.roll_back, self.release, self.die]
        tasks: list[Task] = []
        while tasks or not await self.finished():
            if not tasks:
                await queue.promote_due()
                tasks = self.hold(name, await queue.claim(["product"]))
            if tasks:
                [ending] = self.random.choices(endings, [6, 6, 2, 1, 1, 1])
                tasks = await ending(queue, tasks)

    def queue(self, name: str) -> Queue:
        """A node of its own."""
        options = QueueOptions(batch=20, max_attempts=10_000, first_delay=0.0, longest_delay=0.0)
        return Queue(self.database, boot_id=name, options=options, random=Random(name))

    def hold(self, name: str, tasks: Sequence[Task]) -> list[Task]:
        """Nobody else may have one of these records in hand."""
        for task in tasks:
            assert task.source_entity_id not in self.held, (name, self.held[task.source_entity_id])
            self.held[task.source_entity_id] = name
        return list(tasks)

    def let_go(self, tasks: Sequence[Task]) -> None:
        """Before their ending is sent: from then on others may have them."""
        for task in tasks:
            del self.held[task.source_entity_id]

    async def finished(self) -> bool:
        return self.all_told and not await self.database.fetchval("SELECT EXISTS (SELECT FROM tds_sync_queue_live)")

    async def complete(self, queue: Queue, tasks: list[Task]) -> list[Task]:
        self.let_go(tasks)
        async with self.database.transaction() as connection:
            await connection.execute(EFFECT, *effects(tasks))
            await queue.complete(connection, done(tasks))
        return []

    async def complete_and_claim(self, queue: Queue, tasks: list[Task]) -> list[Task]:
        self.let_go(tasks)
        try:
            async with self.database.transaction() as connection:
                await connection.execute(EFFECT, *effects(tasks))
                claimed = await queue.complete_and_claim(connection, done(tasks), "product")
        except asyncpg.UniqueViolationError:  # another claimer was faster with the next task of a record
            self.planted["overtaken"] += 1
            self.hold(queue.boot_id, tasks)
            return await self.complete(queue, tasks)
        return self.hold(queue.boot_id, claimed)

    async def fail(self, queue: Queue, tasks: list[Task]) -> list[Task]:
        """Every third task fails, and the rest is done."""
        self.planted["failed"] += 1
        bad = tasks[::3]
        self.let_go(bad)
        await queue.retry([failure(task) for task in bad])
        return await self.complete(queue, [task for task in tasks if task not in bad])

    async def roll_back(self, queue: Queue, tasks: list[Task]) -> list[Task]:
        """The effect is written, the batch is completed, and then it all goes down."""
        self.planted["rolled back"] += 1
        with suppress(Planted):
            async with self.database.transaction() as connection:
                await connection.execute(EFFECT, *effects(tasks))
                await queue.complete(connection, done(tasks))
                raise Planted
        return tasks

    async def release(self, queue: Queue, tasks: list[Task]) -> list[Task]:
        self.planted["released"] += 1
        self.let_go(tasks)
        await queue.release((task.id, task.fence) for task in tasks)
        return []

    async def die(self, queue: Queue, tasks: list[Task]) -> list[Task]:
        """The next life gives back what this one held; this one wakes up and finds that it may change nothing."""
        self.planted["died"] += 1
        self.let_go(tasks)
        await queue.return_own(["product"])
        with pytest.raises(LeaseLost):
            await self.complete_stale(queue, tasks)
        return []

    async def complete_stale(self, queue: Queue, tasks: list[Task]) -> None:
        async with self.database.transaction() as connection:
            await connection.execute(EFFECT, *effects(tasks))
            await queue.complete(connection, done(tasks))


def changed(record: int, version: int) -> Change:
    return Change(
        entity_type="product",
        source_entity_id=str(record),
        payload=str(version).encode(),
        source_modified_at=EPOCH + timedelta(seconds=version),
        observed_at=EPOCH + timedelta(seconds=version),
    )


def effects(tasks: Sequence[Task]) -> tuple[list[str], list[int]]:
    return [task.source_entity_id for task in tasks], [int(task.payload or b"") for task in tasks]


def done(tasks: Sequence[Task]) -> list[Completion]:
    return [Completion(task.id, task.fence, "applied") for task in tasks]


def failure(task: Task) -> Failure:
    return Failure(id=task.id, fence=task.fence, error_code="planted", error_message="it broke")


async def test_the_effects_of_a_record_are_in_the_order_of_its_changes(database_dsn: str) -> None:
    """8 claimers, 500 records x 40 changes, random failures: every record in order, never two in flight, none lost."""
    options = Options(dsn=database_dsn, work_connections=CLAIMERS + 2, acquire_timeout=30.0)
    async with Database(options).opened() as database:
        await database.execute(EFFECTS)
        world = World(database, seed=6)
        async with anyio.create_task_group() as group:
            group.start_soon(world.tell)
            for number in range(CLAIMERS):
                group.start_soon(world.work, f"node {number}")
        ordered = "SELECT record, array_agg(version ORDER BY id) FROM effects GROUP BY record"
        applied = dict(await database.fetch(ordered))
        coalesced = await database.fetchval("SELECT sum(coalesced) FROM tds_sync_queue_done")
    assert {record for record, versions in applied.items() if versions != sorted(set(versions))} == set()
    assert {versions[-1] for versions in applied.values()} == {CHANGES}
    assert len(applied) == RECORDS
    assert sum(map(len, applied.values())) + coalesced == RECORDS * CHANGES
    assert sum(map(len, applied.values())) > RECORDS * CHANGES / 10, "hardly anything but folding was tried"
    assert min(world.planted[fault] for fault in ("failed", "rolled back", "released", "died")) > 5
    assert world.held == {}
