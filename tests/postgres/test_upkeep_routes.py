"""Breakers, stock and runs over HTTP: what operators do at night."""

from __future__ import annotations

import pytest
from fixtures.site import VIEWER, Site

from tds_runtime.breaker import State
from tds_runtime.upstreams import Shared

pytestmark = pytest.mark.anyio

BREAKERS = "/api/bff/tds/circuit-breakers"
STOCK = "/api/bff/tds/sync/stock"


async def test_a_breaker_is_seen_and_closed(site: Site) -> None:
    """Each upstream with its state and what its day allows; a reset is noted and reaches the shared row."""
    shared = Shared(site.services.database)
    await shared.ensure(["books", "oauth"])
    await shared.save_breaker("books", State(phase="open", failures=5, opened_at=1_800_000_000.0, reason="timeouts"))
    found = (await site.get(BREAKERS, token=VIEWER)).json()
    assert (found["count"], found["open"]) == (2, 1)
    books = found["circuit_breakers"][0]
    assert (books["name"], books["state"], books["failures"], books["reason"]) == ("books", "open", 5, "timeouts")
    assert books["opened_at"] == "2027-01-15T08:00:00Z"
    reset = await site.post(f"{BREAKERS}/books/reset", json={"reason": "it is back"})
    assert reset.json() == {"name": "books", "state": "closed"}
    assert (await shared.read())["books"].breaker.phase == "closed"
    assert (await site.post(f"{BREAKERS}/nobody/reset")).status_code == 404
    assert [(row["action"], row["reason"]) for row in await site.audit()] == [("breaker.reset", "it is back")]


async def test_a_source_that_is_down_degrades_health_and_nothing_else(site: Site) -> None:
    """With its breaker open deliveries are taken all the same; health says which source; a channel is no source."""
    shared = Shared(site.services.database)
    await shared.ensure(["books", "channel:ops"])
    await shared.save_breaker("channel:ops", State(phase="open", failures=5, opened_at=1_800_000_000.0, reason="gone"))
    assert (await site.get("/health", token=VIEWER)).json()["status"] == "healthy"
    await shared.save_breaker("books", State(phase="open", failures=5, opened_at=1_800_000_000.0, reason="timeouts"))
    site = Site(site.services, site.tree, site.writer, site.woken)  # a report is kept for a second
    found = (await site.get("/health", token=VIEWER)).json()
    assert (found["status"], found["metrics"]["sources_down"]) == ("degraded", ["books"])
    assert (await site.get("/health")).status_code == 200
    assert (await site.get("/readyz")).json()["status"] == "ready"


async def test_stock_is_pulled_whole_or_for_a_few_items(site: Site) -> None:
    """All of it is a run; a few items are tasks of their own, each once; the figures of the day follow."""
    database = site.services.database
    assert (await site.get(f"{STOCK}/stats", token=VIEWER)).json()["last_run"] is None
    asked = await site.post(STOCK, json={"reason": "count"})
    assert (asked.status_code, asked.json()["kind"], asked.json()["entity_type"]) == (202, "stock", "product")
    few = await site.post(f"{STOCK}/specific", json={"item_ids": ["11", "12", "11"], "reason": "complaint"})
    assert (few.status_code, few.json()) == (202, {"enqueued": 3, "coalesced": 1})
    rows = await database.fetch("SELECT source_entity_id, operation FROM tds_sync_queue_live ORDER BY 1")
    assert [tuple(row) for row in rows] == [("11", "fetch"), ("12", "fetch")]
    await database.execute("UPDATE tds_sync_runs SET status = 'completed', listed = 200, applied = 199, dead = 1")
    day = (await site.get(f"{STOCK}/stats", token=VIEWER)).json()
    assert (day["runs_24h"], day["completed_24h"], day["items_24h"], day["success_rate"]) == (1, 1, 200, 99.5)
    assert day["last_run"]["run_id"] == asked.json()["run_id"]
    assert [row["action"] for row in await site.audit()] == ["run.request", "stock.request"]


@pytest.mark.parametrize("ids", [[], ["x"], ["1'"], [1], ["1"] * 201])
async def test_items_are_named_by_their_ids(site: Site, ids: list[object]) -> None:
    """What is no id, none or too many is refused."""
    assert (await site.post(f"{STOCK}/specific", json={"item_ids": ids})).status_code == 422


async def test_a_run_is_cancelled_once(site: Site) -> None:
    """It ends with who and why; a second time there is nothing to end."""
    run_id = (await site.post("/api/zoho/bulk-sync/products")).json()["run_id"]
    path = f"/api/bff/tds/runs/{run_id}/cancel"
    cancelled = (await site.post(path, json={"reason": "too late"})).json()
    assert (cancelled["status"], cancelled["error"]) == ("cancelled", "boss: too late")
    assert (await site.post(path)).status_code == 409
    assert (await site.post("/api/bff/tds/runs/999/cancel")).status_code == 404
    assert [row["action"] for row in await site.audit()] == ["run.request", "run.cancel"]


async def test_routes_say_what_they_brought(site: Site) -> None:
    """Every entity that is delivered, with its paths; nothing came yet."""
    found = (await site.get("/api/bff/tds/zoho/webhooks", token=VIEWER)).json()
    paths = {path for one in found["webhooks"] for path in one["paths"]}
    assert "/api/tds/webhooks/products" in paths
    assert found["count"] == len(found["webhooks"])
    assert {one["last_24h"] for one in found["webhooks"]} == {None}
    health = (await site.get("/api/bff/tds/zoho/webhooks/health", token=VIEWER)).json()
    assert (health["status"], health["received_24h"]) == ("healthy", 0)
