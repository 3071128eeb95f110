"""A full sync whose daemon is killed goes on from its last committed page."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from daemon.test_one_more_entity import fetch
from fixtures.daemon import DaemonProcess, source, until
from fixtures.sandbox import Sandbox

pytestmark = pytest.mark.anyio

LISTING = "GET /inventory/v1/items"
PAGES = 7


async def test_a_killed_full_sync_goes_on_where_it_was(
    daemons: Callable[..., DaemonProcess], database_dsn: str, sandbox: Sandbox
) -> None:
    """SIGKILL after three pages: four more calls end it, nothing is missing, doubled, or deleted, and it says so."""
    truth = {one["item_id"] for one in sandbox.truth("items")}
    daemon = daemons(database_dsn, source=source(sandbox), more='[queue]\nlease = "3s"\n[pull]\npoll = "1s"')
    await daemon.start()
    sandbox.plant("hang", path="/items", page=4, times=-1)
    status, shown = await daemon.run("sync", "product", "--full", "--no-wait", "--json")
    run_id = json.loads(shown)["id"]
    assert status == 0
    await until(lambda: _run(database_dsn, run_id, "status = 'running' AND pages = 3"))
    await daemon.kill()
    assert sandbox.calls()[LISTING] == 1 + 3 + 1  # the count that it is planned by, three pages, and the one that hangs
    sandbox.control("DELETE", "/break")
    sandbox.control("DELETE", "/calls")
    await daemon.start()
    await until(lambda: _run(database_dsn, run_id, "status = 'completed'"), within=60)
    assert sandbox.calls()[LISTING] == PAGES - 3  # its plan is kept like its place
    assert not any("{id}" in call for call in sandbox.calls())
    assert await _run(database_dsn, run_id, f"resumed AND pages = {PAGES} AND listed = {len(truth)} AND dead = 0")
    stored = {row[0] for row in await fetch(database_dsn, "SELECT zoho_item_id FROM products WHERE is_active")}
    assert stored >= truth - {one["item_id"] for one in sandbox.truth("items") if one["status"] != "active"}
    assert {row[0] for row in await fetch(database_dsn, "SELECT zoho_item_id FROM products")} == truth
    effects = await fetch(database_dsn, "SELECT count(*) FROM tds_audit_trail GROUP BY source_entity_id")
    assert {row[0] for row in effects} == {1}
    logged = "SELECT event FROM tds_sync_logs WHERE run_id = $1 ORDER BY id"  # a schedule may have begun others
    said = [row[0] for row in await fetch(database_dsn, logged, run_id)]
    assert said == ["started", "planned", "resumed", "nothing_deleted", "listed", "completed"]


async def _run(dsn: str, run_id: int, condition: str) -> bool:
    [[found]] = await fetch(dsn, f"SELECT {condition} FROM tds_sync_runs WHERE id = $1", run_id)
    return bool(found)
