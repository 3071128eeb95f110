from __future__ import annotations

import time
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest
from fixtures.moments import a_moment
from fixtures.sandbox import Sandbox
from fixtures.works import Works
from msgspec import structs
from structlog.testing import capture_logs

from actors.fetcher import Options
from actors.zoho.answers import Answer
from actors.zoho.tokens import Standing
from tds_runtime import breaker
from tds_runtime.config import Duration
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.queue import SYNC, Queue
from tds_runtime.task import DOUBTED, REFERRED, Change

pytestmark = pytest.mark.anyio


async def put(works: Works, entity: str, *ids: str, **more: Any) -> None:
    """Enqueue fetches, as a webhook's refetch or a repair does."""
    changes = [Change(entity_type=entity, source_entity_id=one, operation="fetch", **more) for one in ids]
    async with works.database.transaction() as connection:
        await works.queue.enqueue(connection, changes)
    works.due([(entity, "fetch")])


async def settled(works: Works, count: int, *statuses: str, within: float = 20) -> list[Any]:
    """The tasks, once `count` of them have one of these statuses."""
    statement = """
        SELECT source_entity_id, status, outcome, error_code, attempt_count, operation, reason FROM tds_sync_queue
         WHERE status = ANY($1) ORDER BY source_entity_id"""
    with anyio.fail_after(within):
        while len(rows := await works.database.fetch(statement, list(statuses))) < count:
            await a_moment()
    return rows


async def test_a_fetch_becomes_the_record(database: Database, sandbox: Sandbox) -> None:
    """A fetch asks for the detail and hands it on; its attempt is not spent."""
    truth = sandbox.truth("invoices", view="detail")[:20]
    async with Works(database, sandbox, names=["invoice"]).running() as works:
        await put(works, "invoice", *(one["invoice_id"] for one in truth))
        rows = await settled(works, 20, "completed")
        assert {row["outcome"] for row in rows} == {"applied"}
        found = await works.column("SELECT zoho_invoice_id FROM invoices ORDER BY 1")
        assert found == sorted(one["invoice_id"] for one in truth)


async def test_gone_and_known_is_a_delete(database: Database, sandbox: Sandbox) -> None:
    """A record that is stored and that the source no longer has is deleted."""
    gone = sandbox.truth("invoices", view="detail")[0]["invoice_id"]
    async with Works(database, sandbox, names=["invoice"]).running() as works:
        await put(works, "invoice", gone)
        await settled(works, 1, "completed")
        sandbox.delete("invoice", ids=[gone])
        await put(works, "invoice", gone)
        rows = await settled(works, 2, "completed")
        assert {row["outcome"] for row in rows} == {"applied", "deleted"}
        assert await works.column("SELECT 1 FROM invoices WHERE zoho_invoice_id = $1", gone) == []


async def test_gone_and_unknown_is_a_dead_letter(database: Database, sandbox: Sandbox) -> None:
    """A record that nobody knows ends in the dead letters with its reason, at once."""
    async with Works(database, sandbox, names=["invoice"]).running() as works:
        await put(works, "invoice", "999")
        [row] = await settled(works, 1, "dead_letter")
        assert (row["error_code"], row["attempt_count"]) == ("source_record_missing", 1)


@pytest.mark.parametrize("reason", [DOUBTED, f"invoice 1 {REFERRED}"])
async def test_gone_and_never_claimed_is_remembered_as_gone(database: Database, sandbox: Sandbox, reason: str) -> None:
    """Where nobody said that the record exists, a 404 is an answer: no dead letter, but a tombstone to remember it."""
    async with Works(database, sandbox, names=["customer"]).running() as works:
        await put(works, "customer", "999", reason=reason)
        [row] = await settled(works, 1, "completed", "dead_letter")
        assert (row["status"], row["outcome"]) == ("completed", "deleted")
        assert await works.column("SELECT tombstoned_at IS NOT NULL FROM tds_record_state") == [True]
        assert await works.column("SELECT 1 FROM customers") == []


async def test_a_variant_nobody_named_is_found(database: Database, sandbox: Sandbox) -> None:
    """A payment without its variant is asked for at both endpoints."""
    [vendor] = sandbox.truth("vendorpayments")[:1]
    async with Works(database, sandbox, names=["payment"]).running() as works:
        await put(works, "payment", vendor["payment_id"])
        await settled(works, 1, "completed")
        assert await works.column("SELECT variant FROM tds_record_state") == ["vendor"]


async def test_a_record_that_always_fails_is_buried_alone(database: Database, sandbox: Sandbox) -> None:
    """A detail that cannot be read spends its attempts; its neighbours are applied."""
    ids = [one["invoice_id"] for one in sandbox.truth("invoices")][:10]
    sandbox.plant("garbage", path=ids[3], times=-1)
    async with Works(database, sandbox, names=["invoice"], tries=1).running() as works:
        await put(works, "invoice", *ids)
        assert len(await settled(works, 9, "completed")) == 9
        [row] = await settled(works, 1, "failed", "dead_letter")
        assert (row["source_entity_id"], row["error_code"]) == (ids[3], "source_answer_invalid")


async def test_an_outage_spends_no_attempts(database: Database, sandbox: Sandbox) -> None:
    """While the breaker is open nothing is claimed; after the outage everything is applied."""
    ids = [one["invoice_id"] for one in sandbox.truth("invoices")][:40]
    sandbox.plant("status", path="/invoices", status=503, times=-1)
    options = breaker.Options(failures=2, cool_down=Duration("0.5s"))
    async with Works(database, sandbox, names=["invoice"], tries=3, breaker=options, concurrency=1).running() as works:
        await put(works, "invoice", *ids)
        with anyio.fail_after(20):
            while works.client.breakers["books"].statistics().opened < 3:
                await a_moment()
        sandbox.control("DELETE", "/break")
        await settled(works, 40, "completed")
        assert await works.column("SELECT count(*) FROM tds_sync_queue_live") == [0]


async def test_ten_minutes_without_the_source(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock 200 times as fast: one probe a cool-down, no task lost, no attempt spent by it, then all in order."""
    began = time.time()

    def clock() -> float:
        return began + (time.time() - began) * 200

    monkeypatch.setattr("actors.fetcher.time", SimpleNamespace(time=clock))
    ids = [one["invoice_id"] for one in sandbox.truth("invoices")][:40]
    sandbox.plant("status", path="/invoices", status=503, times=-1)
    quick = Options(poll=Duration("0.05s"))
    works = Works(database, sandbox, names=["invoice"], tries=1, concurrency=1, clock=clock, fetching_options=quick)
    asked: list[tuple[float, str]] = []
    exchange = works.client.transport.exchange

    async def watched(method: str, url: str, **more: Any) -> Answer:
        asked.extend([(clock(), url.partition("?")[0])] if "/invoices/" in url else [])
        return await exchange(method, url, **more)

    monkeypatch.setattr(works.client.transport, "exchange", watched)
    async with works.running():
        await put(works, "invoice", *ids)
        with anyio.fail_after(30):
            while not asked or clock() < asked[0][0] + 600:
                await a_moment()
        waiting = await works.column("SELECT count(*) FROM tds_sync_queue_live WHERE operation = 'fetch'")
        down = [moment for moment, _ in asked]
        await works.database.execute("UPDATE tds_sync_queue_live SET available_at = now()")  # as ten minutes would
        await works.queue.promote_due()
        asked.clear()
        sandbox.control("DELETE", "/break")
        await settled(works, 40, "completed")
        assert waiting == [40]
        failed = await works.column("SELECT source_entity_id FROM tds_sync_queue WHERE attempt_count > 1")
        assert await works.column("SELECT max(attempt_count) FROM tds_sync_queue") == [2]
    failures = breaker.Options().failures
    assert len(failed) < failures  # before it opened; these come back with a delay of their own
    assert failures < len(down) <= failures + 10
    assert all(later - earlier >= 60 for earlier, later in pairwise(down[failures - 1 :]))
    assert [url.rpartition("/")[2] for _, url in asked] == ids


async def test_a_missing_scope_puts_only_its_own_off(database: Database, sandbox: Sandbox) -> None:
    """Records whose call is refused wait with the reason; others go on, and tokens are not refreshed in a loop."""
    bills = [one["bill_id"] for one in sandbox.truth("bills")][:5]
    invoices = [one["invoice_id"] for one in sandbox.truth("invoices")][:5]
    sandbox.control("POST", "/oauth", scope="ZohoBooks.invoices.READ")
    async with Works(database, sandbox, names=["invoice", "bill"]).running() as works:
        await put(works, "bill", *bills)
        await put(works, "invoice", *invoices)
        assert len(await settled(works, 5, "completed")) == 5
        rows = await works.database.fetch(
            "SELECT attempt_count, reason FROM tds_sync_queue_live WHERE available_at > now()"
        )
        with anyio.fail_after(10):
            while len(rows) < 5:
                rows = await works.database.fetch(
                    "SELECT attempt_count, reason FROM tds_sync_queue_live WHERE available_at > now()"
                )
        assert {row["attempt_count"] for row in rows} == {0}
        assert "scope" in rows[0]["reason"]
        assert works.client.statistics().token.refreshed <= 3


async def test_a_spent_budget_leaves_tasks_waiting(database: Database, sandbox: Sandbox) -> None:
    """With the day's calls used up nothing holds a lease; the next day's budget finishes the work."""
    ids = [one["invoice_id"] for one in sandbox.truth("invoices")][:10]
    sandbox.control(
        "POST", "/limits", enabled=True, per_minute=1000, per_day_books=4, per_day_inventory=1000, reset=True
    )
    try:
        async with Works(database, sandbox, names=["invoice"], concurrency=1).running() as works:
            await put(works, "invoice", *ids)
            await settled(works, 4, "completed")
            with anyio.fail_after(10):
                while works.client.closed_until("books") is None:
                    await a_moment()
            rows = await settled(works, 6, "pending")
            assert {row["attempt_count"] for row in rows} == {0}
            sandbox.control("POST", "/limits", enabled=False)
            works.client.caller.budgets["books"] = msgspec.structs.replace(
                works.client.caller.budgets["books"], resets_at=1.0
            )
            works.due([("invoice", "fetch")])
            await settled(works, 10, "completed")
    finally:
        sandbox.control("POST", "/limits", enabled=False)


async def test_permits_come_before_claims(database: Database, sandbox: Sandbox) -> None:
    """With five calls a minute five fetches are made, and the others wait in the queue without a lease."""
    ids = [one["invoice_id"] for one in sandbox.truth("invoices")][:12]
    async with Works(database, sandbox, names=["invoice"], calls_per_minute=5).running() as works:
        await put(works, "invoice", *ids)
        await settled(works, 5, "completed")
        rows = await settled(works, 7, "pending")
        assert {row["attempt_count"] for row in rows} == {0}
        assert works.client.statistics().calls["books"].calls == 5


async def test_nothing_is_fetched_for_an_entity_that_does_not_keep_up(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more documents waiting than may no call is made, and no lease is held; with room again all are fetched."""
    looked, looks = Queue.backlog, list[int]()

    async def look(self: Queue, entity: str, most: int) -> int:
        looks.append(await looked(self, entity, most))
        return looks[-1]

    monkeypatch.setattr(Queue, "backlog", look)
    ids = [one["invoice_id"] for one in sandbox.truth("invoices")][:100]
    few = Options(batch=10, backlog=20)
    works = Works(database, sandbox, names=["invoice"], syncing=False, fetching_options=few)
    async with works.running():
        await put(works, "invoice", *ids)
        with anyio.fail_after(20):
            while looks.count(21) < 5:
                await a_moment()
        made = works.client.statistics().calls["books"].calls
        # one claim in hand, one answered, one being settled, and what the askers have and have ready
        assert 20 < made <= 20 + 3 * few.batch + 2 * works.client.options.concurrency
        held = await works.column("SELECT count(*) FROM tds_sync_queue_live WHERE status = 'processing'")
        assert held == [0]
        with anyio.fail_after(20):
            while await works.column("SELECT 1 FROM tds_sync_queue_live WHERE operation = 'fetch' LIMIT 1"):
                await works.database.execute("DELETE FROM tds_sync_queue_live WHERE operation = 'upsert'")
        assert works.client.statistics().calls["books"].calls == len(ids)


async def test_what_is_in_hand_goes_back_on_stop(database: Database, sandbox: Sandbox) -> None:
    """Stopped in the middle of calls that hang, tasks go back untouched."""
    ids = [one["invoice_id"] for one in sandbox.truth("invoices")][:8]
    sandbox.plant("hang", path="/invoices", times=-1)
    async with Works(database, sandbox, names=["invoice"], concurrency=3).running() as works:
        await put(works, "invoice", *ids)
        await settled(works, 3, "processing")
    rows = await database.fetch("SELECT status, attempt_count FROM tds_sync_queue_live")
    assert {(row["status"], row["attempt_count"]) for row in rows} == {("pending", 0)}
    assert len(rows) == 8


async def test_a_claim_whose_answer_was_lost_is_taken_again(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fetches that were claimed and never heard of are made at once, not when somebody finds them stuck."""
    claim, lost = Queue.claim, []

    async def deaf(self: Queue, names: Any, operations: Any = SYNC, limit: int | None = None, **more: Any) -> Any:
        tasks = await claim(self, names, operations, limit, **more)
        if tuple(operations) == ("fetch",) and tasks and not lost:
            lost.extend(tasks)
            raise DatabaseGone("the answer was lost")
        return tasks

    monkeypatch.setattr(Queue, "claim", deaf)
    ids = [one["invoice_id"] for one in sandbox.truth("invoices")][:5]
    async with Works(database, sandbox, names=["invoice"]).running() as works:
        await put(works, "invoice", *ids)
        await settled(works, 5, "completed")
    assert lost


async def test_a_revoked_token_parks_the_queue(database: Database, sandbox: Sandbox) -> None:
    """With the credentials refused fetches wait without attempts or leases, one alarm is logged; later they go on."""
    ids = [one["invoice_id"] for one in sandbox.truth("invoices")][:6]
    sandbox.control("POST", "/oauth", revoke="all")
    with capture_logs() as lines:
        async with Works(database, sandbox, names=["invoice"]).running() as works:
            await put(works, "invoice", *ids)
            with anyio.fail_after(10):
                while works.client.closed_until("books") is None:
                    await a_moment()
            rows = await settled(works, 6, "pending")
            assert {row["attempt_count"] for row in rows} == {0}
            assert works.client.statistics().calls["oauth"].calls == 1
            sandbox.control("POST", "/oauth", restore=True)
            works.client.oauth._standing = Standing()
            await database.execute("UPDATE tds_memos SET value = NULL")
            works.due([("invoice", "fetch")])
            rows = await settled(works, 6, "completed")
    assert [line["log_level"] for line in lines if line["event"] == "token.refused"] == ["error"]


async def test_the_reserve_is_left_to_changes(database: Database, sandbox: Sandbox) -> None:
    """With a twentieth of the day's calls left a webhook's record is fetched, and a full run's waits unspent."""
    before, first, second = [one["invoice_id"] for one in sandbox.truth("invoices")][:3]
    async with Works(database, sandbox, names=["invoice"]).running() as works:
        await put(works, "invoice", before)
        await settled(works, 1, "completed")
        budgets = works.client.caller.budgets  # of the same day as what the next answers tell, or theirs counts
        budgets["books"] = structs.replace(budgets["books"], remaining=budgets["books"].limit // 20)
        await put(works, "invoice", first, priority=30)
        await put(works, "invoice", second, priority=10)
        rows = await settled(works, 2, "completed")
        assert {row["source_entity_id"] for row in rows} == {before, second}
        [row] = await settled(works, 1, "pending")
        assert (row["source_entity_id"], row["attempt_count"]) == (first, 0)
