"""Tasks that are taken while they are stored: which may be, whose they are, and that none of them is ever lost."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import asyncpg
import pytest
from fixtures.documents import NOON, item, product, put
from fixtures.sandbox import Sandbox
from fixtures.works import Works, sync

from actors.entity_sync import Synced, entity_sync
from actors.messages import Wake
from actors.zoho.entities import Entities
from tds_runtime import Context, Inbox, Supervisor, intake, run
from tds_runtime.database import Connection, Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.intake import Delivery
from tds_runtime.queue import Queue, Task
from tds_runtime.task import Change, Enqueued, Fetched
from tds_runtime.trial import SUSPECT

pytestmark = pytest.mark.anyio


async def take(queue: Queue, *changes: Change) -> Enqueued:
    """Enqueue in one transaction, taking what can be taken."""
    async with queue.database.transaction() as connection:
        return await queue.enqueue_taken(connection, changes)


async def live(queue: Queue) -> dict[str, tuple[str, int, int]]:
    """Status, attempts and fence of every task that is not done, by record."""
    rows = await queue.database.fetch(
        "SELECT source_entity_id, status, attempt_count, fence FROM tds_sync_queue_live ORDER BY id"
    )
    return {row[0]: tuple(row)[1:] for row in rows}


def ids(tasks: Iterable[Task]) -> list[str]:
    return sorted(task.source_entity_id for task in tasks)


async def test_what_is_taken_is_what_a_claim_would_have_brought(queue: Queue) -> None:
    """The same task as by enqueueing and claiming, but for its number and the moment it was stored."""
    change = product("1")
    (taken,) = (await take(queue, change)).taken
    assert await live(queue) == {"1": ("processing", 1, 1)}
    await queue.release([(taken.id, taken.fence)])
    (claimed,) = await queue.claim(["product"])
    assert (claimed.id, claimed.enqueued_at) == (taken.id, taken.enqueued_at)
    differing = {name for name in Task.__struct_fields__ if getattr(claimed, name) != getattr(taken, name)}
    assert differing == {"fence"}


async def test_a_record_that_waits_or_is_in_flight_is_put(queue: Queue) -> None:
    """What waits is folded, what is in flight is waited for, and only the third is taken."""
    await put(queue, product("flying"))
    await queue.claim(["product"])
    await put(queue, product("waiting"))
    enqueued = await take(queue, *(product(one, name="New") for one in ("flying", "free", "waiting")))
    assert ids(enqueued.taken) == ["free"]
    assert (enqueued.accepted, enqueued.coalesced) == (3, 1)
    rows = await queue.database.fetch("SELECT source_entity_id, status FROM tds_sync_queue_live ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [
        ("flying", "pending"), ("flying", "processing"), ("free", "processing"), ("waiting", "pending"),
    ]  # fmt: skip


async def test_an_actor_rests_until_something_is_taken_for_it(
    queue: Queue, mapped: Entities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Webhooks soon after one another are written together, at the latest with what is handed to the actor."""
    monkeypatch.setattr("actors.entity_sync.REST", math.inf)
    seen: list[int] = []
    looked = anyio.Event()
    claim = queue.claim

    async def claimed(*given: Any, **how: Any) -> list[Task]:
        tasks = await claim(*given, **how)
        looked.set()
        return tasks

    monkeypatch.setattr(queue, "claim", claimed)
    child = entity_sync(
        entity=mapped["product"], database=queue.database, queue=queue, observe=lambda synced: seen.append(synced.tasks)
    ).named("product")
    async with run(Supervisor("root", children=[child]), signals=False, sd_notify=False):
        await looked.wait()
        await put(queue, *(product(str(number)) for number in range(3)))
        await child.ref.tell(Wake("product"))
        await anyio.wait_all_tasks_blocked()  # an actor that does not rest has begun to claim by now
        queue.hand_over((await take(queue, product("taken"))).taken)
        with anyio.fail_after(10):
            while not seen:  # noqa: ASYNC110 - it tells nobody but its observer
                await anyio.sleep(0.01)
    assert seen == [4]


async def test_a_paused_entity_and_a_detail_call_are_put(queue: Queue) -> None:
    """Nobody works on what is paused, and the fetcher takes its own."""
    fetch = Change(entity_type="invoice", source_entity_id="1", operation="fetch")
    await queue.pause("product", by="a test")
    assert not (await take(queue, product("1"), fetch)).taken
    assert {status for status, *_ in (await live(queue)).values()} == {"pending"}


async def test_another_claimer_of_the_same_record_makes_it_begin_anew(queue: Queue, database: Database) -> None:
    """Two that take one record at once: the second is told so, changes nothing, and can put it."""
    other = Queue(database, boot_id="other")
    refused: list[Exception] = []

    async def second() -> None:
        try:
            await take(other, product("1"))
        except asyncpg.UniqueViolationError as error:
            refused.append(error)

    async with anyio.create_task_group() as group, database.transaction() as connection:
        await queue.enqueue_taken(connection, [product("1")])
        group.start_soon(second)
        await _blocked(database)
    assert len(refused) == 1
    await put(other, product("1", name="Newer"))
    rows = await database.fetch("SELECT status, locked_by FROM tds_sync_queue_live ORDER BY id")
    assert [tuple(row) for row in rows] == [("processing", "this"), ("pending", None)]


async def _blocked(database: Database) -> None:
    """Return once somebody waits for a lock."""
    with anyio.fail_after(10):
        while not await database.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110 - another process, Postgres, is what changes
            await anyio.sleep(0.01)


async def of_others(queue: Queue, count: int) -> Sequence[Task]:
    """Tasks in flight that the actor's first act does not return, to be laid down at the moment of a test's choice."""
    other = Queue(queue.database, boot_id="other")
    return (await take(other, *(product(f"l{number}") for number in range(count)))).taken


def laying(queue: Queue, tasks: Sequence[Task]) -> Callable[[], bool]:
    """A lease that is held; it is asked about before the first claim, and by then these tasks lie there."""
    left = list(tasks)

    def holds_lease() -> bool:
        queue.hand_over([left.pop() for _ in range(len(left))])
        return True

    return holds_lease


async def test_what_lies_there_is_written_without_a_claim(queue: Queue, mapped: Entities) -> None:
    """The actor writes what was laid down for it, in as many batches as that takes; a claim would raise the fence."""
    done = await sync(queue, mapped, holds_lease=laying(queue, await of_others(queue, 25)))
    assert sorted(one.tasks for one in done) == [5, 10, 10]
    fences = await queue.database.fetch("SELECT fence, count(*) FROM tds_sync_queue_done GROUP BY 1")
    assert [tuple(row) for row in fences] == [(1, 25)]
    assert await queue.database.fetchval("SELECT count(*) FROM products") == 25


async def test_what_an_actor_left_lying_goes_back_unspent(queue: Queue, mapped: Entities) -> None:
    """The next incarnation gives back what the one before had not begun, the attempt refunded, and then does it."""
    queue.hand_over((await take(queue, product("1"))).taken)
    (done,) = await sync(queue, mapped)
    assert done.outcomes == {"applied": 1}
    attempts = await queue.database.fetchval("SELECT attempt_count FROM tds_sync_queue WHERE status = 'completed'")
    assert attempts == 1


async def test_what_is_laid_down_while_the_actor_stops_goes_back(queue: Queue, mapped: Entities) -> None:
    """An actor that is told to stop leaves nothing in flight behind it, and spends no attempt of what it leaves."""
    ctx, laid = Context(), await of_others(queue, 3)

    def stop(_: Synced) -> None:
        queue.hand_over(laid)
        ctx.stopping.set()

    await put(queue, product("1"))
    given = {"entity": mapped["product"], "database": queue.database, "queue": queue, "observe": stop}
    await entity_sync.function(ctx, Inbox.of(), **given)
    assert await live(queue) == {f"l{number}": ("pending", 0, 1) for number in range(3)}


async def test_a_webhook_goes_before_what_lies_there(queue: Queue, mapped: Entities) -> None:
    """What is claimed fills the batch first, so that a full sync never keeps a webhook waiting."""
    laid = await of_others(queue, 30)
    delivery = Delivery(
        source="zoho", entity_type="product", source_entity_id="hook", operation="upsert", modified_at=NOON,
        body=json.dumps({"item": item("hook")}).encode(), content_type="application/json", query="",
        correlation_id="c",
    )  # fmt: skip
    await intake.store(queue.database, [delivery])
    await sync(queue, mapped, holds_lease=laying(queue, laid))
    done = "SELECT source_entity_id, rank() OVER (ORDER BY completed_at) FROM tds_sync_queue_done"
    ranks = dict(await queue.database.fetch(done))
    assert ranks["hook"] == 1
    assert len(ranks) == 31


async def test_an_answer_stays_in_flight_where_there_is_room(queue: Queue) -> None:
    """A document goes to its entity's actor under the lease of its fetch; without the actor it goes back."""
    fetch = Change(entity_type="product", source_entity_id="1", operation="fetch", variant="product")
    await put(queue, fetch)
    (task,) = await queue.claim(["product"], ("fetch",))
    answer = Fetched(id=task.id, fence=task.fence, operation="upsert", payload=b"{}", observed_at=NOON)
    with queue.handover("product").attended(lambda: True):
        async with queue.database.transaction() as connection:
            (kept,) = await queue.fetched(connection, [answer], {task.id: task})
    assert (kept.id, kept.fence, kept.operation, kept.payload) == (task.id, task.fence, "upsert", b"{}")
    assert await live(queue) == {"1": ("processing", 1, 1)}
    async with queue.database.transaction() as connection:
        assert not await queue.fetched(connection, [answer], {task.id: task})
    assert await live(queue) == {"1": ("pending", 0, 1)}


async def test_a_suspect_and_a_paused_answer_go_back(queue: Queue) -> None:
    """What may kill its process has to be claimed alone, and what is paused by now waits like all of its kind."""
    for name, entity in (("suspect", "product"), ("paused", "customer")):
        await put(queue, Change(entity_type=entity, source_entity_id=name, operation="fetch"))
    await queue.database.execute(
        "UPDATE tds_sync_queue_live SET attempt_count = $1 WHERE source_entity_id = 'suspect'", SUSPECT - 1
    )
    tasks = await queue.claim(["product", "customer"], ("fetch",))
    await queue.pause("customer", by="a test")
    answers = [Fetched(id=task.id, fence=task.fence, operation="delete", observed_at=NOON) for task in tasks]
    with queue.handover("product").attended(lambda: True), queue.handover("customer").attended(lambda: True):
        async with queue.database.transaction() as connection:
            assert not await queue.fetched(connection, answers, {task.id: task for task in tasks})
    assert {status for status, *_ in (await live(queue)).values()} == {"pending"}


async def test_a_full_run_hands_its_rows_over(database: Database, sandbox: Sandbox) -> None:
    """Every list row of a run was taken as it was stored: its task was in flight once, and never claimed."""
    works = Works(database, sandbox, names=["product"])
    async with works.running():
        run = await works.ran("product")
    assert run.enqueued == run.listed
    rows = await database.fetch(
        "SELECT count(*), count(*) FILTER (WHERE processing_started_at = enqueued_at) FROM tds_sync_queue_done"
    )
    assert tuple(rows[0]) == (run.listed, run.listed)


async def test_a_run_that_meets_another_claimer_puts_its_rows(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that cannot take its tasks stores them all the same, once."""

    async def taken_by_others(*_: Any) -> Enqueued:
        raise asyncpg.UniqueViolationError("another node has this record in flight")

    monkeypatch.setattr(Queue, "enqueue_taken", taken_by_others)
    works = Works(database, sandbox, names=["product"])
    async with works.running():
        run = await works.ran("product")
    assert (run.status, run.enqueued) == ("completed", run.listed)
    assert await database.fetchval("SELECT count(*) FROM products") == run.listed


async def test_what_was_taken_behind_a_lost_answer_is_given_back(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A COMMIT whose answer is lost took tasks that nobody here knows; the actor returns them, and the run ends."""
    lost: list[int] = []
    taking = Queue.enqueue_taken

    async def losing(self: Queue, connection: Connection, changes: Any) -> Enqueued:
        enqueued = await taking(self, connection, changes)
        if not lost:
            lost.append(len(enqueued.taken))
            await connection.execute("COMMIT")
            raise DatabaseGone("the connection was lost")
        return enqueued

    monkeypatch.setattr(Queue, "enqueue_taken", losing)
    works = Works(database, sandbox, names=["product"])
    async with works.running():
        run = await works.ended(await works.request("product"), within=30)
    assert lost[0] > 0
    assert run.status == "completed"
    assert await live(works.queue) == {}
    assert await database.fetchval("SELECT count(*) FROM products") == await database.fetchval(
        "SELECT count(DISTINCT source_entity_id) FROM tds_sync_queue_done"
    )
