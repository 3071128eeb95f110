"""Comparing the source with the local rows, and building rows again from the audit trail."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from fixtures.documents import NOON, change, create_tables, invoice, item, product, put

from actors.settlement import Settlement
from actors.zoho import matching, rebuilding
from actors.zoho.entities import Entities
from actors.zoho.matching import Comparison, Difference
from tds_runtime.database import Database
from tds_runtime.queue import Change, Queue

pytestmark = pytest.mark.anyio


@pytest.fixture
async def queue(database: Database, mapped: Entities) -> Queue:
    await create_tables(database, mapped)
    return Queue(database, boot_id="this")


async def settle(queue: Queue, mapped: Entities, *changes: Change) -> None:
    await put(queue, *changes)
    for name in {one.entity_type for one in changes}:
        settlement = Settlement(mapped[name], queue.database, queue)
        while tasks := await queue.claim([name]):
            await settlement.settle(await settlement.prepare(tasks))


def documents(mapped: Entities, *rows: dict[str, Any]) -> list[Any]:
    return [mapped["product"].map(json.dumps(row).encode(), "list") for row in rows]


async def test_both_sides_are_compared_by_id(queue: Queue, mapped: Entities) -> None:
    """Matched, different field by field, missing and extra are told; a tombstoned row is on neither side."""
    product_entity = mapped["product"]
    await settle(queue, mapped, *(product(str(number)) for number in range(1, 6)))
    gone = Change(entity_type="product", source_entity_id="5", operation="delete", observed_at=NOON)
    await settle(queue, mapped, gone)
    comparison = Comparison(product_entity)
    page = documents(mapped, item("1"), item("2", rate=99, stock_on_hand=1), item("9"), item("1"))
    async with queue.database.connection() as connection:
        comparison.add(page, await matching.read(connection, product_entity, [one.id for one in page]))
        async for rows in matching.pages(connection, product_entity, size=2):
            comparison.add_local(rows)
        totals = await matching.totals(connection, product_entity)
    report = comparison.report()
    assert (report.matched, report.missing, report.extra) == (1, ("9",), ("3", "4"))
    assert report.different == {
        "2": (
            Difference("price", Decimal(99), Decimal("12.5")),
            Difference("stock_quantity", Decimal(1), Decimal(4)),
        )
    }
    assert report.percentage == 20.0
    assert (report.source.count, report.local.count, totals.count) == (3, 4, 4)
    assert report.local.sums == totals.sums == {"price": Decimal(50), "stock_quantity": Decimal(16)}
    assert report.source.checksum != report.local.checksum


async def test_sides_that_agree_have_one_checksum(queue: Queue, mapped: Entities) -> None:
    """What was synced matches completely, in any order."""
    await settle(queue, mapped, product("1"), product("2", sku="S", cf_colour="red"))
    comparison = Comparison(mapped["product"])
    page = documents(mapped, item("2", sku="S", cf_colour="red"), item("1"))
    async with queue.database.connection() as connection:
        comparison.add(page, await matching.read(connection, mapped["product"], ["1", "2"]))
    report = comparison.report()
    assert (report.matched, report.percentage) == (2, 100.0)
    assert report.source == report.local
    assert Comparison(mapped["product"]).report().percentage == 100.0


async def test_lines_are_compared_with_details(queue: Queue, mapped: Entities) -> None:
    """A detail's lines are compared by their keys when the local ones were asked for."""
    entity = mapped["invoice"]
    await settle(queue, mapped, change("invoice", "1", invoice("1", ["a", "b"]), kind="detail"))
    theirs = invoice("1", ["b", "c"])
    theirs["line_items"][0]["quantity"] = 7
    document = entity.map(json.dumps(theirs).encode(), "detail")
    async with queue.database.connection() as connection:
        row = (await matching.read(connection, entity, ["1"], children=True))["1"]
    found = {one.column: (one.source, one.local) for one in matching.differences(entity, document, row)}
    assert found == {
        "invoice_lines[a]": (None, "present"),
        "invoice_lines[b].position": (1, 2),
        "invoice_lines[b].quantity": (Decimal(7), Decimal(2)),
        "invoice_lines[c]": ("present", None),
    }


async def test_the_audit_trail_rebuilds_every_row(queue: Queue, mapped: Entities) -> None:
    """Folding the trail over emptied tables gives every row and line again, and none that was deleted."""
    await settle(queue, mapped, *(product(str(number), custom_field_hash={"cf_a": 1.5}) for number in range(30)))
    lines = [change("invoice", str(number), invoice(str(number), ["a", "b"]), kind="detail") for number in range(20)]
    await settle(queue, mapped, *lines)
    stamp = "2026-11-21T13:00:00+0000"
    await settle(
        queue, mapped, *(product(str(n), rate=n, description=None, last_modified_time=stamp) for n in range(9))
    )
    changed = change("invoice", "3", invoice("3", ["b", "c"], last_modified_time=stamp, notes="n"), kind="detail")
    gone = Change(
        entity_type="invoice", source_entity_id="4", operation="delete", observed_at=NOON + timedelta(seconds=1)
    )
    off = Change(entity_type="product", source_entity_id="5", operation="delete", observed_at=NOON + timedelta(days=1))
    await settle(queue, mapped, changed, gone, off)
    queries = {
        "products": "SELECT to_jsonb(t) - 'id' - 'updated_at' FROM products AS t ORDER BY zoho_item_id",
        "invoices": "SELECT to_jsonb(t) - 'id' - 'updated_at' FROM invoices AS t ORDER BY zoho_invoice_id",
        "lines": "SELECT to_jsonb(t) - 'id' FROM invoice_lines AS t ORDER BY zoho_invoice_id, zoho_line_item_id",
    }
    before = {name: await queue.database.fetch(query) for name, query in queries.items()}
    await queue.database.execute("TRUNCATE products, invoices CASCADE")
    async with queue.database.transaction() as connection:
        rows = await rebuilding.rebuild(connection, mapped["product"], page=7)
        rows += await rebuilding.rebuild(connection, mapped["invoice"])
    assert rows == 30 + 19 + 38
    assert {name: await queue.database.fetch(query) for name, query in queries.items()} == before
