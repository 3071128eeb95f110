"""Full runs against a source that counts its calls: what they say beforehand, and what they leave alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from fixtures.sandbox import Sandbox
from fixtures.works import Works
from msgspec import structs

from tds_runtime import runs
from tds_runtime.database import Database
from tds_runtime.runs import Run

pytestmark = pytest.mark.anyio

BUSY = "SELECT count(*) FROM tds_sync_queue_live WHERE operation = 'upsert' OR status = 'processing'"


@pytest.fixture
def counting(sandbox: Sandbox) -> Iterator[Sandbox]:
    """A source with a small day: 450 calls to Books, of which 90 are kept, and 300 to Inventory."""
    rules: dict[str, Any] = {"per_minute": 100_000, "hard_block_at": 100_000, "concurrency": 100}
    sandbox.control("POST", "/limits", enabled=True, per_day_books=450, per_day_inventory=300, reset=True, **rules)
    yield sandbox
    sandbox.control("POST", "/limits", enabled=False)


def calls(sandbox: Sandbox) -> dict[str, int]:
    """Calls since the last time, tokens left out."""
    found = {call: count for call, count in sandbox.calls().items() if "oauth" not in call}
    sandbox.control("DELETE", "/calls")
    return found


def of(run: Run, name: str) -> Any:
    assert run.plan is not None
    return run.plan[name]


async def test_a_run_takes_what_its_plan_says(database: Database, counting: Sandbox) -> None:
    """The first run of bills plans every detail, the second none, one after ten edits ten; each makes those calls."""
    async with Works(database, counting, names=["bill"]).running() as works:
        for details in (250, 0, 10):
            if details == 10:
                counting.edit("bill", count=10, stamp="next")
            calls(counting)
            done = await works.ran("bill")
            made = calls(counting)
            assert (done.status, of(done, "details"), done.enqueued) == ("completed", details, details)
            counts = 1 if details == 250 else 2  # all, and those that changed
            assert sum(made.values()) == of(done, "calls") + counts
            assert (of(done, "records"), of(done, "pages"), done.expected) == (250, 2, 250)


async def test_a_run_that_would_eat_the_day_is_refused(database: Database, counting: Sandbox) -> None:
    """1,200 invoices do not fit a day of 450: the run ends at once with the reason, and makes one call, the count."""
    async with Works(database, counting, names=["invoice"]).running() as works:
        done = await works.ran("invoice")
        assert (done.status, done.error_code, done.listed) == ("failed", "budget_refused", 0)
        assert "needs about 1206 calls to books, 359 of the day's 450 are left" in (done.error_message or "")
        assert "planned" in await works.events(done.id)
        assert calls(counting) == {"GET /books/v3/invoices": 1}


async def test_whoever_insists_begins(database: Database, counting: Sandbox) -> None:
    """With `insist` the same run lists, fetches down to the reserve, and leaves the rest to the next days."""
    async with Works(database, counting, names=["invoice"]).running() as works:
        done = await works.ran("invoice", insist=True)
        assert (done.status, done.listed, done.alarm) == ("completed", 1200, "")
        assert done.applied + done.deferred == 1200
        with anyio.fail_after(20):
            while await works.column(BUSY) != [0]:  # noqa: ASYNC110 - the database sets no event here
                await anyio.sleep(0.02)
        [fetched] = await works.column("SELECT count(*) FROM invoices")
        [waiting] = await works.column("SELECT count(*) FROM tds_sync_queue_live WHERE operation = 'fetch'")
        assert (340 <= fetched <= 358, fetched + waiting) == (True, 1200)
        assert works.client.caller.budgets["books"].remaining >= 85


async def test_only_a_plan_lists_nothing(database: Database, counting: Sandbox) -> None:
    """With `plan` the run says what it would take, also when it would be refused, and pulls nothing."""
    async with Works(database, counting, names=["invoice", "bill"]).running() as works:
        done = await works.ran("all", plan=True)
        assert (done.status, done.listed) == ("completed", 0)
        assert of(done, "entities")["bill"]["calls"] == 252
        assert of(done, "entities")["invoice"]["refused"]
        assert (of(done, "calls"), of(done, "refused")) == (252 + 1206, "not begun: invoice")
        assert calls(counting) == {"GET /books/v3/invoices": 1, "GET /books/v3/bills": 1}
        assert await works.column("SELECT count(*) FROM bills") == [0]


async def test_everything_begins_with_what_fits(database: Database, counting: Sandbox) -> None:
    """Of a run of everything the parts that fit together run, and the one that does not is named with its reason."""
    names = ["invoice", "bill", "price_list", "user"]
    async with Works(database, counting, names=names).running() as works:
        done = await works.ran("all")
        parts = {part.entity_type: part for part in await runs.children(database, done.id)}
        assert {name for name, part in parts.items() if part.status == "completed"} == set(names) - {"invoice"}
        assert (done.status, parts["invoice"].error_code) == ("failed", "budget_refused")
        assert "invoice: needs about 1206 calls to books" in (done.error_message or "")
        assert counting.control("GET", "/limits")["used_books"] < 360


async def test_a_refusal_leaves_changes_and_webhooks_working(database: Database, counting: Sandbox) -> None:
    """After the first hour, for which 1,200 invoices are too many, an edit costs two calls and the alarm is gone."""
    async with Works(database, counting, names=["invoice"]).running() as works:
        first = await works.ran("invoice", "incremental")
        assert (first.status, first.alarm, first.listed) == ("completed", "over_budget", 0)
        assert "refused" in await works.events(first.id)
        counting.edit("invoice", count=1)
        calls(counting)
        second = await works.ran("invoice", "incremental")
        assert (second.alarm, second.applied) == ("", 1)
        assert sum(calls(counting).values()) == 2


async def test_promised_calls_are_not_promised_twice(database: Database, counting: Sandbox) -> None:
    """Detail calls that wait in the queue count as made: what would fit without them is refused."""
    async with Works(database, counting, names=["invoice", "bill"]).running() as works:
        await works.ran("invoice", insist=True)
        counting.control("POST", "/limits", per_day_books=2000)
        works.client.caller.budgets["books"] = type(works.client.caller.budgets["books"])()
        done = await works.ran("bill", plan=True)
        assert of(done, "apis")["books"]["waiting"] > 0
        assert of(done, "apis")["books"]["left"] < 1600 - 360
        counting.control("POST", "/limits", per_day_books=450)


async def test_scheduled_sweeps_stretch_with_the_day(database: Database, counting: Sandbox) -> None:
    """With a day of 300 calls a scheduled sweep of 14 is not made again at once; one that a person asks for is."""
    async with Works(database, counting, names=["product"]).running() as works:
        await works.ran("product")

        async def scheduled() -> Run:
            async with database.transaction() as connection:
                run_id = await runs.request(connection, "product", "stock", "test", schedule="stock_sync_15min")
            works.wake()
            return await works.ended(run_id)

        assert (await scheduled()).pages == 14
        skipped = await scheduled()
        assert (skipped.status, skipped.pages) == ("completed", 0)
        assert "skipped" in await works.events(skipped.id)
        assert (await works.ran("product", "stock")).pages == 14


async def test_a_sweep_waits_for_the_next_day_when_nothing_is_left(database: Database, counting: Sandbox) -> None:
    """With only the reserve left a scheduled sweep is skipped, with the seconds until the day ends."""
    async with Works(database, counting, names=["product"]).running() as works:
        await works.ran("product")
        await works.ran("product", "stock")
        budget = works.client.caller.budgets["inventory"]
        works.client.caller.budgets["inventory"] = structs.replace(budget, remaining=60)
        async with database.transaction() as connection:
            run_id = await runs.request(connection, "product", "stock", "test", schedule="stock_sync_15min")
        works.wake()
        assert (await works.ended(run_id)).pages == 0
        [line] = [line for line in await runs.lines(database, run_id) if line.event == "skipped"]
        assert (line.detail["left"], line.detail["needed"]) == (0, 14)
        assert 0 <= line.detail["again_in"] <= 86_400
