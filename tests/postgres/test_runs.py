from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from tds_runtime import running, runs
from tds_runtime.database import Database
from tds_runtime.errors import LeaseLost
from tds_runtime.running import Claimed, Cursor, Step

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


async def ask(database: Database, entity: str = "product", kind: Any = "full", **more: Any) -> int:
    async with database.transaction() as connection:
        return await runs.request(connection, entity, kind, "test", **more)


async def take(database: Database, boot_id: str = "this", limit: int = 5) -> list[Claimed]:
    return await running.claim(database, boot_id, limit)


async def advance(database: Database, run: Claimed, **step: Any) -> None:
    async with database.transaction() as connection:
        await running.advance(connection, run, Step(**{"position": {"page": 2}, "listed": 10, **step}))


async def test_a_thousand_wishes_are_one_run(database: Database) -> None:
    """The same wish that has not begun is the same run; another wish, or one after the beginning, is another."""
    ids = set()

    async def press() -> None:
        ids.add(await ask(database))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(press)
    assert len(ids) == 1
    found = await runs.read(database, ids.pop())
    assert found is not None
    assert found.requests == 50
    assert await ask(database, args={"force": True}) != found.id
    await take(database)
    assert await ask(database) != found.id


async def test_each_slot_has_its_own_run(database: Database) -> None:
    """Two slots of one schedule never share a run."""
    first = await ask(database, schedule="daily", slot=NOON)
    assert await ask(database, schedule="daily", slot=NOON + timedelta(days=1)) != first


async def test_one_listing_per_entity(database: Database) -> None:
    """While a run lists an entity no other does; it may begin once the first only waits for its tasks."""
    await ask(database)
    await ask(database, kind="incremental")
    await ask(database, "customer")
    first = await take(database)
    assert sorted(run.entity_type for run in first) == ["customer", "product"]
    assert await take(database) == []
    async with database.transaction() as connection:
        await running.finish_listing(connection, next(run for run in first if run.entity_type == "product"))
    assert [run.kind for run in await take(database)] == ["incremental"]


async def test_two_claimers_share_the_work(database: Database) -> None:
    """Claimers at once never get the same run, nor two runs of one entity."""
    for entity in "abcdefgh":
        await ask(database, entity)
        await ask(database, entity, "incremental")
    taken: list[Claimed] = []

    async def claimer(name: str) -> None:
        for _ in range(10):
            taken.extend(await take(database, name, 3))

    async with anyio.create_task_group() as group:
        for name in "12345":
            group.start_soon(claimer, name)
    assert sorted(run.entity_type for run in taken) == list("abcdefgh")


async def test_steps_add_up_and_repeat_nothing(database: Database) -> None:
    """Steps add to the counts; a step that is repeated because its COMMIT got no answer adds nothing."""
    await ask(database)
    [run] = await take(database)
    await advance(database, run, position={"page": 2}, listed=200, unchanged=150, enqueued=50)
    await advance(database, run, position={"page": 2}, listed=200, unchanged=150, enqueued=50)
    await advance(database, run, position={"page": 3}, listed=7, enqueued=7, coalesced=1)
    found = await runs.read(database, run.id)
    assert found is not None
    assert (found.pages, found.listed, found.unchanged, found.enqueued, found.coalesced) == (2, 207, 150, 57, 1)


async def test_who_lost_a_run_changes_nothing(database: Database) -> None:
    """After a cancel, or under an old fence, every step raises and changes nothing."""
    await ask(database)
    [run] = await take(database)
    async with database.transaction() as connection:
        assert await runs.cancel(connection, run.id, "enough\0") == [run.id]
    for attempt in (
        advance(database, run),
        running.plan(database, run, {"calls": 1}, 5),
        running.outstanding(database, run),
        running.complete(database, run),
        running.fail(database, run, "x", "y"),
    ):
        with pytest.raises(LeaseLost):
            await attempt
    found = await runs.read(database, run.id)
    assert found is not None
    assert (found.status, found.listed) == ("cancelled", 0)


async def test_a_release_refunds_the_attempt(database: Database) -> None:
    """A run that is put off waits until its time, goes on at its place, and is resumed then."""
    await ask(database)
    [run] = await take(database)
    await advance(database, run, position={"page": 9})
    await running.release(database, [run], datetime.now(UTC) + timedelta(hours=1))
    assert await take(database) == []
    await database.execute("UPDATE tds_sync_runs SET available_at = now()")
    [again] = await take(database)
    assert (again.attempt_count, again.position, again.resumed) == (1, {"page": 9}, True)
    with pytest.raises(LeaseLost):
        await advance(database, run)


async def test_runs_of_the_dead_go_on(database: Database) -> None:
    """Runs of a node whose lease is over and of our own earlier life wait again; a third death fails the run."""
    await ask(database)
    await database.execute(
        """INSERT INTO tds_nodes (boot_id, name, host, pid, process, version, lease, renewed_at) VALUES
           ('alive', 'n', 'h', 1, '1', 'v', '60 s', now()),
           ('dead', 'n', 'h', 1, '1', 'v', '60 s', now() - interval '2 min')"""
    )
    assert len(await take(database, "alive")) == 1
    assert await running.return_lost(database, "this", own=True) == {}
    await database.execute("UPDATE tds_sync_runs SET locked_by = 'dead'")
    [run_id] = await running.return_lost(database, "this", own=False)
    await take(database)
    assert await running.return_lost(database, "this", own=False) == {}
    assert await running.return_lost(database, "this", own=True) == {run_id: "pending"}
    await take(database)
    assert await running.return_lost(database, "this", own=True) == {run_id: "failed"}
    found = await runs.read(database, run_id)
    assert found is not None
    assert found.error_code == "owner_lost"


async def test_everything_ends_with_its_parts(database: Database) -> None:
    """A run of everything is open until its last run ended, sums them, and names those that failed."""
    await ask(database, "all")
    [parent] = await take(database)
    async with database.transaction() as connection:
        await running.expand(connection, parent, ["product", "customer"])
    first, second = await take(database)
    await advance(database, first, listed=10)
    await running.complete(database, first)
    assert await running.close_parents(database) == {}
    await running.fail(database, second, "timeout", "too slow")
    assert await running.close_parents(database) == {parent.id: "failed"}
    found = await runs.read(database, parent.id)
    assert found is not None
    assert (found.listed, found.error_message) == (10, f"{second.entity_type}: too slow")
    assert [part.id for part in await runs.children(database, parent.id)] == [first.id, second.id]


async def test_everything_is_split_once(database: Database) -> None:
    """Splitting a run again, because the answer to the first time was lost, changes nothing."""
    await ask(database, "all")
    [parent] = await take(database)
    async with database.transaction() as connection:
        await running.expand(connection, parent, ["product", "customer"])
        with pytest.raises(LeaseLost):
            await running.expand(connection, parent, ["product", "customer"])
    assert len(await runs.children(database, parent.id)) == 2


async def test_what_is_in_hand_is_not_lost(database: Database) -> None:
    """Of the runs of this process those go back that it does not know of: it never heard that it has them."""
    await ask(database)
    [run] = await take(database, "this")
    assert await running.return_lost(database, "this", own=True, held=[run.id]) == {}
    assert await running.return_lost(database, "this", own=True) == {run.id: "pending"}


async def test_cancelling_everything_cancels_its_parts(database: Database) -> None:
    """A cancel reaches the runs that have not ended."""
    await ask(database, "all")
    [parent] = await take(database)
    async with database.transaction() as connection:
        children = await running.expand(connection, parent, ["product", "customer"])
        assert sorted(await runs.cancel(connection, parent.id, "enough")) == sorted([parent.id, *children])


@pytest.mark.parametrize("end", ["fail", "cancel", "listed"])
async def test_what_a_listing_saw_goes_with_it(database: Database, end: str) -> None:
    """However it ends, its pages of ids are gone; those of others stay."""
    await ask(database)
    await ask(database, "customer")
    one, other = await take(database)
    for run in (one, other):
        await advance(database, run, ids=["1", "2"])
    async with database.transaction() as connection:
        if end == "cancel":
            await runs.cancel(connection, one.id, "enough")
        elif end == "listed":
            await running.finish_listing(connection, one)
    if end == "fail":
        await running.fail(database, one, "broken", "it broke")
    assert [row[0] for row in await database.fetch("SELECT run_id FROM tds_sync_run_pages")] == [other.id]


async def test_cursors_never_go_back(database: Database) -> None:
    """A cursor moves forward only, and stays where nothing was seen."""
    await ask(database)
    [run] = await take(database)
    for stamp in (NOON, NOON - timedelta(hours=1), None):
        async with database.transaction() as connection:
            await running.save_cursor(connection, run, "", Cursor(stamp, stamp))
    assert await running.cursor(database, "product", "") == Cursor(NOON, NOON)
    assert await running.cursor(database, "customer", "") == Cursor()


async def test_missing_is_what_was_stored_before_and_not_seen(database: Database) -> None:
    """Only living records that were stored before the run, of that source, and on no page, are missing."""
    await database.execute(
        """INSERT INTO tds_record_state (entity_type, source_entity_id, variant, observed_at, tombstoned_at) VALUES
           ('payment', 'seen', 'customer', now() - interval '1 h', NULL),
           ('payment', 'gone', 'customer', now() - interval '1 h', NULL),
           ('payment', 'other', 'vendor', now() - interval '1 h', NULL),
           ('payment', 'dead', 'customer', now() - interval '1 h', now()),
           ('payment', 'fresh', 'customer', now() + interval '1 h', NULL),
           ('product', 'gone', '', now() - interval '1 h', NULL)"""
    )
    await ask(database, "payment")
    [run] = await take(database)
    await advance(database, run, variant="customer", page=1, ids=["seen", "new"])
    found = await running.missing(database, run, "customer", 10)
    assert (found.stored, found.ids) == (3, ("gone",))
    async with database.transaction() as connection:
        await running.finish_listing(connection, run, candidates=1, alarm="too_many_missing")
    assert await database.fetchval("SELECT count(*) FROM tds_sync_run_pages") == 0
    assert (await running.complete(database, run)).alarm == "too_many_missing"


async def test_the_log_of_a_run(database: Database) -> None:
    """Lines come back in order, also those of its parts, whatever they contain."""
    await ask(database, "all")
    [parent] = await take(database)
    async with database.transaction() as connection:
        await running.expand(connection, parent, ["product"])
    [part] = await take(database)
    await running.log(database, parent, "info", "started", "one")
    await running.log(database, part, "warning", "waiting", "two\0", ids=["a\0b"], seconds=1.5)
    lines = await runs.lines(database, parent.id)
    assert [(line.event, line.message, line.entity_type) for line in lines] == [
        ("started", "one", "all"),
        ("waiting", "two\\0", "product"),
    ]
    assert lines[1].detail == {"ids": ["a\\u0000b"], "seconds": 1.5}
    assert [line.event for line in await runs.lines(database, parent.id, after=lines[0].id)] == ["waiting"]


async def test_recent_pages_by_id(database: Database) -> None:
    """Newest first, filtered, a page ends where the next begins, parts only where their entity is asked for."""
    ids = [await ask(database, f"entity{number}") for number in range(5)]
    page = await runs.recent(database, limit=2)
    assert [run.id for run in page] == ids[:-3:-1]
    assert [run.id for run in await runs.recent(database, before=page[-1].id, limit=2)] == ids[2:0:-1]
    assert [run.id for run in await runs.recent(database, entity_type="entity3")] == [ids[3]]
    assert await runs.recent(database, status="failed") == []
    assert len(await runs.recent(database, kind="full")) == 5


async def test_outstanding_uses_its_index(database: Database) -> None:
    """What is left of a run is counted by an index, whatever else waits."""
    await database.execute("SET enable_seqscan = off")
    plan = await database.fetch(
        "EXPLAIN SELECT count(*) FROM tds_sync_queue_live"
        " WHERE run_id = 1 AND status IN ('pending', 'processing') AND available_at IS NULL"
    )
    assert any("tds_sync_queue_live_run" in row[0] for row in plan)
