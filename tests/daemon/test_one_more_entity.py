"""A fourteenth entity is one file, and webhooks are one verb: both end to end, with a real daemon and sandbox."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fixtures.daemon import SECRET, DaemonProcess, source, until
from fixtures.mappings import with_one_more
from fixtures.sandbox import Sandbox

pytestmark = pytest.mark.anyio

Daemons = Callable[..., DaemonProcess]


async def fetch(dsn: str, statement: str, *arguments: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30)
    try:
        return await connection.fetch(statement, *arguments)
    finally:
        await connection.close(timeout=10)


def order(number: str, **more: Any) -> dict[str, Any]:
    lines = [{"line_item_id": f"{number}1", "item_id": "7", "quantity": 2, "rate": 10.05}]
    return {
        "purchaseorder_number": number,
        "date": "2026-01-02",
        "status": "open",
        "total": 20.1,
        "line_items": lines,
    } | more


async def test_one_file_is_one_entity(daemons: Daemons, database_dsn: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """With nothing but the file it is pulled, told by webhook, deleted, checked, shown by verbs and API, reconciled."""
    often = '[schedule.daily_statistics]\nevery = "5s"'
    daemon = daemons(database_dsn, source=source(sandbox), more=often)
    text = daemon.configuration.read_text()
    [line] = [one for one in text.splitlines() if one.startswith("directory = ")]
    daemon.configuration.write_text(text.replace(line, f'directory = "{with_one_more(tmp_path)}"'))
    for number in ("PO-1", "PO-2"):
        assert sandbox.call("POST", "/books/v3/purchaseorders", json=order(number)).status_code == 201
    await daemon.start()

    status, shown = await daemon.run("sync", "purchase_order", "--full", "--json")
    run = json.loads(shown)
    assert (status, run["listed"], run["applied"], run["calls"]) == (0, 2, 2, 3)
    rows = await fetch(database_dsn, "SELECT * FROM purchase_orders ORDER BY number")
    assert [(row["number"], str(row["total"]), row["is_open"]) for row in rows] == [
        ("PO-1", "20.1", True),
        ("PO-2", "20.1", True),
    ]
    [[lines]] = await fetch(database_dsn, "SELECT count(*) FROM purchase_order_lines WHERE rate = 10.05")
    assert lines == 2

    first = rows[0]["zoho_purchaseorder_id"]
    told = order("PO-1", purchaseorder_id=first, total=99, last_modified_time="2036-01-02T10:00:00+0300")
    assert (await daemon.webhook("purchase-orders", {"purchaseorder": told})).status_code == 200
    await until(lambda: _is(database_dsn, "SELECT total FROM purchase_orders WHERE number = 'PO-1'", 99))
    second = rows[1]["zoho_purchaseorder_id"]
    assert sandbox.call("DELETE", f"/books/v3/purchaseorders/{second}").status_code == 200
    gone = {"purchaseorder": {"purchaseorder_id": second}}
    assert (await daemon.webhook("purchase-orders/delete", gone)).status_code == 200
    await until(lambda: _is(database_dsn, "SELECT count(*) FROM purchase_orders", 1))
    assert await _is(database_dsn, "SELECT count(*) FROM purchase_order_lines", 1)

    assert (await daemon.run("entity", "check", "purchase_order"))[0] == 0
    listed = json.loads((await daemon.run("entity", "list", "--json"))[1])["entities"]
    assert [one["tables"] for one in listed if one["entity"] == "purchase_order"] == [
        ["purchase_orders", "purchase_order_lines"]
    ]
    explained = json.loads((await daemon.run("entity", "explain", "purchase_order", "--json"))[1])
    assert explained["wrong"] == []
    assert [one["key"] for one in explained["drift"]] == ["balance", "created_time", "sub_total"]
    token = json.loads((await daemon.run("token", "create", "--name", "test", "--role", "operator", "--json"))[1])[
        "token"
    ]
    headers = {"Authorization": f"Bearer {token}"}
    asked = await daemon.http.post("/api/zoho/bulk-sync/purchase-orders", headers=headers)
    assert (asked.status_code, asked.json()["entity_type"]) == (202, "purchase_order")
    runs = await daemon.http.get("/api/bff/tds/runs", params={"entity_type": "purchase_order"}, headers=headers)
    assert [one["kind"] for one in runs.json()["items"]] == ["full", "full"]
    compared = "SELECT bool_or((source_count, local_count) = (1, 1)) FROM tds_reconciliations WHERE entity_type = $1"
    await until(lambda: _is(database_dsn, compared, True, "purchase_order"))
    await daemon.stop()


async def _is(dsn: str, statement: str, expected: object, *arguments: object) -> bool:
    found = await fetch(dsn, statement, *arguments)
    return bool(found) and found[0][0] == expected


async def test_webhooks_are_set_up_and_arrive(daemons: Daemons, database_dsn: str, sandbox: Sandbox) -> None:
    """Installed by the verb, an edit, a deletion and one of a shared module arrive signed and are applied."""
    daemon = daemons(database_dsn, source=source(sandbox))
    await daemon.start()
    for entity in ("product", "vendor"):
        assert (await daemon.run("sync", entity, "--full"))[0] == 0
    where = ("--url", daemon.address)
    assert (await daemon.run("zoho", "webhooks", "verify", *where))[0] == 1
    assert (await daemon.run("zoho", "webhooks", "install", *where))[0] == 0
    assert (await daemon.run("zoho", "webhooks", "verify", *where))[0] == 0

    [edited] = sandbox.edit("product", count=1, set={"rate": 4321.5}, stamp="next", webhooks=True)
    price = f"SELECT price = 4321.5 FROM products WHERE zoho_item_id = '{edited['id']}'"
    await until(lambda: _is(database_dsn, price, True))
    [gone] = sandbox.delete("product", random=1, webhooks=True)
    active = f"SELECT is_active FROM products WHERE zoho_item_id = '{gone['id']}'"
    await until(lambda: _is(database_dsn, active, False))
    [left] = sandbox.delete("vendor", random=1, webhooks=True)
    await until(
        lambda: _is(database_dsn, f"SELECT is_active FROM vendors WHERE zoho_contact_id = '{left['id']}'", False)
    )
    sent = sandbox.http.get("/sandbox/webhooks/deliveries").json()["deliveries"]
    assert {one["status"] for one in sent} == {200}
    assert not [line for line in daemon.lines() if SECRET in str(line)]
