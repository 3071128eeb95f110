from __future__ import annotations

import asyncio  # noqa: TID251 - its exception handler is what one test has to calm
from datetime import timedelta
from decimal import Decimal
from typing import Any

import anyio
import asyncpg
import msgspec
import pytest
from fixtures.moments import a_moment
from fixtures.sandbox import Sandbox
from fixtures.works import Works

from actors.messages import RunWake
from actors.pull import Options
from actors.pulling import backlog, planning
from actors.zoho.client import Client
from actors.zoho.documents import Shape
from tds_runtime import running, runs
from tds_runtime.config import Duration
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.queue import Queue, Selection

pytestmark = pytest.mark.anyio


def calls(sandbox: Sandbox) -> dict[str, int]:
    """Calls since the last time, tokens left out."""
    found = {call: count for call, count in sandbox.calls().items() if "oauth" not in call}
    sandbox.control("DELETE", "/calls")
    return found


async def test_a_full_run_writes_every_record(database: Database, sandbox: Sandbox) -> None:
    """Every item of the source is a product with the same price, and the counts of the run agree with it."""
    truth = {item["item_id"]: item for item in sandbox.truth("items")}
    async with Works(database, sandbox, names=["product"]).running() as works:
        done = await works.ran("product")
        assert (done.status, done.error_message) == ("completed", None)
        assert done.listed == done.enqueued == done.applied == done.expected == len(truth)
        assert done.pages == -(-len(truth) // 200)
        assert (done.dead, done.deferred, done.candidates, done.alarm) == (0, 0, 0, "")
        rows = await database.fetch("SELECT zoho_item_id, price FROM products")
        assert {row["zoho_item_id"]: row["price"] for row in rows} == {
            one: Decimal(str(item["rate"])) for one, item in truth.items()
        }
        assert await works.events(done.id) == ["started", "planned", "listed", "completed"]


async def test_a_second_full_run_enqueues_nothing(database: Database, sandbox: Sandbox) -> None:
    """What is stored in this very version and content is dropped before the queue."""
    async with Works(database, sandbox, names=["product", "bill"]).running() as works:
        await works.ran("product")
        await works.ran("bill")
        calls(sandbox)
        for name in ("product", "bill"):
            again = await works.ran(name)
            assert (again.enqueued, again.unchanged) == (0, again.listed)
        assert not any("{id}" in call for call in calls(sandbox))


async def test_documents_get_their_detail_call(database: Database, sandbox: Sandbox) -> None:
    """A changed list row of a document costs one detail call, and its lines arrive."""
    truth = sandbox.truth("invoices", view="detail")
    async with Works(database, sandbox, names=["invoice"]).running() as works:
        done = await works.ran("invoice")
        assert (done.applied, done.dead, done.deferred) == (len(truth), 0, 0)
        assert calls(sandbox)["GET /books/v3/invoices/{id}"] == len(truth)
        [lines] = await works.column("SELECT count(*) FROM invoice_lines")
        assert lines == sum(len(invoice["line_items"]) for invoice in truth)
        [edited] = sandbox.edit("invoice", count=1, stamp="next")
        changed = await works.ran("invoice", "incremental")
        assert (changed.enqueued, changed.applied) == (1, 1)
        made = calls(sandbox)
        assert made == {"GET /books/v3/invoices": 1, "GET /books/v3/invoices/{id}": 1}
        assert edited["id"]


@pytest.mark.parametrize("name", ["product", "bill", "customer"])
async def test_nothing_changed_costs_one_call(database: Database, sandbox: Sandbox, name: str) -> None:
    """An incremental run of an entity with a modified filter or sort asks the source once."""
    async with Works(database, sandbox, names=[name]).running() as works:
        await works.ran(name)
        calls(sandbox)
        done = await works.ran(name, "incremental")
        assert (done.status, done.enqueued) == ("completed", 0)
        assert sum(calls(sandbox).values()) == 1


async def test_nothing_changed_costs_one_call_an_entity(database: Database, start_sandbox: Any) -> None:
    """A quiet hour of all thirteen asks each list that has a modified filter or sort once, and nothing else."""
    with start_sandbox("--no-limits", "--scale", "0.1") as sandbox:
        async with Works(database, sandbox).running() as works:
            await _quiet_hour(works, sandbox)


async def _quiet_hour(works: Works, sandbox: Sandbox) -> None:
    await works.ran("all")
    calls(sandbox)
    done = await works.ran("all", "incremental")
    assert (done.status, done.enqueued) == ("completed", 0)
    assert calls(sandbox) == {
        "GET /inventory/v1/items": 1,
        "GET /inventory/v1/salesorders": 1,
        "GET /inventory/v1/creditnotes": 1,
        "GET /books/v3/contacts": 2,  # customers and vendors
        "GET /books/v3/invoices": 1,
        "GET /books/v3/bills": 1,
        "GET /books/v3/vendorpayments": 1,
    }


async def test_an_incremental_run_brings_what_changed(database: Database, sandbox: Sandbox) -> None:
    """Edits and new records since the cursor arrive, in few calls; the cursor moves with them."""
    async with Works(database, sandbox, names=["product"]).running() as works:
        await works.ran("product")
        [before] = await works.column("SELECT modified_at FROM tds_sync_cursors WHERE entity_type = 'product'")
        sandbox.edit("product", random=7, set={"rate": 4321.5}, stamp="next")
        sandbox.create("product", count=3)
        done = await works.ran("product", "incremental")
        assert done.applied == 10
        assert await works.column("SELECT count(*) FROM products WHERE price = 4321.5") == [7]
        [after] = await works.column("SELECT modified_at FROM tds_sync_cursors WHERE entity_type = 'product'")
        assert after >= before


async def test_sources_that_tell_no_changes_are_scanned_now_and_then(database: Database, sandbox: Sandbox) -> None:
    """Users are listed whole by an incremental run, but not again within six hours, unless forced."""
    async with Works(database, sandbox, names=["user"]).running() as works:
        assert (await works.ran("user", "incremental")).listed > 0
        calls(sandbox)
        skipped = await works.ran("user", "incremental")
        assert (skipped.status, calls(sandbox)) == ("completed", {})
        assert "skipped" in await works.events(skipped.id)
        assert (await works.ran("user", "incremental", force=True)).listed > 0


async def test_what_is_gone_is_confirmed_and_deactivated(database: Database, sandbox: Sandbox) -> None:
    """Records absent from a complete listing are asked for one by one, and a 404 of their own deactivates them."""
    async with Works(database, sandbox, names=["product"]).running() as works:
        await works.ran("product")
        gone = [one["id"] for one in sandbox.delete("product", random=4)]
        calls(sandbox)
        done = await works.ran("product")
        assert (done.candidates, done.enqueued, done.alarm) == (4, 4, "")
        assert done.outcomes == {"deleted": 4}
        assert calls(sandbox)["GET /inventory/v1/items/{id}"] == 4
        assert set(await works.column("SELECT zoho_item_id FROM products WHERE NOT is_active")) >= set(gone)
        assert (await works.ran("product")).candidates == 0


async def test_too_many_missing_stop_with_an_alarm(database: Database, sandbox: Sandbox) -> None:
    """A listing that leaves out more than five and one percent deletes nothing and says so."""
    async with Works(database, sandbox, names=["product"]).running() as works:
        await works.ran("product")
        sandbox.delete("product", random=100)
        done = await works.ran("product")
        assert (done.status, done.candidates, done.enqueued, done.alarm) == ("completed", 100, 0, "too_many_missing")
        assert "too_many_missing" in await works.events(done.id)
        assert await works.column("SELECT count(*) FROM tds_record_state WHERE tombstoned_at IS NOT NULL") == [0]


async def test_a_stock_sweep_sees_what_the_stamp_hides(database: Database, sandbox: Sandbox) -> None:
    """Stock that moved without a new stamp arrives by location, in calls of a hundred items."""
    async with Works(database, sandbox, names=["product"]).running() as works:
        await works.ran("product")
        first = await works.ran("product", "stock")
        assert first.pages >= 14
        moved = sandbox.control("POST", "/stock", random=5)["records"]
        calls(sandbox)
        done = await works.ran("product", "stock")
        assert set(calls(sandbox)) == {"GET /inventory/v1/itemdetails"}
        assert done.enqueued == done.applied == len({one["id"] for one in moved})
        for record in moved:
            [stock] = await works.column("SELECT stock_quantity FROM products WHERE zoho_item_id = $1", record["id"])
            assert stock == Decimal(str(record["stock_on_hand"]))


async def test_a_stock_sweep_of_a_few(database: Database, sandbox: Sandbox) -> None:
    """Named items are one call; one that is gone is found by halves, confirmed and deactivated."""
    async with Works(database, sandbox, names=["product"]).running() as works:
        await works.ran("product")
        ids = [item["item_id"] for item in sandbox.truth("items")][:9]
        sandbox.delete("product", ids=[ids[4]])
        done = await works.ran("product", "stock", ids=ids)
        assert (done.listed, done.pages) == (9, 1)
        assert done.outcomes["deleted"] == 1


async def test_a_swept_record_is_mapped_once(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sweep mapped to compare it is what its actor writes."""
    mapped, of_shape = list[Any](), Shape.map

    def counted(self: Shape, *given: Any) -> Any:
        mapped.append(given)
        return of_shape(self, *given)

    async with Works(database, sandbox, names=["product"]).running() as works:
        await works.ran("product")
        monkeypatch.setattr(Shape, "map", counted)
        ids = [item["item_id"] for item in sandbox.truth("items")][:9]
        done = await works.ran("product", "stock", ids=ids)
        assert (done.listed, done.applied, len(mapped)) == (9, 8, 9)  # the ninth has no stock that could have moved


async def test_a_balance_sweep_sees_what_the_stamp_hides(database: Database, sandbox: Sandbox) -> None:
    """Balances that moved without a new stamp escape an incremental run; the sweep finds them on list pages alone."""
    async with Works(database, sandbox, names=["customer", "vendor"]).running() as works:
        await works.ran("all")
        [one, other] = [row["contact_id"] for row in sandbox.truth("customer")][-2:]
        moved = {"outstanding_receivable_amount": 12345.67}
        assert len(sandbox.edit("customer", ids=[one], set=moved, stamp="keep", webhooks=False)) == 1
        sandbox.delete("customer", ids=[other], webhooks=False)
        assert (await works.ran("customer", "incremental")).enqueued == 0
        calls(sandbox)
        done = await works.ran("all", "balance")
        assert (done.status, done.enqueued, done.applied, done.candidates) == ("completed", 1, 1, 0)
        assert calls(sandbox) == {"GET /books/v3/contacts": done.pages}
        assert done.pages == sum(-(-len(sandbox.truth(name)) // 200) for name in ("customer", "vendor"))
        amount = "SELECT outstanding_receivable FROM customers WHERE zoho_contact_id = $1"
        assert await works.column(amount, one) == [Decimal("12345.67")]
        assert await works.column("SELECT is_active FROM customers WHERE zoho_contact_id = $1", other) == [True]


async def test_a_balance_sweep_goes_on_where_it_was(database: Database, sandbox: Sandbox) -> None:
    """A sweep whose process died reads the pages that it still wants, and no page twice."""
    async with Works(database, sandbox, names=["customer"], syncing=False, boot_id="first").running() as works:
        sandbox.plant("hang", path="/contacts", page=3, times=-1)
        run_id = await works.request("customer", "balance")
        await works.until(run_id, lambda run: run.pages == 2)
        await works.runtime.kill("works/pull", "test")
    sandbox.control("DELETE", "/break")
    async with Works(database, sandbox, names=["customer"], boot_id="second").running() as works:
        done = await works.ended(run_id)
    total = len(sandbox.truth("customer"))
    assert (done.status, done.resumed, done.listed, done.applied) == ("completed", True, total, total)
    assert done.pages == -(-total // 200)


async def test_price_lists_always_get_their_details(database: Database, sandbox: Sandbox) -> None:
    """Every price list is asked for with its prices, whatever its stamp says."""
    truth = sandbox.truth("pricebooks")
    async with Works(database, sandbox, names=["price_list"]).running() as works:
        for _ in range(2):
            done = await works.ran("price_list", "price_list")
            assert done.enqueued == done.applied == len(truth)
        assert calls(sandbox)["GET /books/v3/pricebooks/{id}"] == 2 * len(truth)


async def test_everything_is_one_run_per_entity(database: Database, sandbox: Sandbox) -> None:
    """A run of everything becomes a run per entity, and ends with them and their sums."""
    names = ["product", "customer", "vendor", "user", "branch"]
    async with Works(database, sandbox, names=names).running() as works:
        done = await works.ran("all")
        parts = await runs.children(database, done.id)
        assert (done.status, sorted(part.entity_type for part in parts)) == ("completed", sorted(names))
        assert done.applied == sum(part.applied for part in parts) > 3000
        assert {part.status for part in parts} == {"completed"}


async def test_one_failing_entity_fails_alone(database: Database, sandbox: Sandbox) -> None:
    """An entity whose listing stays malformed fails with its reason; the others complete, the whole names it."""
    sandbox.plant("garbage", path="/users", times=-1)
    async with Works(database, sandbox, names=["user", "branch"], tries=2).running() as works:
        done = await works.ran("all")
        assert (done.status, done.error_code) == ("failed", "entities_failed")
        assert "user:" in (done.error_message or "")
        parts = {part.entity_type: part for part in await runs.children(database, done.id)}
        assert parts["branch"].status == "completed"
        assert (parts["user"].status, parts["user"].error_code) == ("failed", "source_answer_invalid")


@pytest.mark.parametrize("kind", ["status", "html", "truncate", "close", "garbage", "empty", "repeat_page"])
async def test_passing_faults_of_the_source_lose_nothing(database: Database, sandbox: Sandbox, kind: str) -> None:
    """Whatever goes wrong on the third page once, the run completes with every record."""
    fault = sandbox.plant(kind, path="/items", page=3, times=1)
    async with Works(database, sandbox, names=["product"]).running() as works:
        done = await works.ran("product")
        assert done.status == "completed"
        assert done.applied == len(sandbox.truth("items"))
    fired = {one["fault"]: one["fired"] for one in sandbox.control("GET", "/break")["faults"]}
    assert fired.get(fault, 1) == 1


async def test_a_skipped_page_is_an_error(database: Database, sandbox: Sandbox) -> None:
    """A source that leaves a page out is found out: the run fails, and nothing is deleted."""
    async with Works(database, sandbox, names=["product"], tries=2).running() as works:
        await works.ran("product")
        sandbox.plant("skip_page", path="/items", page=3, times=-1)
        done = await works.ran("product")
        assert (done.status, done.error_code) == ("failed", "source_answer_invalid")
        assert await works.column("SELECT count(*) FROM tds_record_state WHERE tombstoned_at IS NOT NULL") == [0]


async def test_a_full_minute_is_waited_out(database: Database, sandbox: Sandbox) -> None:
    """Told to wait a second in the middle of a listing, a run waits it and loses nothing."""
    sandbox.plant("status", path="/items", page=3, times=1, status=429, code=44, headers={"Retry-After": "1"})
    async with Works(database, sandbox, names=["product"]).running() as works:
        done = await works.ran("product")
        assert (done.status, done.applied, done.resumed) == ("completed", done.expected, False)
        assert works.client.statistics().calls["inventory"].failures == {"Paused": 1}


async def test_a_revoked_token_parks_the_run(database: Database, sandbox: Sandbox) -> None:
    """With the credentials refused a run waits, burns no attempt, and goes on when they are good again."""
    sandbox.control("POST", "/oauth", revoke="all")
    quick = Options(poll=Duration("0.2s"), patience=Duration("0.1s"))
    async with Works(database, sandbox, names=["branch"], pull_options=quick).running() as works:
        run_id = await works.request("branch")
        found = await works.until(run_id, lambda run: run.available_at is not None)
        assert "put_off" in await works.events(run_id)
        assert (found.attempt_count, found.error_code) == (0, None)
        assert found.available_at is not None
        assert works.client.oauth.statistics().reason == "invalid_code"
        sandbox.control("POST", "/oauth", restore=True)
        works.client.oauth._standing = msgspec.structs.replace(works.client.oauth._standing, parked_until=0.0)
        await database.execute("UPDATE tds_memos SET value = NULL")
        await database.execute("UPDATE tds_sync_runs SET available_at = NULL")
        assert (await works.ended(run_id)).status == "completed"


async def test_a_run_is_resumed_where_it_was(database: Database, sandbox: Sandbox) -> None:
    """A run whose process died goes on at its page, counts no page twice, and tombstones nothing."""
    async with Works(database, sandbox, names=["product"], syncing=False, boot_id="first").running() as works:
        sandbox.plant("hang", path="/items", page=4, times=-1)
        run_id = await works.request("product")
        await works.until(run_id, lambda run: run.pages == 3)
        await works.runtime.kill("works/pull", "test")
    sandbox.control("DELETE", "/break")
    async with Works(database, sandbox, names=["product"], boot_id="second").running() as works:
        done = await works.ended(run_id)
    total = len(sandbox.truth("items"))
    assert (done.status, done.resumed, done.listed, done.applied) == ("completed", True, total, total)
    assert done.pages == -(-total // 200)


async def test_a_cancelled_run_stops(database: Database, sandbox: Sandbox) -> None:
    """After a cancel no further page is written, and the next run of the entity begins."""
    sandbox.plant("latency", path="/items", times=-1, seconds=0.1)
    async with Works(database, sandbox, names=["product"]).running() as works:
        run_id = await works.request("product")
        await works.until(run_id, lambda run: run.pages > 0)
        async with database.transaction() as connection:
            assert await runs.cancel(connection, run_id, "enough") == [run_id]
        sandbox.control("DELETE", "/break")
        assert (await works.ran("product")).status == "completed"
        stopped = await runs.read(database, run_id)
        assert stopped is not None
        assert (stopped.status, stopped.error_message) == ("cancelled", "enough")
        assert stopped.pages < 7


async def test_a_run_that_takes_too_long_fails(database: Database, sandbox: Sandbox) -> None:
    """A listing that does not end within the timeout fails with that word."""
    sandbox.plant("hang", path="/items", times=-1)
    slow = Options(timeout=Duration("0.3s"))
    async with Works(database, sandbox, names=["product"], pull_options=slow).running() as works:
        done = await works.ran("product")
        assert (done.status, done.error_code) == ("failed", "timeout")


async def test_a_listing_waits_for_an_entity_that_does_not_keep_up(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more waiting than may, no further page is written, however long it takes; with room again it goes on."""
    looked, looks = Queue.backlog, list[int]()

    async def look(self: Queue, entity: str, most: int) -> int:
        looks.append(await looked(self, entity, most))
        return looks[-1]

    monkeypatch.setattr(Queue, "backlog", look)
    options = Options(backlog=300, timeout=Duration("30s"))
    works = Works(database, sandbox, names=["product"], pull_options=options, syncing=False)
    async with works.running():
        run_id = await works.request("product")
        with anyio.fail_after(20):
            while looks.count(301) < 5:
                await a_moment()
        assert await works.column("SELECT count(*) FROM tds_sync_queue_live") == [400]
        with anyio.fail_after(20):
            while not (await runs.read(database, run_id)).listed_at:  # type: ignore[union-attr] # it was asked for
                await works.queue.cancel(Selection(entity_type="product"), by="test")
    assert max(looks) == 301


async def test_a_run_of_an_entity_that_stands_still_is_put_off(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits behind the page that was too many, holds no place of those who can go on, and burns no attempt."""
    monkeypatch.setattr(backlog, "STANDSTILL", 0.0)
    works = Works(database, sandbox, names=["product"], pull_options=Options(backlog=300), syncing=False)
    async with works.running():
        found = await works.until(await works.request("product"), lambda run: run.available_at is not None)
        assert (found.status, found.attempt_count, found.listed) == ("pending", 0, 400)
        assert "put_off" in await works.events(found.id)


async def test_wrong_wishes_fail(database: Database, sandbox: Sandbox) -> None:
    """A run of an unknown entity, or of a kind that the entity does not have, says so."""
    async with Works(database, sandbox, names=["user"]).running() as works:
        for entity, kind in (("nothing", "full"), ("user", "stock"), ("user", "balance")):
            done = await works.ran(entity, kind)
            assert (done.status, done.error_code) == ("failed", "unknown_entity")


async def test_pictures_follow_their_items(database: Database, sandbox: Sandbox, tmp_path: Any) -> None:
    """An item's picture is fetched when it changed, and only then."""
    pictured = [item["item_id"] for item in sandbox.truth("items") if item["image_document_id"]]
    async with Works(database, sandbox, names=["product"], directory=tmp_path).running() as works:
        await works.ran("product")
        while await works.column("SELECT count(*) FROM tds_images") != [len(pictured)]:
            await a_moment()
        assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(pictured)
        calls(sandbox)
        await works.ran("product")
        assert not any("image" in call for call in calls(sandbox))


async def test_lost_connections_lose_and_repeat_nothing(
    database: Database, database_dsn: str, sandbox: Sandbox
) -> None:
    """With every connection killed twenty-five times, a run completes and counts each record once."""
    sandbox.plant("latency", path="/items", times=-1, seconds=0.05)
    killer = await asyncpg.connect(database_dsn)
    kills = rounds = 0
    # asyncpg tells the loop about each dead connection that it could not say goodbye to
    asyncio.get_running_loop().set_exception_handler(lambda _loop, _context: None)
    async with Works(database, sandbox, names=["product"]).running() as works:
        run_id = await works.request("product")
        with anyio.fail_after(60):
            while (found := await _read(database, run_id)) is None or not found.ended:
                if rounds < 25:  # without an end a slow machine would never get from one commit to the next
                    rounds += 1
                    kills += await killer.fetchval(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                with anyio.move_on_after(0.1):
                    await works.pull.ref.tell(RunWake())
                    await anyio.sleep_forever()
        total = len(sandbox.truth("items"))
        assert (found.status, found.listed, found.pages) == ("completed", total, -(-total // 200))
        assert await killer.fetchval("SELECT count(*) FROM products") == total
    await killer.close()
    assert kills > 5


async def test_a_count_outlives_the_database(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token lies in the database: a run whose first count meets it gone is planned all the same."""
    count, gone = Client.count, []

    async def refused(self: Client, *given: Any) -> int | None:
        if not gone:
            gone.append(given)
            raise DatabaseGone("no token")
        return await count(self, *given)

    monkeypatch.setattr(Client, "count", refused)
    async with Works(database, sandbox, names=["user"]).running() as works:
        done = await works.ran("user")
    assert (done.status, len(gone)) == ("completed", 1)
    assert done.plan is not None


async def test_a_run_that_meets_no_database_is_never_forgotten(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever an outage comes through, the run waits again, and not for the end of this process."""

    async def gone(_desk: object) -> bool:
        raise DatabaseGone("in the middle of something")

    monkeypatch.setattr(planning, "begin", gone)
    async with Works(database, sandbox, names=["user"]).running() as works:
        run_id = await works.request("user")
        found = await works.until(run_id, lambda run: run.available_at is not None)
    assert (found.status, found.attempt_count) == ("pending", 0)


async def test_a_claim_whose_answer_was_lost_is_taken_again(
    database: Database, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was claimed and never heard of is made at once; it would block its entity for ever."""
    claim, lost = running.claim, []

    async def deaf(*given: Any) -> Any:
        claimed = await claim(*given)
        if claimed and not lost:
            lost.extend(claimed)
            raise DatabaseGone("the answer was lost")
        return claimed

    monkeypatch.setattr(running, "claim", deaf)
    async with Works(database, sandbox, names=["branch"]).running() as works:
        done = await works.ran("branch")
    assert lost
    assert (done.status, done.id) == ("completed", lost[0].id)


async def _read(database: Database, run_id: int) -> runs.Run | None:
    try:
        return await runs.read(database, run_id)
    except DatabaseGone:
        return None


async def test_a_run_says_what_it_cost(database: Database, sandbox: Sandbox) -> None:
    """Calls of the listing, the count and every detail, and the bytes of their answers, are in the run and its log."""
    async with Works(database, sandbox, names=["bill", "user"]).running() as works:
        calls(sandbox)
        done = await works.ran("bill")
        made = calls(sandbox)
        assert made["GET /books/v3/bills/{id}"] == done.applied > 0
        assert done.calls == sum(made.values())
        assert done.bytes > 1000 * done.applied
        with anyio.fail_after(10):  # its last line follows its end
            while (last := (await runs.lines(database, done.id))[-1]).event != "completed":
                await a_moment()
        assert (last.detail["calls"], last.detail["bytes"]) == (done.calls, done.bytes)
        again = await works.ran("bill")
        # where there is a cursor, the plan also asks how many changed since
        assert again.calls == sum(calls(sandbox).values()) == made["GET /books/v3/bills"] + 1


async def test_a_failed_run_says_what_it_cost(database: Database, sandbox: Sandbox) -> None:
    """Calls that were in vain were made all the same."""
    sandbox.plant("skip_page", path="/items", page=3, times=-1)
    async with Works(database, sandbox, names=["product"], tries=2).running() as works:
        calls(sandbox)
        done = await works.ran("product")
        assert done.status == "failed"
        assert done.calls == sum(calls(sandbox).values()) > 1


async def _until(works: Works, expected: object, statement: str, *arguments: object) -> None:
    """Pictures belong to no run: whoever wants to see them looks until they are there."""
    with anyio.fail_after(30):
        while await works.column(statement, *arguments) != [expected]:
            await a_moment()


async def _pictured(works: Works, count: int) -> None:
    await _until(works, count, "SELECT count(*) FROM tds_images")


async def test_a_picture_goes_with_what_it_shows(database: Database, sandbox: Sandbox, tmp_path: Any) -> None:
    """Another document id brings the new picture, none removes it, and an item that is gone leaves none behind."""
    pictured = [item["item_id"] for item in sandbox.truth("items") if item["image_document_id"]]
    changed, cleared, gone = pictured[:3]
    async with Works(database, sandbox, names=["product"], directory=tmp_path).running() as works:
        await works.ran("product")
        await _pictured(works, len(pictured))
        calls(sandbox)
        sandbox.edit("product", ids=[changed], extra={"image_document_id": "another"}, stamp="next")
        sandbox.edit("product", ids=[cleared], set={"image_name": ""}, stamp="next")
        sandbox.delete("product", ids=[gone])
        await works.ran("product")
        await _pictured(works, len(pictured) - 1)
        document = "SELECT document_id FROM tds_images WHERE source_entity_id = $1"
        await _until(works, "another", document, changed)
        assert calls(sandbox)["GET /inventory/v1/items/{id}/image"] == 1
        assert await works.column("SELECT is_active FROM products WHERE zoho_item_id = $1", gone) == [False]
        await works.ran("product")
        await _pictured(works, len(pictured) - 2)
        assert {path.stem for path in tmp_path.iterdir()} == set(pictured) - {cleared, gone}


async def test_what_is_no_picture_is_not_kept(database: Database, sandbox: Sandbox, tmp_path: Any) -> None:
    """A page of HTML fails its own task alone: the item is written, and no file is there."""
    pictured = [item["item_id"] for item in sandbox.truth("items") if item["image_document_id"]]
    sandbox.plant("html", path=f"/items/{pictured[0]}/image", times=-1)
    async with Works(database, sandbox, names=["product"], directory=tmp_path, tries=1).running() as works:
        done = await works.ran("product")
        assert (done.dead, done.deferred, done.applied) == (0, 0, done.listed)
        await _pictured(works, len(pictured) - 1)
        failed = (
            "SELECT source_entity_id FROM tds_sync_queue_live WHERE entity_type = 'product_image' AND status = 'failed'"
        )
        await _until(works, pictured[0], failed)
        assert {path.stem for path in tmp_path.iterdir()} == set(pictured[1:])


@pytest.mark.parametrize("comparator", ["at_or_after", "after"])
async def test_the_overlap_catches_what_shares_a_stamp(database: Database, sandbox: Sandbox, comparator: str) -> None:
    """Edits stamped exactly as the cursor, a minute before it, and alike among themselves arrive, each once."""
    sandbox.switch(modified_comparator=comparator)
    async with Works(database, sandbox, names=["bill"]).running() as works:
        await works.ran("bill")
        [cursor] = await works.column("SELECT modified_at FROM tds_sync_cursors WHERE entity_type = 'bill'")
        ids = [one["bill_id"] for one in sandbox.truth("bills")][:6]
        stamps = [cursor, cursor, *[cursor - timedelta(minutes=1)] * 4]
        for record, stamp in zip(ids, stamps, strict=True):
            said = stamp.strftime("%Y-%m-%dT%H:%M:%S+0000")
            sandbox.edit("bill", ids=[record], set={"reference_number": "again"}, stamp=said)
        done = await works.ran("bill", "incremental")
        [again] = await works.column("SELECT modified_at FROM tds_sync_cursors WHERE entity_type = 'bill'")
        assert again >= cursor
        kept = await works.column("SELECT zoho_bill_id FROM bills WHERE reference_number = 'again'")
        assert set(kept) == set(ids)
        assert done.enqueued == done.applied == len(ids)
        assert (await works.ran("bill", "incremental")).enqueued == 0


async def test_stock_by_location_comes_in_either_form(database: Database, sandbox: Sandbox) -> None:
    """Legacy warehouses say the same as locations: the same content, and a move arrives in the same rows."""
    async with Works(database, sandbox, names=["product"]).running() as works:
        ids = [one["item_id"] for one in sandbox.truth("items")][:50]
        await works.ran("product")
        assert (await works.ran("product", "stock", ids=ids)).applied > 0
        stocked = "SELECT DISTINCT zoho_item_id FROM product_stock ORDER BY 1 LIMIT 1"
        [item] = await works.column(stocked)
        total = "SELECT sum(stock_quantity) FROM product_stock WHERE zoho_item_id = $1"
        [before] = await works.column(total, item)
        sandbox.switch(stock_places="warehouses")
        assert (await works.ran("product", "stock", ids=ids)).enqueued == 0
        sandbox.control("POST", "/stock", moves=[{"id": item, "quantity": 7}])
        assert (await works.ran("product", "stock", ids=ids)).applied == 1
        assert await works.column(total, item) == [before + 7]


async def test_a_record_that_fails_validation_is_alone(database: Database, sandbox: Sandbox) -> None:
    """One price that is no number: that item is a dead letter that names the column, every other item is written."""
    [bad] = sandbox.edit("product", count=1, extra={"rate": "a lot"}, stamp="next")
    total = len(sandbox.truth("items"))
    async with Works(database, sandbox, names=["product"]).running() as works:
        done = await works.ran("product")
        assert (done.status, done.listed, done.dead, done.applied) == ("completed", total, 1, total - 1)
        [reason] = await works.column(
            "SELECT error_message FROM tds_sync_queue WHERE status = 'dead_letter' AND source_entity_id = $1", bad["id"]
        )
        assert reason == "price is text of 5 characters, not a number"
        assert await works.column("SELECT count(*) FROM products") == [total - 1]
