"""The actor from queue to table: what waits is applied, whatever happens to it, its process or its database."""

import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from fixtures.documents import NOON, audit, invoice, item, product, put
from fixtures.works import sync

from actors.entity_sync import Synced, entity_sync
from actors.messages import Wake
from actors.refusals import TargetUnfit
from actors.settlement import MAPPED_AT_A_TIME, Settlement
from actors.zoho import tables
from actors.zoho.entities import Entities
from tds_runtime import Context, Inbox, Supervisor, intake, run
from tds_runtime.database import Connection, Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.intake import Delivery
from tds_runtime.queue import Change, Queue, Task
from tds_runtime.trial import SUSPECT

pytestmark = pytest.mark.anyio


async def names(queue: Queue) -> dict[str, str]:
    return dict(await queue.database.fetch("SELECT zoho_item_id, name FROM products"))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    with anyio.fail_after(10):
        while not await condition():  # noqa: ASYNC110 - another process, Postgres, is what changes
            await anyio.sleep(0.01)


async def test_what_waits_is_written_and_completed(queue: Queue, mapped: Entities) -> None:
    """More than two batches of list rows become rows of the table, and every task is completed."""
    await put(queue, *(product(str(number)) for number in range(35)))
    seen = await sync(queue, mapped)
    assert sum(one.outcomes.get("applied", 0) for one in seen) == sum(one.tasks for one in seen) == 35
    assert len(await names(queue)) == 35
    statistics = await queue.statistics()
    assert (statistics.completed, statistics.total) == (35, 35)


async def test_two_batches_are_in_flight(queue: Queue, mapped: Entities, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full claims bring a second worker, and never a third."""
    await put(queue, *(product(str(number)) for number in range(60)))
    busy, most = 0, 0
    settle = Settlement.settle

    async def counted(self: Settlement, *given: Any) -> Any:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        try:
            return await settle(self, *given)
        finally:
            busy -= 1

    monkeypatch.setattr(Settlement, "settle", counted)
    await sync(queue, mapped)
    assert most == 2
    assert len(await names(queue)) == 60


async def test_a_wake_up_is_enough(queue: Queue, mapped: Entities) -> None:
    """In a tree, a message makes it look; until then it leaves the database alone."""
    child = entity_sync(entity=mapped["product"], database=queue.database, queue=queue).named("product")
    async with run(Supervisor("root", children=[child]), signals=False, sd_notify=False):
        await put(queue, product("1"))
        await child.ref.tell(Wake("product"))
        await until(lambda: _has(queue, 1))
        await put(queue, product("2"))
        await child.ref.tell(Wake("product"))
        await until(lambda: _has(queue, 2))


async def _has(queue: Queue, count: int) -> bool:
    return len(await names(queue)) == count


async def test_what_an_earlier_life_held_is_given_back_first(queue: Queue, mapped: Entities) -> None:
    """Tasks that a crash left in flight are returned by the first act of the next incarnation, and then done."""
    await put(queue, product("1"))
    await queue.claim(["product"])
    await sync(queue, mapped)
    assert await names(queue) == {"1": "Item 1"}


def delivery(record: str, body: bytes, content_type: str) -> Delivery:
    return Delivery(
        source="zoho", entity_type="product", source_entity_id=record, operation="upsert", modified_at=NOON, body=body,
        content_type=content_type, query="", correlation_id=f"c{record}",
    )  # fmt: skip


async def test_deliveries_in_every_shape(queue: Queue, mapped: Entities) -> None:
    """JSON, JSON in a form field and plain form fields reach the table alike, with the delivery's correlation id."""
    form = "application/x-www-form-urlencoded"
    fields = {"item_id": "3", "name": "Item 3", "rate": "12.50", "status": "active", "stock_on_hand": ""}
    deliveries = [
        delivery("1", json.dumps({"item": item("1")}).encode(), "application/json;charset=UTF-8"),
        delivery("2", urlencode({"JSONString": json.dumps({"item": item("2")})}).encode(), form),
        delivery("3", urlencode(fields).encode(), form),
    ]
    await intake.store(queue.database, deliveries)
    [synced] = await sync(queue, mapped)
    assert synced.outcomes == {"applied": 3}
    rows = await queue.database.fetch("SELECT zoho_item_id, name, price::float FROM products ORDER BY 1")
    assert [tuple(row) for row in rows] == [(record, f"Item {record}", 12.5) for record in "123"]
    trail = await queue.database.fetch("SELECT source_entity_id, correlation_id FROM tds_audit_trail ORDER BY 1")
    assert [tuple(row) for row in trail] == [("1", "c1"), ("2", "c2"), ("3", "c3")]


async def test_mapping_lets_others_run(queue: Queue, mapped: Entities) -> None:
    """Every so many records the mapping gives way and tells the watchdog that it lives."""
    beats = 0

    def beat() -> None:
        nonlocal beats
        beats += 1

    await put(queue, *(product(str(number)) for number in range(3 * MAPPED_AT_A_TIME)))
    tasks = await queue.claim(["product"], limit=100)
    await Settlement(mapped["product"], queue.database, queue).prepare(tasks, beat)
    assert beats == 3


class Flaky(Database):
    """A database that goes away at planned commits: before them, or after them with the answer lost."""

    def __init__(self, inner: Database, plan: Sequence[str]) -> None:
        self._inner = inner
        self._plan = list(plan)
        self.fired: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name in {"_inner", "_plan", "fired", "transaction", "__class__"}:
            return object.__getattribute__(self, name)
        return getattr(object.__getattribute__(self, "_inner"), name)

    @asynccontextmanager
    async def transaction(self, pool: Any = "work") -> AsyncIterator[Connection]:
        planned = self._plan.pop(0) if self._plan else ""
        async with self._inner.transaction(pool) as connection:
            yield connection
            if planned == "before":
                self.fired.append(planned)
                raise DatabaseGone("cut before COMMIT")
        if planned == "after":
            self.fired.append(planned)
            raise DatabaseGone("cut after COMMIT")


@pytest.mark.parametrize(
    "plan", [["before"], ["after"], ["before", "after"], ["", "after"], ["before", "before", "after"]]
)
async def test_outages_cost_nothing(queue: Queue, mapped: Entities, plan: list[str]) -> None:
    """A database that goes away before or after a commit: each change has one effect, hardly an attempt is spent."""
    await put(queue, *(product(str(number)) for number in range(25)))
    flaky = Flaky(queue.database, plan)
    given = {"entity": mapped["product"], "database": flaky, "queue": queue}
    for _ in range(3):
        await entity_sync.function(Context(), Inbox.of(), **given)
    assert flaky.fired == [one for one in plan if one]
    assert len(await names(queue)) == 25
    lines = await audit(queue.database)
    assert sorted(line[1] for line in lines) == sorted(str(number) for number in range(25))
    attempts = await queue.database.fetchval("SELECT max(attempt_count) FROM tds_sync_queue")
    assert attempts <= 2
    assert (await queue.statistics()).completed == 25


@pytest.mark.parametrize("lost", [1, 2])
async def test_a_claim_whose_answer_was_lost_is_taken_again(
    queue: Queue, mapped: Entities, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    """What was claimed and never heard of is worked on at once, not when somebody finds it stuck."""
    claim, claims = Queue.claim, itertools.count(1)

    async def deaf(self: Queue, *given: Any, **more: Any) -> Any:
        tasks = await claim(self, *given, **more)
        if next(claims) == lost:
            raise DatabaseGone("the answer was lost")
        return tasks

    monkeypatch.setattr(Queue, "claim", deaf)
    await put(queue, *(product(str(number)) for number in range(25)))
    await sync(queue, mapped)
    assert len(await names(queue)) == 25


async def test_a_lost_lease_gives_the_rest_back(
    queue: Queue, mapped: Entities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One task of a batch is taken over meanwhile: nothing is written by this owner, and its own tasks are returned."""
    await put(queue, *(product(str(number)) for number in range(3)))
    prepare = Settlement.prepare

    async def robbed(self: Settlement, tasks: Sequence[Task], *more: Any) -> Any:
        await queue.database.execute(
            "UPDATE tds_sync_queue_live SET fence = fence + 1, locked_by = 'other' WHERE source_entity_id = '1'"
        )
        monkeypatch.setattr(Settlement, "prepare", prepare)
        return await prepare(self, tasks, *more)

    monkeypatch.setattr(Settlement, "prepare", robbed)
    [synced] = await sync(queue, mapped)
    assert (synced.tasks, synced.outcomes) == (2, {"applied": 2})
    assert set(await names(queue)) == {"0", "2"}
    rows = await queue.database.fetch("SELECT source_entity_id, status, attempt_count FROM tds_sync_queue ORDER BY 1")
    assert [tuple(row) for row in rows] == [("0", "completed", 1), ("1", "processing", 1), ("2", "completed", 1)]


async def test_nothing_is_claimed_without_a_lease(queue: Queue, mapped: Entities) -> None:
    """A process that cannot renew its lease takes no work until it holds it again."""
    await put(queue, product("1"))
    answers = iter([False, False, True])
    with anyio.fail_after(2):  # at each start the actor is there before the lease is
        await sync(queue, mapped, holds_lease=lambda: next(answers, True))
    assert await names(queue) == {"1": "Item 1"}


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("DROP TABLE products CASCADE", "table products is not there"),
        ("COMMENT ON TABLE products IS 'ours'", "adopt = true"),
        ("ALTER TABLE product_stock DROP COLUMN is_primary", "has no column is_primary"),
    ],
)
async def test_an_unfit_target_is_left_alone(queue: Queue, mapped: Entities, statement: str, reason: str) -> None:
    """A table that is missing, somebody else's or changed is not written, with a reason and no attempt spent."""
    await put(queue, product("1"))
    await queue.database.execute(statement)
    with pytest.raises(TargetUnfit, match=reason):
        await sync(queue, mapped)
    row = await queue.database.fetchrow("SELECT status, attempt_count FROM tds_sync_queue")
    assert row is not None
    assert tuple(row) == ("pending", 0)


async def test_a_target_that_becomes_unfit_costs_no_attempts(
    queue: Queue, mapped: Entities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column that goes away under way ends the actor once both batches are given back."""
    monkeypatch.setattr(tables, "faults", _no_faults)
    await put(queue, *(product(str(number)) for number in range(40)))
    await queue.database.execute("ALTER TABLE products DROP COLUMN brand")
    with pytest.raises(TargetUnfit, match="brand"):
        await sync(queue, mapped)
    rows = await queue.database.fetch("SELECT DISTINCT status, attempt_count FROM tds_sync_queue")
    assert [tuple(row) for row in rows] == [("pending", 0)]


async def _no_faults(*_given: Any) -> tuple[str, ...]:
    return ()


async def test_a_suspect_is_settled_alone(queue: Queue, mapped: Entities) -> None:
    """A task that was in two batches which did not end is tried without company, so that it can hurt only itself."""
    await put(queue, *(product(str(number)) for number in range(4)))
    await queue.database.execute(
        "UPDATE tds_sync_queue_live SET attempt_count = $1 WHERE source_entity_id = '2'", SUSPECT - 1
    )
    seen = await sync(queue, mapped)
    assert sorted(one.tasks for one in seen) == [1, 3]
    assert len(await names(queue)) == 4


async def test_many_suspects_are_tried_one_after_the_other(queue: Queue, mapped: Entities) -> None:
    """Each alone, in one drain, before and among others; nobody is left for the next look."""
    await put(queue, *(product(str(number)) for number in range(30)))
    await queue.database.execute(
        "UPDATE tds_sync_queue_live SET attempt_count = $1 WHERE source_entity_id IN ('0', '1', '29')", SUSPECT - 1
    )
    seen = await sync(queue, mapped)
    assert sum(one.tasks for one in seen) == 30
    assert [one.tasks for one in seen].count(1) >= 3
    rows = await queue.database.fetch("SELECT attempt_count, count(*) FROM tds_sync_queue GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in rows] == [(1, 27), (SUSPECT, 3)]


async def test_who_dies_beside_a_trial_is_not_charged_with_it(
    queue: Queue, mapped: Entities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Innocent suspects spend no attempt while the first of them ends its process again and again."""
    await put(queue, *(product(str(number)) for number in range(20)))
    await queue.database.execute("UPDATE tds_sync_queue_live SET attempt_count = $1", SUSPECT - 1)
    monkeypatch.setattr(Settlement, "prepare", _dies)
    monkeypatch.setattr(queue, "release", _dies)  # the process may also end here, with all in hand that it has claimed
    for _ in range(queue.options.max_attempts - SUSPECT + 1):
        with pytest.raises(ExceptionGroup):
            await sync(queue, mapped)
    await queue.return_own(["product"])
    rows = await queue.database.fetch("SELECT status, attempt_count, count(*) FROM tds_sync_queue GROUP BY 1, 2")
    assert {tuple(row) for row in rows} == {
        ("dead_letter", queue.options.max_attempts, 1), ("pending", SUSPECT - 1, 19)
    }  # fmt: skip


async def _dies(*_given: Any) -> Any:
    raise SystemError("as if the process had ended here")


async def test_a_fault_in_the_mapping_fails_alone(
    queue: Queue, mapped: Entities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that makes the program itself fail waits with its traceback, and its neighbours are written."""
    await put(queue, product("1"), product("2"))
    entity = mapped["product"]
    plain = entity.shape.map

    def broken(document: dict[str, Any], *more: Any) -> Any:
        if document["item_id"] == "1":
            raise KeyError("unforeseen")
        return plain(document, *more)

    monkeypatch.setattr(entity.shape, "map", broken)
    [synced] = await sync(queue, mapped)
    assert synced.outcomes == {"applied": 1, "retried": 1}
    attempts = await queue.database.fetchval("SELECT attempts::text FROM tds_sync_queue WHERE status = 'failed'")
    assert "unforeseen" in attempts


async def test_drift_is_told_once(queue: Queue, mapped: Entities) -> None:
    """A key that no mapping knows is reported with the first batch that has it."""
    await put(queue, *(product(str(number), brand_new=1) for number in range(15)))
    seen = await sync(queue, mapped)
    assert [one.drift for one in seen if one.drift] == [("brand_new",)]


async def test_poison_is_buried_with_its_reason(queue: Queue, mapped: Entities) -> None:
    """Cut off, too deep, out of range, another record's, with a NUL: each is parked alone, its neighbours are not."""
    poison = {
        "cut": b'{"item_id": "cut", "na',
        "deep": b'{"item_id": "deep", "name": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "great": b'{"item_id": "great", "name": "n", "rate": 1e400000}',
        "nul": b'{"item_id": "nul", "name": "a\\u0000b"}',
        "other": b'{"item_id": "somebody else", "name": "n"}',
        "list": b"[]",
    }
    bad = [Change(entity_type="product", source_entity_id=name, payload=body) for name, body in poison.items()]
    await put(queue, *bad, *(product(str(number)) for number in range(5)))
    await sync(queue, mapped)
    letters = await queue.database.fetch(
        "SELECT source_entity_id, error_code, error_message FROM tds_dead_letter_queue"
    )
    assert {row[0] for row in letters} == set(poison)
    assert {row[1] for row in letters} == {"invalid_record"}
    assert all(row[2] for row in letters)
    assert set(await names(queue)) == {str(number) for number in range(5)}


async def test_versions_of_a_record_land_in_order(queue: Queue, mapped: Entities) -> None:
    """Forty versions that arrive in any order leave the newest, and the audit trail never goes back."""
    for second in [7, 3, 39, 0, 21, 38, 12, 39, 5, 30]:
        stamp = f"2026-11-21T12:00:{second:02d}+0000"
        await put(queue, product("1", kind="webhook", name=f"v{second}", last_modified_time=stamp))
        await sync(queue, mapped)
    assert await names(queue) == {"1": "v39"}
    versions = [line[3]["name"] for line in await audit(queue.database)]
    assert versions == ["v7", "v39"]


async def test_stopping_ends_after_the_batch_in_hand(queue: Queue, mapped: Entities) -> None:
    """When it is to stop, the actor finishes what it holds and claims nothing more."""
    await put(queue, *(product(str(number)) for number in range(40)))
    ctx = Context()

    def stop(_synced: Synced) -> None:
        ctx.stopping.set()

    await entity_sync.function(
        ctx, Inbox.of(), entity=mapped["product"], database=queue.database, queue=queue, observe=stop
    )
    statistics = await queue.statistics()
    assert 10 <= statistics.completed <= 20
    assert (statistics.processing, statistics.total) == (0, 40)


async def test_an_invoice_and_its_lines(queue: Queue, mapped: Entities) -> None:
    """Documents with children take the same way."""
    body = json.dumps(invoice("1", ["a", "b", "c"])).encode()
    await put(queue, Change(entity_type="invoice", source_entity_id="1", payload=body, payload_kind="detail"))
    [synced] = await sync(queue, mapped, "invoice")
    assert (synced.outcomes, synced.rows) == ({"applied": 1}, 4)
