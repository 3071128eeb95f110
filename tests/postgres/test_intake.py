"""Durable acknowledgement: what is a duplicate, what is stored together, what happens to the odd ones."""

from datetime import UTC, datetime
from typing import Any

import anyio
import pytest
from fixtures.daemon import until

from tds_runtime import Context, Inbox, Supervisor, intake, run
from tds_runtime.database import Database, Options
from tds_runtime.intake import Delivery, Store, replay, store, writer
from tds_runtime.nodes import Node
from tds_runtime.queue import Queue
from tds_runtime.task import DOUBTED

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def delivery(body: bytes = b"{}", record: str = "1", **more: Any) -> Delivery:
    given = {
        "source": "zoho", "entity_type": "product", "source_entity_id": record, "operation": "upsert",
        "modified_at": NOON, "body": body, "content_type": "application/json", "query": "", "correlation_id": "c",
    }  # fmt: skip
    return Delivery(**{**given, **more})


async def inbox_rows(database: Database) -> int:
    return await database.fetchval("SELECT count(*) FROM tds_inbox_events")


async def claim(database: Database) -> Any:
    return await Queue(database, boot_id="x").claim(["product"])


async def test_a_delivery_and_its_task_commit_together(database: Database) -> None:
    """The body comes back byte by byte with the task, whatever bytes they are."""
    body = b'{"a": "\\u0000 \\ud800", "n": 1e400000}\xff'
    [receipt] = await store(database, [delivery(body)])
    assert not receipt.duplicate
    [task] = await claim(database)
    assert (task.payload, task.payload_kind, task.first_inbox_id, task.priority) == (
        body,
        "webhook",
        receipt.inbox_id,
        10,
    )


async def test_only_a_repeat_of_the_latest_is_a_duplicate(database: Database) -> None:
    """A, A, B, A are three changes and one duplicate, delivered one by one or at once."""
    a, b = delivery(b"a"), delivery(b"b")
    one_by_one = [(await store(database, [each]))[0] for each in (a, a, b, a)]
    assert [receipt.duplicate for receipt in one_by_one] == [False, True, False, False]
    assert one_by_one[1].event_id == one_by_one[0].event_id
    at_once = await store(database, [delivery(each.body, "2") for each in (a, a, b, a)])
    assert [receipt.duplicate for receipt in at_once] == [False, True, False, False]
    assert await inbox_rows(database) == 6


async def test_a_batch_that_begins_with_a_known_delivery(database: Database) -> None:
    """The first of a record repeats what is stored, the second is new: one inbox row more, one task."""
    await store(database, [delivery(b"a")])
    await claim(database)
    receipts = await store(database, [delivery(b"a"), delivery(b"b", modified_at=NOON.replace(hour=13))])
    assert [receipt.duplicate for receipt in receipts] == [True, False]
    assert await inbox_rows(database) == 2
    waiting = await database.fetch("SELECT coalesced, inbox_id FROM tds_sync_queue WHERE status = 'pending'")
    assert [tuple(row) for row in waiting] == [(0, receipts[1].inbox_id)]


async def test_fifty_at_once_are_one(database: Database) -> None:
    """The same webhook from fifty connections leaves one row and one task, and each is answered."""
    receipts = []

    async def send() -> None:
        receipts.extend(await store(database, [delivery()]))

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(send)
    assert len(receipts) == 50
    assert sum(not receipt.duplicate for receipt in receipts) == 1
    assert len({receipt.event_id for receipt in receipts}) == 1
    assert await inbox_rows(database) == 1
    assert len(await claim(database)) == 1


async def test_equal_stamps_become_a_fetch(database: Database) -> None:
    """Two bodies of one second prove no order: the record is fetched."""
    await store(database, [delivery(b"a")])
    await store(database, [delivery(b"b")])
    assert await Queue(database, boot_id="x").due() == {("product", "fetch")}


async def test_unnamed_bodies_do_not_fold_into_each_other(database: Database) -> None:
    """Without a record id every body has a task of its own."""
    await store(database, [delivery(b"<html>", ""), delivery(b"nonsense", ""), delivery(b"nonsense", "")])
    tasks = await claim(database)
    assert sorted(task.payload for task in tasks) == [b"<html>", b"nonsense"]
    assert all(task.source_entity_id.startswith("body:") for task in tasks)
    assert await database.fetchval("SELECT count(*) FROM tds_inbox_events WHERE source_entity_id = ''") == 2


async def test_event_ids_are_unique(database: Database) -> None:
    """A sender's own event id makes a duplicate whatever came between, also inside one batch."""
    first, second = delivery(b"a", event_id="e1"), delivery(b"b", event_id="e2")
    receipts = await store(database, [first, second, first])
    assert [receipt.duplicate for receipt in receipts] == [False, False, True]
    [again] = await store(database, [first])
    assert again.duplicate
    assert again.event_id == "e1"
    assert again.inbox_id == receipts[0].inbox_id


async def test_odd_text_does_not_stop_its_batch(database: Database) -> None:
    """NUL and lone surrogates in names are escaped, not fatal."""
    receipts = await store(database, [delivery(record="a\0b\ud800", query="\0"), delivery()])
    assert len(receipts) == 2
    assert (
        await database.fetchval("SELECT count(*) FROM tds_inbox_events WHERE source_entity_id = $1", "a\\0b\\ud800")
        == 1
    )


async def test_a_replay_goes_through_the_queue_again(database: Database) -> None:
    """Of several deliveries of a record the latest is enqueued."""
    receipts = await store(database, [delivery(b"a"), delivery(b"b", modified_at=NOON.replace(hour=13))])
    await claim(database)
    assert await replay(database, [receipt.inbox_id for receipt in receipts]) == 1
    assert (
        await database.fetchval("SELECT inbox_id FROM tds_sync_queue WHERE status = 'pending'") == receipts[1].inbox_id
    )


async def test_the_writer_tells_which_entities_have_work(database: Database) -> None:
    """After a commit the mailboxes of the entities are woken."""
    told: list[frozenset[str]] = []
    inbox = Inbox.of(Store(delivery()), Store(delivery(entity_type="invoice")))
    await writer.function(Context(), inbox, database=database, on_stored=told.append)
    assert frozenset().union(*told) == {"product", "invoice"}
    assert await inbox_rows(database) == 2


async def test_the_writer_survives_an_outage() -> None:
    """Without a database it lets go of the questions and goes on."""
    told: list[frozenset[str]] = []
    async with Database(Options(dsn="postgresql://nobody@/nowhere?host=/nonexistent")).opened() as database:
        await writer.function(Context(), Inbox.of(Store(delivery())), database=database, on_stored=told.append)
    assert told == []


async def test_one_that_the_server_rejects_does_not_take_others_along(database: Database) -> None:
    """The batch is halved until only the culprit is left, and that one is let go."""
    told: list[frozenset[str]] = []
    bad = delivery(variant="\0")
    inbox = Inbox.of(*(Store(each) for each in (delivery(record="1"), bad, delivery(record="2"), delivery(record="3"))))
    await writer.function(Context(), inbox, database=database, on_stored=told.append)
    assert await inbox_rows(database) == 3


async def test_what_waits_is_committed_in_halves(database: Database) -> None:
    """Forty that wait become three commits: while one is on its way, those before it are answered and send again."""
    inbox = Inbox.of(*(Store(delivery(record=str(number))) for number in range(40)))
    await writer.function(Context(), inbox, database=database)
    commits = await database.fetch("SELECT count(*) FROM tds_inbox_events GROUP BY xmin ORDER BY min(id)")
    assert [row[0] for row in commits] == [20, 16, 4]


async def test_an_idle_writer_whose_connection_dies_stores_on_another(database: Database) -> None:
    """What the server closed while nobody wrote costs no delivery a 503."""
    spec = writer(database=database).named("writer")
    async with run(Supervisor("tds", children=[spec])):
        await spec.ref.ask(Store(delivery(record="1")))
        killed = await database.fetchval(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE query LIKE '%tds_last_deliveries%' AND datname = current_database() AND pid <> pg_backend_pid()"
        )
        receipt = await spec.ref.ask(Store(delivery(record="2")))
    assert killed
    assert not receipt.duplicate
    assert await inbox_rows(database) == 2


async def test_a_writer_gives_its_connection_back_when_nothing_comes(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that is kept for ever would meet every silent end of a network first."""
    monkeypatch.setattr(intake, "KEPT", 0.05)
    spec = writer(database=database).named("writer")
    async with run(Supervisor("tds", children=[spec])):
        await spec.ref.ask(Store(delivery()))
        pool = database.statistics().pools["ingest"]
        assert (pool.size, pool.idle) == (1, 0)

        async def given_back() -> bool:
            return database.statistics().pools["ingest"].idle == 1

        await until(given_back)
        await spec.ref.ask(Store(delivery(record="2")))


async def test_a_restart_refuses_nobody(database_dsn: str) -> None:
    """Deliveries that come before the migrations were looked at are held for a moment, and stored."""
    async with Database(Options(dsn=database_dsn)).opened(held=True) as starting:
        spec = writer(database=starting).named("writer")
        async with run(Supervisor("tds", children=[spec])), anyio.create_task_group() as group:
            asked = anyio.Event()

            async def ask() -> None:
                asked.set()
                assert not (await spec.ref.ask(Store(delivery()))).duplicate

            group.start_soon(ask)
            await asked.wait()
            await anyio.wait_all_tasks_blocked()
            starting.admit()
        assert await inbox_rows(starting) == 1


async def test_the_only_connection_is_not_kept_from_the_heartbeat(database_dsn: str) -> None:
    """With `ingest_connections = 1` the lease is renewed between the writer's commits."""
    async with Database(Options(dsn=database_dsn, ingest_connections=1, acquire_timeout=2.0)).opened() as narrow:
        spec = writer(database=narrow).named("writer")
        async with run(Supervisor("tds", children=[spec])):
            await spec.ref.ask(Store(delivery()))
            await Node(narrow).renew()


async def test_a_doubted_deletion_waits_as_a_fetch(database: Database) -> None:
    """Delivered or replayed it carries its reason and no body; a change that comes after it does not take its place."""
    [receipt] = await store(database, [delivery(operation="fetch")])
    await store(database, [delivery(b"later")])
    queue = Queue(database, boot_id="x")
    [task] = await queue.claim(["product"], ("fetch",))
    assert (task.operation, task.reason, task.payload, task.coalesced) == ("fetch", DOUBTED, None, 1)
    assert task.may_be_missing
    await queue.release([(task.id, task.fence)])
    assert await replay(database, [receipt.inbox_id]) == 1
    [task] = await queue.claim(["product"], ("fetch",))
    assert (task.operation, task.reason) == ("fetch", DOUBTED)


async def test_deliveries_at_once_keep_the_doubt(database: Database) -> None:
    """A change and a doubted deletion of one commit are one fetch with its reason; two odd changes have none."""
    await store(database, [delivery(b"a"), delivery(operation="fetch")])
    await store(database, [delivery(b"a", "2"), delivery(b"b", "2")])
    tasks = await Queue(database, boot_id="x").claim(["product"], ("fetch",))
    assert {task.source_entity_id: task.may_be_missing for task in tasks} == {"1": True, "2": False}
