"""The queue's rules against a real server: folding, fencing, retries, dead letters, returns."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import anyio
import pytest
from fixtures.moments import a_moment

from tds_runtime.database import Database
from tds_runtime.errors import LeaseLost
from tds_runtime.queue import Change, Completion, Failure, Fetched, Moved, Options, Queue, Selection, Task
from tds_runtime.trial import SUSPECT

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, boot_id="this", options=Options(batch=10, max_attempts=3), random=Random(1))


def change(record: str = "1", **more: Any) -> Change:
    return Change(**{"entity_type": "product", "source_entity_id": record, "payload": b"{}", **more})


async def put(queue: Queue, *changes: Change) -> None:
    async with queue.database.transaction() as connection:
        await queue.enqueue(connection, changes)


async def finish(queue: Queue, *tasks: Task, outcome: Any = "applied") -> None:
    async with queue.database.transaction() as connection:
        await queue.complete(connection, [Completion(task.id, task.fence, outcome, b'{"rows": 1}') for task in tasks])


async def take(queue: Queue, **more: Any) -> list[Task]:
    return await queue.claim(["product"], **more)


def failure(task: Task, code: str = "broken") -> Failure:
    return Failure(id=task.id, fence=task.fence, error_code=code, error_message="it broke", traceback="...")


async def counts(queue: Queue) -> dict[str, int]:
    rows = await queue.database.fetch("SELECT status, count(*) FROM tds_sync_queue GROUP BY status")
    return dict(rows)


async def test_a_task_goes_from_pending_to_completed(queue: Queue) -> None:
    """Claimed once, finished once, and its history keeps outcome and result but not the payload."""
    await put(queue, change(payload=b'{"name": "x"}', source_modified_at=NOON))
    [task] = await take(queue)
    assert (task.payload, task.attempt_count, task.fence, task.source_modified_at) == (b'{"name": "x"}', 1, 1, NOON)
    assert await take(queue) == []
    await finish(queue, task)
    assert await counts(queue) == {"completed": 1}
    row = await queue.database.fetchrow(
        "SELECT outcome, result->>'rows' AS rows, payload, locked_by FROM tds_sync_queue"
    )
    assert tuple(row) == ("applied", "1", None, None)


async def test_changes_of_one_record_share_one_waiting_task(queue: Queue) -> None:
    """The newer content wins wherever it stands, and every change is counted."""
    await put(queue, change(payload=b"1", source_modified_at=NOON))
    await put(
        queue,
        change(payload=b"3", source_modified_at=NOON + timedelta(2)),
        change(payload=b"2", source_modified_at=NOON),
    )
    await put(queue, change(payload=b"0", source_modified_at=NOON - timedelta(1), priority=20))
    [task] = await take(queue)
    assert (task.payload, task.coalesced, task.priority) == (b"3", 3, 20)


async def test_a_change_waits_behind_the_record_in_flight(queue: Queue) -> None:
    """While a record is processed its next change cannot be claimed; afterwards it can."""
    await put(queue, change(payload=b"1"))
    [first] = await take(queue)
    await put(queue, change(payload=b"2"), change("other"))
    assert [task.source_entity_id for task in await take(queue)] == ["other"]
    await finish(queue, first)
    assert [task.payload for task in await take(queue)] == [b"2"]


async def test_complete_and_claim_takes_one_round_trip(queue: Queue) -> None:
    """Finishing a batch hands over the next one, also when nothing is left."""
    await put(queue, *(change(str(number)) for number in range(5)))
    tasks = await take(queue, limit=3)
    for expected in (2, 0):
        async with queue.database.transaction() as connection:
            done = [Completion(task.id, task.fence, "applied") for task in tasks]
            tasks = await queue.complete_and_claim(connection, done, "product")
        assert len(tasks) == expected
    assert await counts(queue) == {"completed": 5}


async def suspected(queue: Queue, *records: str) -> None:
    await queue.database.execute(
        "UPDATE tds_sync_queue_live SET attempt_count = $1 WHERE source_entity_id = ANY ($2)",
        SUSPECT - 1,
        list(records),
    )


async def test_a_suspect_is_claimed_alone_or_passed_over(queue: Queue) -> None:
    """Nobody is charged with an attempt beside a suspect, nor a suspect while another one is tried."""
    await put(queue, *(change(str(number)) for number in range(4)))
    await suspected(queue, "0", "2")
    assert [task.source_entity_id for task in await take(queue)] == ["0"]
    assert [task.source_entity_id for task in await take(queue, suspects="skip")] == ["1", "3"]
    assert await take(queue, suspects="skip") == []
    assert [task.source_entity_id for task in await take(queue)] == ["2"]


async def test_a_suspect_stops_the_line_of_who_finishes(queue: Queue) -> None:
    """Finishing a batch hands over others while one of them is first, then nothing: suspects are left to claims."""
    await put(queue, *(change(str(number)) for number in range(4)))
    await suspected(queue, "2")
    tasks = await take(queue, limit=1)
    for expected in (["1", "3"], []):
        async with queue.database.transaction() as connection:
            done = [Completion(task.id, task.fence, "applied") for task in tasks]
            tasks = await queue.complete_and_claim(connection, done, "product")
        assert [task.source_entity_id for task in tasks] == expected
    assert [task.source_entity_id for task in await take(queue)] == ["2"]


async def test_a_stale_owner_changes_nothing_and_learns_it(queue: Queue) -> None:
    """After another owner took over, complete raises LeaseLost and the other endings return no ids."""
    await put(queue, change())
    [stale] = await take(queue)
    await queue.return_own(["product"])
    [fresh] = await take(queue)
    assert fresh.fence > stale.fence
    assert fresh.attempt_count == 2
    with pytest.raises(LeaseLost):
        await finish(queue, stale)
    assert not (await queue.retry([failure(stale)])).ids
    assert not (await queue.bury([failure(stale)])).ids
    assert not (await queue.release([(stale.id, stale.fence)])).ids
    assert not (await queue.snooze([(stale.id, stale.fence)], None, "x")).ids
    await finish(queue, fresh)


async def test_attempts_run_out(queue: Queue) -> None:
    """A task that keeps failing waits between attempts and ends as a dead letter with its history."""
    await put(queue, change())
    for attempt in (1, 2, 3):
        [task] = await take(queue)
        moved = await queue.retry([failure(task, f"e{attempt}")])
        assert moved.buried == (frozenset({task.id}) if attempt == 3 else frozenset())
        assert await take(queue) == []
        await queue.database.execute("UPDATE tds_sync_queue SET available_at = now() WHERE available_at IS NOT NULL")
        assert await queue.promote_due() == (attempt < 3)
    row = await queue.database.fetchrow("SELECT *, jsonb_array_length(attempts) AS tries FROM tds_dead_letter_queue")
    assert row is not None
    assert (row["error_code"], row["tries"], row["attempt_count"], row["traceback"]) == ("e3", 3, 3, "...")
    assert await counts(queue) == {"dead_letter": 1}


async def test_a_retry_folds_into_what_waits(queue: Queue) -> None:
    """A failed older change does not come back beside the newer one; one task remains, with the newer content."""
    await put(queue, change(payload=b"old", source_modified_at=NOON))
    [task] = await take(queue)
    await put(queue, change(payload=b"new", source_modified_at=NOON + timedelta(1)))
    await queue.retry([failure(task)])
    [next_task] = await take(queue)
    assert (next_task.payload, next_task.coalesced) == (b"new", 1)


async def test_a_dead_letter_is_resolved_when_a_newer_change_lands(queue: Queue) -> None:
    """Burying and then applying a newer change leaves no dead letter."""
    await put(queue, change(payload=b"old"))
    [task] = await take(queue)
    await queue.bury([failure(task)])
    await put(queue, change(payload=b"new"))
    await finish(queue, *await take(queue))
    assert await counts(queue) == {"completed": 2}
    assert await queue.database.fetchval("SELECT resolution FROM tds_dead_letter_queue") == "superseded"


async def test_release_and_snooze_refund_the_attempt(queue: Queue) -> None:
    """A task given back or put off has not spent its attempt; put off too long it is buried."""
    await put(queue, change())
    [task] = await take(queue)
    await queue.release([(task.id, task.fence)])
    [task] = await take(queue)
    assert task.attempt_count == 1
    await queue.snooze([(task.id, task.fence)], NOON + timedelta(days=3650), "parent missing")
    assert await take(queue) == []
    assert await counts(queue) == {"pending": 1}
    await queue.database.execute("UPDATE tds_sync_queue SET available_at = now(), snoozed_at = now() - interval '25 h'")
    await queue.promote_due()
    [task] = await take(queue)
    assert task.attempt_count == 1
    assert (await queue.snooze([(task.id, task.fence)], None, "parent missing")).buried == {task.id}


async def test_a_fetch_becomes_what_it_found(queue: Queue) -> None:
    """Fetches are claimed apart; the answer makes the task an upsert with the detail, in place."""
    await put(queue, change(operation="fetch", payload=None))
    assert await take(queue) == []
    assert await queue.due() == {("product", "fetch")}
    [task] = await queue.claim(["product", "invoice"], ("fetch",))
    answer = Fetched(id=task.id, fence=task.fence, operation="upsert", payload=b"{1}", source_modified_at=NOON)
    await queue.fetched(None, [answer])
    assert await queue.due() == {("product", "upsert")}
    [upsert] = await take(queue)
    assert (upsert.id, upsert.payload, upsert.payload_kind, upsert.attempt_count) == (task.id, b"{1}", "detail", 1)
    await queue.refetch(None, [(upsert.id, upsert.fence)], "thin")
    [again] = await queue.claim(["product"], ("fetch",))
    assert (again.id, again.payload, again.reason) == (task.id, None, "thin")


async def test_tasks_of_dead_nodes_come_back(queue: Queue) -> None:
    """Only a node with a live lease keeps what it holds."""
    await put(queue, change())
    await take(queue)
    await queue.database.execute(
        "INSERT INTO tds_nodes (boot_id, name, host, pid, process, version, lease)"
        " VALUES ('this', '', '', 1, '', '', '60 s')"
    )
    assert not (await queue.return_expired()).ids
    await queue.database.execute("UPDATE tds_nodes SET renewed_at = now() - interval '61 s'")
    assert len((await queue.return_expired()).returned) == 1


async def test_what_an_operator_set_to_processing_comes_back(queue: Queue) -> None:
    """A plain UPDATE on the parent works, leaves other rows alone, and only the stuck sweep takes the task back."""
    await put(queue, change())
    await queue.database.execute(
        "UPDATE tds_sync_queue SET status = 'processing', processing_started_at = now() - interval '2 hours'"
    )
    assert not (await queue.return_expired()).ids
    assert len((await queue.return_stuck(3600)).returned) == 1
    assert await counts(queue) == {"pending": 1}


async def test_a_worker_that_dies_of_a_task_buries_it(queue: Queue) -> None:
    """A task claimed max_attempts times without an ending is a dead letter, not a loop."""
    await put(queue, change())
    for _ in range(3):
        assert len(await take(queue)) == 1
        moved = await queue.return_own(["product"])
    assert len(moved.buried) == 1
    assert await counts(queue) == {"dead_letter": 1}


async def test_statistics_count_every_status(queue: Queue) -> None:
    """The counts match what is there."""
    await put(queue, *(change(str(number)) for number in range(4)))
    tasks = await take(queue, limit=3)
    await finish(queue, tasks[0])
    await queue.bury([failure(tasks[1])])
    found = await queue.statistics()
    assert (found.pending, found.processing, found.completed, found.dead_letter, found.total) == (1, 1, 1, 1, 4)
    assert found.oldest_waiting >= 0


async def test_dead_letters_are_listed_retried_and_discarded(queue: Queue) -> None:
    """The predecessor's day: one retried by hand, then all; a retried task starts from zero and can complete."""
    await put(queue, *(change(str(number)) for number in range(4)))
    await queue.bury([failure(task, "planted") for task in await take(queue)])
    letters = await queue.dead_letters(Selection(error_code="planted"))
    assert len(letters) == 4
    assert await queue.count_dead(Selection(entity_type="product")) == 4
    assert await queue.retry_dead(Selection(ids=(letters[0].id,)), by="me") == 1
    assert [letter.id for letter in await queue.dead_letters(before=letters[2].id)] == [letters[3].id]
    assert await queue.discard_dead(Selection(ids=(letters[1].id,)), by="me", note="nonsense") == 1
    assert await queue.retry_dead(Selection(entity_type="product"), by="me") == 2
    tasks = await take(queue)
    assert {task.attempt_count for task in tasks} == {1}
    await finish(queue, *tasks)
    assert await counts(queue) == {"completed": 3, "cancelled": 1}
    assert await queue.dead_letters() == []


async def test_the_healer_gives_one_attempt(queue: Queue) -> None:
    """A retry that is not by hand spends its one attempt and counts how often it was tried."""
    await put(queue, change())
    await queue.bury([failure(task) for task in await take(queue)])
    for expected in (0, 1):
        assert await queue.retry_dead(Selection(retried_at_most=0), by="healer", once=True) == 1 - expected
        for task in await take(queue):
            assert (await queue.retry([failure(task)])).buried == {task.id}
    [letter] = await queue.dead_letters()
    assert letter.retry_count == 1
    assert letter.first_buried_at < letter.buried_at


async def test_two_dead_letters_of_one_record(queue: Queue) -> None:
    """Retrying all of them takes the newest; the older one is resolved when it lands."""
    for number in (1, 2):
        await put(queue, change(payload=str(number).encode()))
        await queue.bury([failure(task) for task in await take(queue)])
    assert await queue.retry_dead(Selection(), by="me") == 1
    [task] = await take(queue)
    assert task.payload == b"2"
    await finish(queue, task)
    assert await counts(queue) == {"completed": 2}
    assert await queue.count_dead() == 0


async def test_a_paused_entity_is_not_claimed(queue: Queue) -> None:
    """Tasks of a paused entity wait, are not due, and go on after resume or after the time that was said."""
    await put(queue, change(), change("2", operation="fetch", payload=None))
    await queue.pause("product", by="me", reason="stocktaking")
    assert await queue.paused() == {"product": "stocktaking"}
    assert await take(queue) == []
    assert await queue.claim(["product"], ("fetch",)) == []
    assert ("product", "upsert") not in await queue.due()
    await queue.pause("product", by="me", until=NOON - timedelta(days=3650))
    assert len(await take(queue)) == 1
    assert await queue.resume("product")
    assert not await queue.resume("product")


async def test_cancelled_tasks_are_history(queue: Queue) -> None:
    """Cancel ends what waits and leaves what is in flight."""
    await put(queue, change("1"))
    [task] = await take(queue)
    await put(queue, change("1"), change("2"))
    assert await queue.cancel(Selection(entity_type="product"), by="me", reason="wrong") == 2
    await finish(queue, task)
    assert await counts(queue) == {"cancelled": 2, "completed": 1}


async def test_a_claim_that_nobody_heard_of_comes_back(database: Database) -> None:
    """A hung server may claim long after we gave up: what is in no hand here goes back untouched, what is stays."""
    heard, unheard = (Queue(database, boot_id="this") for _ in range(2))
    await put(heard, change("1"), change("2"))
    [mine] = await heard.claim(["product"], limit=1)
    [ghost] = await unheard.claim(["product"], limit=1)
    assert (await heard.return_forgotten()).ids == set()  # its answer may still be under way
    await database.execute("UPDATE tds_sync_queue SET processing_started_at = now() - interval '2 minutes'")
    assert (await heard.return_forgotten()).returned == {ghost.id}
    [again] = await heard.claim(["product"])
    assert (again.id, again.attempt_count) == (ghost.id, 1)
    await finish(heard, mine)


async def test_what_has_left_our_hands_is_no_longer_held(queue: Queue) -> None:
    """However a task ends or goes back, its id is forgotten here too: the set does not grow."""
    await put(queue, *(change(str(number)) for number in range(6)))
    done, failed, hopeless, late, free, _ = tasks = await take(queue)
    await finish(queue, done)
    await queue.retry([failure(failed)])
    await queue.bury([failure(hopeless)])
    await queue.snooze([(late.id, late.fence)], None, "later")
    await queue.release([(free.id, free.fence)])
    assert queue._in_hand == {tasks[-1].id}
    await queue.return_own(["product"])
    assert queue._in_hand == set()


async def test_own_tasks_come_back_although_another_node_has_just_looked_at_them(queue: Queue) -> None:
    """A claim that began before ours locks what we took meanwhile until it commits; that is waited for, not skipped."""
    await put(queue, change("1"))
    [task] = await take(queue)
    returned: list[Moved] = []

    async def give_back() -> None:
        returned.append(await queue.return_own(["product"]))

    async with anyio.create_task_group() as group, queue.database.transaction() as another:
        await another.fetch("SELECT id FROM tds_sync_queue_live FOR UPDATE")
        group.start_soon(give_back)
        with anyio.fail_after(10):
            while not await another.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await a_moment()
    assert [moved.returned for moved in returned] == [{task.id}]
