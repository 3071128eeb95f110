"""Validation of the local tables on a real database: orphans, duplicates, integrity, a bounded page at a time."""

from __future__ import annotations

from typing import Any

import pytest
from fixtures.documents import NOON, change, create_tables, invoice, product, put, shipped
from msgspec.structs import replace

from actors.settlement import Settlement
from actors.zoho import validating
from actors.zoho.entities import Entities, Entity
from actors.zoho.validating import Page, Problem
from tds_runtime.database import Database
from tds_runtime.queue import Change, Queue

pytestmark = pytest.mark.anyio


@pytest.fixture
async def tables(database: Database, mapped: Entities, anyio_backend: str) -> Database:
    await create_tables(database, mapped)
    return database


async def every(database: Database, mapped: Entities, kind: Any, *, limit: int = 2, entity: str = "") -> list[Problem]:
    """All problems, page by page."""
    found: list[Problem] = []
    position = ""
    while True:
        page = await validating.look(database, mapped, kind, entity=entity, position=position, limit=limit)
        found += page.items
        if page.next is None:
            return found
        position = page.next


def told(problems: list[Problem]) -> set[tuple[str, str, str, tuple[str, ...]]]:
    """Table, record, part and problems in the order of their words."""
    assert len({(one.table, one.record, one.part) for one in problems}) == len(problems), "each row comes once"
    return {(one.table, one.record, one.part, tuple(sorted(one.problems))) for one in problems}


async def test_what_a_sync_wrote_is_valid(tables: Database, mapped: Entities) -> None:
    """Rows as the mapping writes them have no problem of any kind, in any of the tables."""
    queue = Queue(tables, boot_id="this")
    await put(queue, *(product(str(number), sku=f"S{number}") for number in range(1, 4)))
    await put(queue, change("customer", "77", {"contact_id": "77", "contact_name": "C"}))
    await put(queue, change("invoice", "1", invoice(), kind="detail"))
    for name in ("product", "customer", "invoice"):
        settlement = Settlement(mapped[name], tables, queue)
        await settlement.settle(await settlement.prepare(await queue.claim([name])))
    for kind in validating.KINDS:
        assert await every(tables, mapped, kind) == []


async def test_rows_that_point_nowhere_are_orphans(tables: Database, mapped: Entities) -> None:
    """References to records that are not here, in rows and in child rows, and child rows without their parent."""
    await tables.execute(
        "INSERT INTO invoices (zoho_invoice_id, invoice_number, zoho_customer_id) VALUES ('1', 'a', '7')"
    )
    await tables.execute(
        "INSERT INTO invoices (zoho_invoice_id, invoice_number, zoho_customer_id) VALUES ('2', 'b', '')"
    )
    await tables.execute(
        "INSERT INTO invoice_lines (zoho_invoice_id, zoho_line_item_id, zoho_item_id) VALUES ('1', 'l', '9')"
    )
    await tables.execute("ALTER TABLE payment_lines DROP CONSTRAINT payment_lines_zoho_payment_id_fkey")
    await tables.execute("INSERT INTO payment_lines (zoho_payment_id, zoho_payment_line_id) VALUES ('5', 'x')")
    assert told(await every(tables, mapped, "orphans")) == {
        ("invoices", "1", "", ("zoho_customer_id: customer 7 is not here",)),
        ("invoice_lines", "1", "l", ("zoho_item_id: product 9 is not here",)),
        ("payment_lines", "5", "x", ("zoho_payment_id: has no parent",)),
    }
    await tables.execute("INSERT INTO customers (zoho_contact_id, name) VALUES ('7', 'C')")
    assert {one.table for one in await every(tables, mapped, "orphans", entity="invoice")} == {"invoice_lines"}


async def test_values_of_several_records_are_duplicates(tables: Database, mapped: Entities) -> None:
    """The source's id, sku and name, whatever the case and the spaces; tombstoned rows do not count."""
    await tables.execute(
        "INSERT INTO products (zoho_item_id, name, sku) VALUES "
        "('1', 'One', 'A-1'), ('2', 'Two', 'a-1 '), ('3', 'one', NULL), ('4', 'Four', ''), ('5', 'Five', ''), "
        "('x1', 'Six', 'S'), ('X1', 'Seven', 'T'), ('8', 'gone', 'T8'), ('9', 'Gone', 'T9')"
    )
    await tables.execute(
        "INSERT INTO tds_record_state (entity_type, source_entity_id, tombstoned_at) VALUES ('product', '9', now())"
    )
    found = await every(tables, mapped, "duplicates", limit=1)
    assert {(one.problems, frozenset(one.records)) for one in found} == {
        (("zoho_item_id: 2 records have 'x1'",), frozenset({"x1", "X1"})),
        (("sku: 2 records have 'a-1'",), frozenset({"1", "2"})),
        (("name: 2 records have 'one'",), frozenset({"1", "3"})),
    }


def strict() -> Entities:
    """Products whose mapping demands more than the shipped one."""
    entity = shipped()["product"].mapping
    columns = dict(entity.columns)
    columns["price"] = replace(columns["price"], range=[0, 1000], scale=2)
    columns["sku"] = replace(columns["sku"], max_length=5, transform=["trim", "lower", "empty_to_null"])
    columns["brand"] = replace(columns["brand"], owner="local", max_length=1)
    return Entities([Entity("product", replace(entity, columns=columns))])


async def test_integrity_is_what_the_mapping_demands(tables: Database) -> None:
    """Required, range, scale, length, transforms and numbers that are none; the ERP's own columns are its own."""
    await tables.execute("ALTER TABLE products ALTER name DROP NOT NULL")
    await tables.execute(
        "INSERT INTO products (zoho_item_id, name, sku, price, brand) VALUES "
        "('1', NULL, 'abc', 1, 'long'), ('2', 'b', 'ABC', -1, ''), ('3', 'c', ' a', 1.234, ''), "
        "('4', 'd', 'abcdef', 'NaN', ''), ('5', 'e', '', 1000, ''), ('6', 'f', 'fine', 0.25, '')"
    )
    assert told(await every(tables, strict(), "integrity")) == {
        ("products", "1", "", ("name: is required",)),
        ("products", "2", "", ("price: is not from 0 to 1000", "sku: has capitals")),
        ("products", "3", "", ("price: has more than 2 decimal places", "sku: has spaces around it")),
        ("products", "4", "", ("price: is no number", "price: is not from 0 to 1000", "sku: is longer than 5")),
        ("products", "5", "", ("sku: is empty",)),
    }


async def test_a_table_of_another_shape_is_told_and_does_not_stop_the_look(tables: Database, mapped: Entities) -> None:
    """Columns of another type or not there at all are one problem of the table; the others are still looked at."""
    await tables.execute("ALTER TABLE products ALTER price TYPE text, DROP COLUMN unit")
    await tables.execute("DROP TABLE users CASCADE")
    found = await every(tables, mapped, "integrity")
    assert told(found) == {
        ("products", "", "", ("price: is text, the mapping says numeric", "unit: is not there")),
        ("users", "", "", ("the table is not there",)),
    }
    for kind in ("orphans", "duplicates"):
        assert await every(tables, mapped, kind) == []  # type: ignore[arg-type] # the words of the literal


async def test_a_look_is_bounded_and_goes_on(
    tables: Database, mapped: Entities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So many rows a statement, so many a look: nothing is left out and nothing comes twice, wherever the pages end."""
    monkeypatch.setattr(validating, "ROWS", 7)
    monkeypatch.setattr(validating, "MOST_ROWS", 20)
    await tables.execute(
        "INSERT INTO invoices (zoho_invoice_id, invoice_number, zoho_customer_id) "
        "SELECT n::text, n::text, CASE WHEN n % 3 = 0 THEN 'x' END FROM generate_series(100, 199) AS n"
    )
    await tables.execute(
        "INSERT INTO invoice_lines (zoho_invoice_id, zoho_line_item_id, zoho_item_id) "
        "SELECT '1' || n / 10 % 10 || '0', n::text, CASE WHEN n % 4 = 0 THEN 'y' END FROM generate_series(1, 99) AS n"
    )
    page: Page = await validating.look(tables, mapped, "orphans", entity="invoice")
    assert page.examined <= 27
    assert page.next is not None
    found = await every(tables, mapped, "orphans", entity="invoice", limit=3)
    assert [one.table for one in found].count("invoices") == 33
    assert [one.table for one in found].count("invoice_lines") == 24
    told(found)


async def test_rows_of_deleted_records_are_nobodys_problem(tables: Database, mapped: Entities) -> None:
    """What the source deleted is not looked at: it is here for the ERP's history only."""
    queue = Queue(tables, boot_id="this")
    await put(
        queue, product("1"), Change(entity_type="product", source_entity_id="2", operation="delete", observed_at=NOON)
    )
    await tables.execute("INSERT INTO products (zoho_item_id, name) VALUES ('2', 'x'), ('3', 'X')")
    settlement = Settlement(mapped["product"], tables, queue)
    await settlement.settle(await settlement.prepare(await queue.claim(["product"])))
    assert await every(tables, mapped, "duplicates") == []


@pytest.mark.parametrize("position", ["x", "bm90aGluZw==", "WzcwMDAsbnVsbF0=", "Wy0xLG51bGxd"])
async def test_a_position_of_nobody_is_refused(tables: Database, mapped: Entities, position: str) -> None:
    """Only what an earlier look gave is gone on from."""
    with pytest.raises(validating.WrongPosition):
        await validating.look(tables, mapped, "orphans", position=position)
