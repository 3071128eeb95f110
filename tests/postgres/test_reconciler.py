"""Comparisons of a real database with a real sandbox, after edits behind the daemon's back, and their repair."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest
from fixtures.comparing import QUICK, Comparing
from fixtures.sandbox import Sandbox, running_sandbox
from fixtures.shipped import SHIPPED
from msgspec.structs import replace

from actors import reports, schedules
from actors.bell import Bell
from actors.reconciling.judging import STAMP
from actors.zoho.client import Client
from actors.zoho.entities import Entities, Entity
from tds_runtime.config import Duration
from tds_runtime.database import Database
from tds_runtime.limiter import Budget
from tds_runtime.nodes import Node
from tds_runtime.queue import Change, Queue

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def shared_sandbox() -> Iterator[Any]:
    """A smaller world: what is compared are kinds of edits, not numbers of records."""
    with running_sandbox("--no-limits", "--scale", "0.05") as sandbox:
        yield sandbox


@pytest.fixture
def small(shared_sandbox: Sandbox) -> Sandbox:
    shared_sandbox.reset()
    return shared_sandbox


@pytest.fixture
async def products(database: Database, small: Sandbox, anyio_backend: str) -> AsyncIterator[Comparing]:
    """Products alone, in step with the source."""
    async with Comparing(database, small, names=["product"], page_size=10, tries=1).running() as works:
        await works.synced()
        yield works


async def some(works: Comparing, table: str, column: str, count: int = 1, offset: int = 0) -> list[str]:
    return await works.column(f"SELECT {column} FROM {table} ORDER BY {column} LIMIT {count} OFFSET {offset}")


# --- everything at once


async def edit_behind_the_back(works: Comparing) -> dict[tuple[str, str], tuple[str, set[str]]]:
    """Edits that nobody told of, at least one of each entity: by record what must be found, kind and columns."""
    database, source = works.database, works.sandbox
    expected: dict[tuple[str, str], tuple[str, set[str]]] = {}
    local_edits = {
        "product": ("products", "zoho_item_id", "name"), "customer": ("customers", "zoho_contact_id", "company_name"),
        "vendor": ("vendors", "zoho_contact_id", "name"), "bill": ("bills", "zoho_bill_id", "bill_number"),
        "credit_note": ("credit_notes", "zoho_creditnote_id", "creditnote_number"),
        "price_list": ("price_lists", "zoho_pricebook_id", "name"), "user": ("users", "zoho_user_id", "name"),
        "branch": ("branches", "zoho_location_id", "name"),
        "invoice": ("invoices", "zoho_invoice_id", "invoice_number"),
        "sales_order": ("sales_orders", "zoho_salesorder_id", "reference_number"),
        "sales_return": ("sales_returns", "zoho_salesreturn_id", "reason"),
        "stock_adjustment": ("stock_adjustments", "zoho_adjustment_id", "reason"),
    }  # fmt: skip
    for entity, (table, key, column) in local_edits.items():
        [record] = await some(works, table, key)
        await database.execute(f"UPDATE {table} SET {column} = 'by hand' WHERE {key} = $1", record)
        expected[entity, record] = ("different", {column})
    for entity, table, key in (("product", "products", "zoho_item_id"), ("invoice", "invoices", "zoho_invoice_id")):
        [gone] = await some(works, table, key, offset=1)
        await database.execute(f"DELETE FROM {table} WHERE {key} = $1", gone)
        expected[entity, gone] = ("missing", set())
    [payment] = await works.column("SELECT zoho_payment_id FROM payments WHERE kind = 'customer' LIMIT 1")
    await database.execute("UPDATE payments SET kind = 'vendor' WHERE zoho_payment_id = $1", payment)
    await database.execute("UPDATE tds_record_state SET variant = 'vendor' WHERE source_entity_id = $1", payment)
    expected["payment", payment] = ("different", {"kind"})
    await database.execute("INSERT INTO products (zoho_item_id, name) VALUES ('999', 'nobody''s')")
    await database.execute("INSERT INTO branches (zoho_location_id, name) VALUES ('998', 'nobody''s')")
    expected |= {("product", "999"): ("extra", set()), ("branch", "998"): ("extra", set())}
    [order] = source.edit("sales_order", ids=await some(works, "sales_orders", "zoho_salesorder_id", offset=2))
    expected["sales_order", order["id"]] = ("different", {STAMP})
    [deleted] = source.delete("user", ids=await some(works, "users", "zoho_user_id", offset=3))
    expected["user", deleted["id"]] = ("extra", set())
    [made] = source.create("customer", count=1)
    expected["customer", made["id"]] = ("missing", set())
    return expected


async def test_all_thirteen_entities_are_compared_and_repaired(database: Database, small: Sandbox) -> None:
    """In step checksums are equal; each edit nobody told of is found with its columns; repair brings 100 %."""
    async with Comparing(database, small).running() as works:
        await works.synced()
        first = await works.compared(options=replace(QUICK, details=0))
        results = await works.results(first)
        assert (first.status, first.match_percentage, len(results)) == ("completed", 100.0, 13)
        assert all(one.source_checksum == one.local_checksum != "" for one in results.values())
        assert all(bytes(one.source_sums) == bytes(one.local_sums) for one in results.values())
        expected = await edit_behind_the_back(works)
        found = await works.compared(repair=True)
        findings = await works.findings(found)
        assert {key: one.kind for key, one in findings.items()} == {key: kind for key, (kind, _) in expected.items()}
        for key, (_, columns) in expected.items():
            assert columns <= set(reports.differences(findings[key])), key
        assert found.match_percentage is not None
        assert found.match_percentage < 100
        repairs = {key: one.repair for key, one in findings.items()}
        assert repairs["branch", "998"] == "delete"
        assert repairs["product", "999"] == "fetch"
        assert all(repairs.values())
        await works.drained()
        again = await works.compared()
        assert (await works.findings(again), again.match_percentage) == ({}, 100.0)
        assert await works.column("SELECT count(*) FROM tds_sync_queue WHERE status = 'dead_letter'") == [0]


# --- what counts and what does not


async def test_the_erps_own_columns_do_not_count(database: Database, small: Sandbox) -> None:
    """An edit of a column with `owner = "local"` is no difference and survives a repair."""
    shipped = SHIPPED["product"].mapping
    own = replace(shipped.columns["description"], owner="local")
    entity = Entity("product", replace(shipped, columns={**shipped.columns, "description": own}))
    works = Comparing(database, small, mappings=Entities([entity]))
    async with works.running():
        await works.synced()
        await database.execute("UPDATE products SET description = 'ours'")
        await database.execute(
            "UPDATE products SET brand = 'x' WHERE zoho_item_id = (SELECT min(zoho_item_id) FROM products)"
        )
        found = await works.compared("product", repair=True)
        [finding] = (await works.findings(found)).values()
        assert set(reports.differences(finding)) == {"brand"}
        await works.drained()
        assert (await works.compared("product")).match_percentage == 100.0
        assert await works.column("SELECT DISTINCT description FROM products") == ["ours"]


@pytest.mark.parametrize(
    ("edit", "column"),
    [
        ("UPDATE invoices SET notes = 'by hand' WHERE zoho_invoice_id = $1", "notes"),
        ("DELETE FROM invoice_lines WHERE zoho_invoice_id = $1", "invoice_lines["),
        ("UPDATE invoice_lines SET quantity = quantity + 1 WHERE zoho_invoice_id = $1", "].quantity"),
    ],
)
@pytest.mark.parametrize("details", [50, 0])
async def test_edits_of_what_no_listing_shows_are_found(
    database: Database, small: Sandbox, edit: str, column: str, details: int
) -> None:
    """Columns of details and lines are held against what was written last; a detail call says how they differ."""
    async with Comparing(database, small, names=["invoice"]).running() as works:
        await works.synced()
        [record] = await some(works, "invoices", "zoho_invoice_id")
        await database.execute(edit, record)
        found = await works.compared(repair=True, options=replace(QUICK, details=details))
        [finding] = (await works.findings(found)).values()
        assert (finding.source_entity_id, finding.kind, finding.repair) == (record, "different", "fetch")
        told = set(reports.differences(finding))
        assert any(column in one for one in told) if details else told <= {"detail", "invoice_lines"}
        await works.drained()
        assert (await works.compared()).match_percentage == 100.0


async def test_hashes_of_an_older_release_prove_nothing(database: Database, small: Sandbox) -> None:
    """Lines whose hash was taken in their document's order are not called altered."""
    async with Comparing(database, small, names=["invoice"]).running() as works:
        await works.synced()
        await database.execute(
            "UPDATE tds_record_state SET facets = facets || jsonb_build_object('invoice_lines', repeat('0', 32))"
        )
        assert (await works.compared(options=replace(QUICK, details=0))).match_percentage == 100.0


async def test_what_is_under_way_is_in_flight_and_not_wrong(products: Comparing) -> None:
    """A record with a waiting task is told apart, is on neither side of checksums, and is not repaired."""
    [record] = await some(products, "products", "zoho_item_id")
    products.sandbox.edit("product", ids=[record], set={"rate": 77.5})
    async with products.database.transaction() as connection:
        await products.queue.enqueue(
            connection, [Change(entity_type="product", source_entity_id=record, operation="fetch")]
        )
        await connection.execute(
            "UPDATE tds_sync_queue SET available_at = now() + interval '1h', status = 'failed' WHERE status = 'pending'"
        )
    found = await products.compared(repair=True)
    result = (await products.results(found))["product"]
    assert (result.in_flight, result.different, result.match_percentage, result.repairs) == (1, 0, 100.0, 0)
    assert result.source_checksum == result.local_checksum
    [finding] = (await products.findings(found)).values()
    assert (finding.kind, finding.repair) == ("in_flight", "")


async def test_what_arrives_during_the_comparison_matches(products: Comparing) -> None:
    """What differed in its page and is right at the second look is no difference."""
    [record] = await some(products, "products", "zoho_item_id")
    products.sandbox.edit("product", ids=[record], set={"rate": 77.5})
    asked = await products.ask()
    async with products.reconciling(replace(QUICK, settle=Duration("30s"))):
        await until(products, asked, "seen > 0")
        assert (await products.ran("product", "incremental")).applied == 1
    async with products.reconciling():
        assert (await products.report(asked)).match_percentage == 100.0


async def until(works: Comparing, report_id: int, condition: str) -> None:
    statement = f"SELECT EXISTS (SELECT FROM tds_reconciliation_reports WHERE id = $1 AND {condition})"
    with anyio.fail_after(30):
        while not await works.database.fetchval(statement, report_id):  # noqa: ASYNC110 - another task of the same process
            await anyio.sleep(0.02)


async def test_findings_are_bounded_and_counts_are_whole(products: Comparing) -> None:
    """Of many differences the first are kept, all are counted and repaired, in portions."""
    await products.database.execute("UPDATE products SET name = name || '!'")
    [total] = await products.column("SELECT count(*) FROM products")
    found = await products.compared(repair=True, options=replace(QUICK, findings=5, doubts=10))
    result = (await products.results(found))["product"]
    assert (result.different, result.repairs, result.match_percentage) == (total, total, 0.0)
    assert len(await products.findings(found)) == 5
    await products.drained()
    assert (await products.compared()).match_percentage == 100.0


async def test_very_many_extra_records_are_refused(products: Comparing) -> None:
    """More than five, or one in a hundred, that the source does not list are an alarm, and none is touched."""
    extra = "INSERT INTO products (zoho_item_id, name) SELECT n::text, 'x' FROM generate_series(900, $1) AS n"
    await products.database.execute(extra, 905)
    found = await products.compared(repair=True)
    result = (await products.results(found))["product"]
    assert (result.extra, result.repairs, result.alarm) == (6, 0, "too_many_extra")
    assert await alerts(products) == [("match_rate", "product", 1, True)]
    await products.database.execute("DELETE FROM products WHERE zoho_item_id = '905'")
    found = await products.compared(repair=True)
    result = (await products.results(found))["product"]
    assert (result.extra, result.repairs, result.alarm) == (5, 5, "")
    await products.drained()
    assert result.match_percentage < 95
    assert (await products.compared()).match_percentage == 100.0
    assert await products.column("SELECT is_active FROM products WHERE zoho_item_id LIKE '90_'") == [False] * 5


async def test_a_row_that_cannot_be_mapped_differs(products: Comparing) -> None:
    """The source's own nonsense is a difference that names the column and not the value."""
    [record] = await some(products, "products", "zoho_item_id")
    products.sandbox.edit("product", ids=[record], extra={"rate": "secret"})
    [finding] = (await products.findings(await products.compared())).values()
    told = reports.differences(finding)
    assert "price" in told
    assert "secret" not in str(told)


# --- counts


async def test_counts_alone_cost_a_call_a_source(database: Database, small: Sandbox) -> None:
    """Every entity's counts of both sides in one call a source; nothing is listed but what cannot be counted."""
    async with Comparing(database, small).running() as works:
        await works.synced()
        small.control("DELETE", "/calls")
        await database.execute("DELETE FROM users WHERE zoho_user_id = (SELECT min(zoho_user_id) FROM users)")
        found = await works.compared(depth="counts")
        results = await works.results(found)
        assert {one.depth for one in results.values()} == {"counts"}
        assert (results["user"].source_count, results["user"].local_count) == (25, 24)
        assert results["user"].match_percentage == 96.0
        assert {name for name, one in results.items() if one.match_percentage < 100} == {"user"}
        calls = sum(count for call, count in small.calls().items() if "oauth" not in call)
        assert calls == sum(len(entity.sources) for entity in SHIPPED)


class Scarce:
    """The client on a day whose calls are nearly used up."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def statistics(self) -> Any:
        budget = Budget(limit=1000, remaining=203, resets_at=4e9, observed_at=1e9)
        return SimpleNamespace(budgets={"inventory": budget})


async def test_without_calls_for_a_sweep_only_counts_are_compared(products: Comparing) -> None:
    """When the day leaves too little to bulk work, the report says that it only counted, and why."""
    asked = await products.ask()
    async with products.reconciling(client=Scarce(products.client)):
        found = await products.report(asked)
    result = (await products.results(found))["product"]
    assert (found.status, result.depth, result.match_percentage) == ("completed", "counts", 100.0)
    assert "only counts: a sweep of product takes 7 calls to inventory, the day leaves 3 to bulk work" in result.note


# --- alerts


async def alerts(works: Comparing) -> list[tuple[Any, ...]]:
    rows = await works.database.fetch("SELECT alert_type, cause, occurrences, resolved_at IS NULL FROM tds_alerts")
    return [tuple(row) for row in rows]


async def test_a_low_match_alerts_once_and_resolves_itself(products: Comparing) -> None:
    """Below the threshold one alert opens and is renewed; a later match above it resolves it."""
    await products.database.execute("UPDATE products SET brand = 'x'")
    await products.compared()
    await products.compared()
    await products.compared(depth="counts")  # counts that agree do not say that the records do
    assert await alerts(products) == [("match_rate", "product", 2, True)]
    await products.compared(repair=True)
    await products.drained()
    await products.compared()
    assert await alerts(products) == [("match_rate", "product", 3, False)]


async def test_an_alert_of_counts_is_resolved_by_counts(products: Comparing) -> None:
    """Where only numbers were compared, numbers that agree again are the end of it."""
    await products.database.execute("DELETE FROM products WHERE price > 0")
    await products.compared(depth="counts")
    assert await alerts(products) == [("match_rate", "product", 1, True)]
    await products.database.execute("UPDATE tds_record_state SET facets = '{}', current_facets = '{}'")
    await products.ran("product")
    await products.compared(depth="counts")
    assert await alerts(products) == [("match_rate", "product", 1, False)]


# --- reports


async def test_an_outage_in_the_middle_is_waited_out(products: Comparing) -> None:
    """A source that fails for a while delays a report and changes nothing in it."""
    products.sandbox.plant("status", status=503, times=2, after=3, path="/items")
    found = await products.compared()
    assert (found.status, found.match_percentage) == ("completed", 100.0)
    [planted] = products.sandbox.control("GET", "/break")["faults"]
    assert planted["fired"] == 2


async def test_an_entity_that_fails_does_not_stop_the_others(database: Database, small: Sandbox) -> None:
    """The others are compared and stored; the report ends as failed and names the one."""
    async with Comparing(database, small, names=["user", "branch"]).running() as works:
        await works.synced()
        small.plant("status", status=400, code=110817, times=-1, path="/locations")
        found = await works.compared()
        assert (found.status, set(await works.results(found))) == ("failed", {"user"})
        assert "branch: source_rejected" in (found.error_message or "")


async def test_the_same_wish_is_one_report(products: Comparing) -> None:
    """Who asks for what waits already joins it; another depth, or a repair, is a report of its own."""
    one, same = await products.ask(), await products.ask()
    counts, repair = await products.ask(depth="counts"), await products.ask(repair=True)
    assert one == same
    assert len({one, counts, repair}) == 3
    found = await reports.read(products.database, one)
    assert found is not None
    assert found.requests == 2


async def test_a_stop_in_the_middle_gives_the_report_back(products: Comparing) -> None:
    """It waits for the next one with its attempt refunded, nothing of the unfinished entity stored, then ends well."""
    asked = await products.ask()
    await products.database.execute("UPDATE products SET brand = 'x' WHERE price > 0")
    async with products.reconciling(replace(QUICK, settle=Duration("60s"))):
        await until(products, asked, "seen > 0")
    row = await products.database.fetchrow("SELECT status, attempt_count FROM tds_reconciliation_reports")
    assert row is not None
    assert tuple(row) == ("pending", 0)
    assert await products.column("SELECT count(*) FROM tds_reconciliations") == [0]
    assert await products.column("SELECT count(*) FROM tds_reconciliation_findings") == [0]
    async with products.reconciling():
        assert (await products.report(asked)).status == "completed"


async def test_a_report_can_be_cancelled(products: Comparing) -> None:
    """Cancelling ends it at once for everybody, and within a second or two for who has it in hand."""
    asked = await products.ask()
    await products.database.execute("UPDATE products SET brand = 'x' WHERE price > 0")
    async with products.reconciling(replace(QUICK, settle=Duration("1h"))):
        await until(products, asked, "seen > 0")
        assert await reports.cancel(products.database, asked, "tester: enough")
        assert not await reports.cancel(products.database, asked, "tester: again")
        following = await products.ask(depth="counts")
        assert (await products.report(following, within=20)).status == "completed"
    found = await reports.read(products.database, asked)
    assert found is not None
    assert (found.status, found.error_message) == ("cancelled", "tester: enough")
    assert await products.column("SELECT count(*) FROM tds_reconciliations WHERE depth = 'records'") == [0]


async def test_a_report_of_a_dead_node_is_taken_over(products: Comparing) -> None:
    """What a dead owner had in hand is carried out by another; entities that were stored are not compared again."""
    asked = await products.ask()
    dead = "UPDATE tds_reconciliation_reports SET status = 'running', locked_by = 'dead', attempt_count = 1"
    await products.database.execute(dead)
    async with products.reconciling():
        found = await products.report(asked)
    assert (found.status, found.attempt_count) == ("completed", 2)


async def test_a_report_that_ends_its_owners_fails(products: Comparing) -> None:
    """After three lost owners it is at fault itself; one of a living node is left alone."""
    asked, other = await products.ask(), await products.ask(depth="counts")
    await Node(products.database, boot_id="other").renew()
    statement = (
        "UPDATE tds_reconciliation_reports SET status = 'running', locked_by = $2, attempt_count = 3 WHERE id = $1"
    )
    await products.database.execute(statement, asked, "dead")
    await products.database.execute(statement, other, "other")
    async with products.reconciling():
        found = await products.report(asked)
    assert (found.status, found.error_code) == ("failed", "owner_lost")
    held = await reports.read(products.database, other)
    assert held is not None
    assert held.status == "running"


async def test_the_schedule_asks_for_a_report(database: Database) -> None:
    """A slot has a report of its own, with what its `args` say; the node's poll tells that it waits."""
    actions = schedules.actions(Bell(["product"]))
    slot = await database.fetchval("SELECT now()")
    async with database.transaction() as connection:
        for args in ({}, {"depth": "counts", "entity": "product"}):
            assert await actions["compare"].start(connection, schedule="daily", slot=slot, args=args) is None
    found = [(one.entity_type, one.depth, one.schedule, one.slot) for one in await reports.recent(database)]
    assert found == [("product", "counts", "daily", slot), ("all", "records", "daily", slot)]
    assert ("all", "report") in await Queue(database, boot_id="x").tick()


async def test_repair_is_in_the_audit_trail(products: Comparing) -> None:
    """Who asked and why stands beside the changes, and each change names its report."""
    [record] = await some(products, "products", "zoho_item_id")
    await products.database.execute("UPDATE products SET brand = 'x' WHERE zoho_item_id = $1", record)
    found = await products.compared(repair=True)
    await products.drained()
    rows = await products.database.fetch(
        "SELECT action, actor, reason, after::text FROM tds_audit_trail WHERE action <> 'insert' ORDER BY id"
    )
    noted, changed = (tuple(row) for row in rows)
    assert noted[:3] == ("reconciliation.repair", "tester", "a test")
    assert msgspec.json.decode(noted[3]) == {"report_id": found.id, "tasks": 1, "records": [record]}
    assert changed[:3] == ("update", "tds-runtime", f"reconciliation {found.id}")
