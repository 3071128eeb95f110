"""The pages that answer with figures: each has exactly its keys, and its figures are those of the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, get_type_hints

import msgspec
import pytest
from fixtures.site import VIEWER, Site, bury, enqueue

from actors.api import application
from actors.metrics_reporter import Reporter
from actors.service_levels import levels
from tds_runtime.errors import DatabaseGone

pytestmark = pytest.mark.anyio

QUEUE = {"pending", "processing", "completed", "failed", "dead_letter", "total"}
METRICS = {
    "success_rate", "active_alerts", "completed_24h", "dead_lettered_24h", "webhooks_received_24h",
    "oldest_waiting_seconds", "sources_down",
}  # fmt: skip
THRESHOLDS = {"queue_warning", "queue_critical", "dlq_warning", "dlq_critical"}
LEVEL = {"name", "title", "formula", "window", "unit", "value", "target", "sense", "met", "sample", "note"}
ENTITY = {
    "entity_type", "pending", "processing", "failed", "dead_letter", "completed_24h", "oldest_waiting_seconds",
    "paused", "source_count", "local_count", "match_percentage", "compared_at",
}  # fmt: skip
RUNS = {"total", "by_status", "by_kind", "listed", "applied", "dead", "calls"}
PERCENTILES = {"p50", "p95", "p99", "tasks"}
DELIVERIES = {"received", "unnamed", "last_received_at"}
BFF = "/api/bff/tds"
GOLDEN: dict[str, set[str]] = {
    f"{BFF}/dashboard": {
        "status", "timestamp", "queue", "metrics", "runs_24h", "webhooks_received_24h", "service_levels_missed",
    },
    f"{BFF}/dashboard/complete": {
        "status", "timestamp", "queue", "metrics", "thresholds", "entities", "runs_24h", "webhooks_received_24h",
        "resources", "components", "service_levels",
    },
    f"{BFF}/health": {"status", "timestamp", "queue", "metrics", "thresholds"},
    f"{BFF}/health/complete": {
        "status", "timestamp", "queue", "metrics", "thresholds", "components", "service_levels_missed",
    },
    f"{BFF}/stats/combined": {
        "timestamp", "overall_match_percentage", "source_total", "local_total", "entities", "queue", "metrics",
        "runs_24h", "webhooks",
    },
    f"{BFF}/stats/slo": {"timestamp", "met", "missed", "levels", "days"},
    f"{BFF}/stats/trends": {"timestamp", "window", "step", "points", "error_patterns"},
    f"{BFF}/entities": {"entities", "count", "timestamp"},
    "/api/tds/monitoring/components": {"status", "timestamp", "components"},
    "/api/tds/monitoring/performance": {
        "timestamp", "window", "latency", "processing", "events_per_hour", "tasks_per_hour", "success_rate",
        "error_rate", "retry_rate",
    },
    "/api/tds/webhooks/stats": {
        "status", "timestamp", "received_24h", "last_received_at", "waiting", "entities", "hours", "outcomes",
        "latency",
    },
}  # fmt: skip
NESTED = {
    "queue": QUEUE, "metrics": METRICS, "thresholds": THRESHOLDS, "runs_24h": RUNS, "latency": PERCENTILES,
    "processing": PERCENTILES,
}  # fmt: skip
DELIVERY = """
INSERT INTO tds_inbox_events (source, entity_type, source_entity_id, operation, variant, content_type, query,
                              correlation_id, idempotency_key, body)
VALUES ('zoho', 'invoice', '7', 'upsert', '', '', '', '', '', '')
"""
COMPARED = """
INSERT INTO tds_reconciliations (entity_type, source_count, local_count, match_percentage)
VALUES ('product', 300, 300, 100), ('invoice', 100, 90, 90)
"""
RUN = "INSERT INTO tds_sync_runs (entity_type, kind, status, listed, calls) VALUES ('product', $1, $2, 200, 3)"


class Away:
    """A database that answers nothing."""

    async def fetch(self, *_: Any, **__: Any) -> Any:
        raise DatabaseGone

    fetchrow = fetchval = fetch

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        raise DatabaseGone
        yield


async def seen(site: Site, path: str) -> Any:
    response = await site.get(path, token=VIEWER)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize("path", GOLDEN)
async def test_a_page_has_exactly_its_keys(site: Site, path: str) -> None:
    """As its type says, too, so that what is generated from the types is what is answered."""
    page = await seen(site, path)
    assert set(page) == GOLDEN[path]
    for name, keys in NESTED.items():
        if name in page:
            assert set(page[name]) == keys
    [endpoint] = [one for one in application.table(site.services) if one.path == path]
    msgspec.convert(page, endpoint.result, strict=False)
    assert set(get_type_hints(endpoint.result)) == GOLDEN[path]


@pytest.mark.parametrize("path", GOLDEN)
async def test_a_page_is_for_viewers_and_says_503_without_a_database(
    make_site: Callable[[Any], Site], path: str
) -> None:
    """Nothing for strangers; with the database away there is nothing to show, and it says so."""
    lost = make_site(Away())
    assert (await lost.get(path)).status_code == 401
    assert (await lost.get(path, token=VIEWER)).status_code == 503


async def test_entities_are_shown_by_status(site: Site) -> None:
    """Those that are mapped, with what waits and what was compared last, and those that only have tasks."""
    await bury(site, 2)
    await enqueue(site, 3, entity="invoice")
    await enqueue(site, 1, entity="stranger")
    await site.services.database.execute(COMPARED)
    await site.services.database.execute("INSERT INTO tds_pauses (entity_type) VALUES ('invoice')")
    page = await seen(site, f"{BFF}/entities")
    assert page["count"] == len(page["entities"]) == len(site.services.entities.names) + 1
    found = {one["entity_type"]: one for one in page["entities"]}
    assert all(set(one) == ENTITY for one in found.values())
    assert (found["product"]["dead_letter"], found["product"]["match_percentage"]) == (2, 100.0)
    assert (found["invoice"]["pending"], found["invoice"]["paused"], found["stranger"]["pending"]) == (3, True, 1)
    combined = await seen(site, f"{BFF}/stats/combined")
    assert (combined["source_total"], combined["local_total"]) == (400, 390)
    assert combined["overall_match_percentage"] == 97.5


async def test_the_complete_dashboard_shows_runs_deliveries_and_resources(site: Site) -> None:
    """What a day brought, and what each node used at its last sample."""
    database = site.services.database
    for kind, status in (("full", "completed"), ("full", "failed"), ("stock", "completed")):
        await database.execute(RUN, kind, status)
    await database.execute(DELIVERY)
    reporter = Reporter(database, site.services.metrics, lambda: None, node="here")
    await reporter.look()
    await reporter.keep()
    page = await seen(site, f"{BFF}/dashboard/complete")
    runs = page["runs_24h"]
    assert (runs["total"], runs["by_status"], runs["calls"]) == (3, {"completed": 2, "failed": 1}, 9)
    assert page["webhooks_received_24h"] == 1
    used = page["resources"]["here"]
    assert used["memory_bytes"] > 1 << 20
    assert used["disk_free_bytes"] > 0
    assert used["descriptors"] > 2
    assert used["loop_lag_seconds"] >= 0
    assert set(used["pools"]) == {"work", "ingest"}
    assert {tuple(level) for level in map(sorted, page["service_levels"])} == {tuple(sorted(LEVEL))}


async def test_service_levels_are_shown_with_their_days(site: Site) -> None:
    """All of them in order; over one window for all when that is asked for, which has its bounds."""
    page = await seen(site, f"{BFF}/stats/slo?window=7d&days=3")
    assert [level["name"] for level in page["levels"]] == list(levels.NAMES)
    assert {level["window"] for level in page["levels"]} == {"7d", "now"}
    assert (page["met"], page["missed"], page["days"]) == (True, [], [])
    for query in ("window=5m", "window=15d", "window=soon", "days=0", "days=401"):
        assert (await site.get(f"{BFF}/stats/slo?{query}", token=VIEWER)).status_code == 422


async def test_trends_take_a_window_and_a_step(site: Site) -> None:
    """Points without gaps; what failed is grouped by its code."""
    await bury(site, 2)
    page = await seen(site, f"{BFF}/stats/trends?window=3h")
    assert (page["window"], page["step"], len(page["points"])) == ("3h", "hour", 4)
    assert [pattern["error_code"] for pattern in page["error_patterns"]] == ["no_name"]
    assert len((await seen(site, f"{BFF}/stats/trends?window=2d&step=day"))["points"]) == 3
    assert (await site.get(f"{BFF}/stats/trends?step=week", token=VIEWER)).status_code == 422


async def test_parts_say_how_they_are(site: Site) -> None:
    """A breaker that is open degrades the whole, a writer that takes nothing brings it down."""
    database = site.services.database
    page = await seen(site, "/api/tds/monitoring/components")
    assert (page["status"], page["components"]["actor.ticker"]["status"]) == ("healthy", "healthy")
    await database.execute(
        "INSERT INTO tds_upstreams (name, breaker_state, breaker_opened_at, breaker_reason) "
        "VALUES ('zoho.books', 'open', now(), 'timeouts')"
    )
    page = await seen(site, "/api/tds/monitoring/components")
    assert page["status"] == "degraded"
    assert page["components"]["upstream.zoho.books"] == {"status": "down", "detail": "timeouts", "restarts": 0}
    site.writer.queued = 10
    assert (await seen(site, "/api/tds/monitoring/components"))["status"] == "down"


async def test_deliveries_are_counted_by_hour_and_outcome(site: Site) -> None:
    """By entity and hour from the inbox, by outcome since this process started; rates of what was tried."""
    await site.services.database.execute(DELIVERY)
    site.services.metrics.webhooks.labels("invoice", "stored").inc(3)
    site.services.metrics.attempts.labels("invoice", "applied").inc(3)
    site.services.metrics.attempts.labels("invoice", "retried").inc(1)
    page = await seen(site, "/api/tds/webhooks/stats")
    assert (page["received_24h"], [hour["received"] for hour in page["hours"]]) == (1, [1])
    assert (page["outcomes"], set(page["entities"]["invoice"])) == ({"stored": 3}, DELIVERIES)
    performance = await seen(site, "/api/tds/monitoring/performance")
    assert (performance["retry_rate"], performance["success_rate"], performance["error_rate"]) == (25.0, 100.0, 0.0)
