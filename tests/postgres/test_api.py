"""The admin routes against a real database: who may, what is answered, what is noted."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx2
import pytest
from fixtures.moments import a_moment
from fixtures.site import LOCAL, OPERATOR, STRANGER, VIEWER, Site, bury, enqueue
from msgspec.structs import replace

from actors.alerting import storing
from actors.alerting.storing import Finding, Over
from actors.api import application
from actors.condition import Thresholds
from actors.messages import Heal, Healed
from actors.zoho import tables
from tds_runtime import Backoff, Runtime, Supervisor, http, run, runs
from tds_runtime.errors import AskTimeout

pytestmark = pytest.mark.anyio


# --- who may


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/api/tree", "viewer"),
        ("GET", "/api/tds/monitoring/scheduler/jobs", "viewer"),
        ("GET", "/api/zoho/bulk-sync/status", "viewer"),
        ("GET", "/api/bff/tds/runs", "viewer"),
        ("GET", "/api/bff/tds/dead-letter", "viewer"),
        ("GET", "/api/bff/tds/reconciliations", "viewer"),
        ("GET", "/api/bff/tds/data-validation/duplicates", "viewer"),
        ("POST", "/api/bff/tds/reconciliations", "operator"),
        ("POST", "/api/bff/tds/reconciliations/1/cancel", "operator"),
        ("POST", "/api/tree/kill", "operator"),
        ("POST", "/api/zoho/bulk-sync/products", "operator"),
        ("POST", "/api/bff/tds/dead-letter/retry", "operator"),
        ("POST", "/api/bff/tds/dead-letter/1/retry", "operator"),
    ],
)
async def test_every_route_asks_for_its_role(site: Site, method: str, path: str, role: str) -> None:
    """Without a token 401, from this machine as well; a viewer may read and nothing else."""
    for client in (STRANGER, LOCAL):
        refused = await site.ask(method, path, client=client)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
    assert (await site.ask(method, path, token="not a token of anybody")).status_code == 401
    assert (await site.ask(method, path, token=VIEWER)).status_code == (200 if role == "viewer" else 403)
    assert await site.audit() == []


async def test_the_route_table_leaves_no_mutation_to_viewers(site: Site) -> None:
    """Everything that is not a GET asks for the operator role."""
    table = application.table(site.services)
    assert {endpoint.role for endpoint in table if endpoint.method != "GET"} == {"operator"}


async def test_tokens_in_the_database_work_until_they_are_revoked_or_expire(site: Site) -> None:
    """A token is found by its hash; a revoked or expired one is as good as none, at once."""
    database = site.services.database
    add = """INSERT INTO tds_tokens (name, digest, role, expires_at)
             VALUES ($1, $2, 'viewer', now() + $3::float8 * interval '1 second')"""
    for name, seconds in (("lives", 60.0), ("expired", -1.0)):
        await database.execute(add, name, hashlib.sha256(f"token of {name}".encode()).digest(), seconds)
    assert (await site.get("/api/tree", token="token of lives")).status_code == 200
    assert (await site.get("/api/tree", token="token of expired")).status_code == 401
    await database.execute("UPDATE tds_tokens SET revoked_at = now()")
    assert (await site.get("/api/tree", token="token of lives")).status_code == 401


async def test_without_a_database_only_configured_tokens_work(lost: Site) -> None:
    """An unknown token cannot be judged: 503, not 401; a configured one still shows the tree."""
    assert (await lost.get("/api/tree", token=VIEWER)).status_code == 200
    unknown = await lost.get("/api/tree", token="perhaps in the database")
    assert unknown.status_code == 503
    assert unknown.headers["content-type"] == "application/problem+json"
    assert unknown.headers["retry-after"]


# --- health


async def test_health_has_exactly_its_keys(site: Site) -> None:
    """The shape that monitors rely on, shown in full from this machine and to a token."""
    await enqueue(site, 3)
    for more in ({"client": LOCAL}, {"token": VIEWER}):
        report = (await site.get("/api/tds/monitoring/health", **more)).json()
        assert set(report) == {"status", "timestamp", "queue", "metrics", "thresholds"}
        assert report["status"] == "healthy"
        counts = {"pending": 3, "processing": 0, "completed": 0, "failed": 0, "dead_letter": 0, "total": 3}
        assert report["queue"] == counts
        assert report["thresholds"] == {
            "queue_warning": 1000, "queue_critical": 5000, "dlq_warning": 50, "dlq_critical": 100,
        }  # fmt: skip
        assert report["metrics"]["success_rate"] == 100.0
        assert report["metrics"]["active_alerts"] == 0
        assert datetime.fromisoformat(report["timestamp"]) <= datetime.now(UTC)


@pytest.mark.parametrize(
    "path", ["/health", "/api/tds/monitoring/health", "/api/tds/webhooks/health", "/readyz", "/livez"]
)
async def test_strangers_learn_the_status_only(site: Site, path: str) -> None:
    """Without token and not from here: one word and the time. A forwarded request is never from here."""
    for more in ({}, {"client": LOCAL, "headers": {"X-Forwarded-For": "127.0.0.1"}}):
        response = await site.get(path, **more)
        assert response.status_code == 200
        assert set(response.json()) == {"status", "timestamp"}


@pytest.mark.parametrize(
    ("pending", "dead", "expected"),
    [
        (0, 0, "healthy"),
        (0, 1, "degraded"),
        (2, 0, "healthy"),
        (3, 0, "warning"),
        (0, 2, "warning"),
        (5, 0, "critical"),
        (0, 4, "critical"),
    ],
)
async def test_the_worst_count_decides(site: Site, pending: int, dead: int, expected: str) -> None:
    """More than the threshold, not as many as; dead letters of the day lower the success rate."""
    site.services = replace(
        site.services, thresholds=Thresholds(queue_warning=2, queue_critical=4, dlq_warning=1, dlq_critical=3)
    )
    site = Site(site.services, site.tree, site.writer, site.woken)
    await bury(site, dead)
    await enqueue(site, pending, entity="customer")
    assert (await site.get("/health")).json()["status"] == expected


async def test_no_database_is_an_error_with_503(lost: Site) -> None:
    """Health says error, liveness goes on, readiness says why not, and the kind of failure is for insiders."""
    for path in ("/health", "/api/tds/monitoring/health", "/api/tds/webhooks/health"):
        stranger, insider = await lost.get(path), await lost.get(path, client=LOCAL)
        assert (stranger.status_code, stranger.json()["status"]) == (503, "error")
        assert "error" not in stranger.json()
        assert insider.json()["error"] == "DatabaseGone"
    assert (await lost.get("/livez")).status_code == 200
    ready = await lost.get("/readyz", client=LOCAL)
    assert ready.status_code == 503
    assert ready.json()["reasons"] == ["there is no database"]


async def test_readiness_asks_for_a_writer_with_room(site: Site) -> None:
    """Ready means that a delivery would be stored now: not while draining, not with a full or absent writer."""
    assert (await site.get("/readyz")).json()["status"] == "ready"
    site.writer.queued = 10
    assert (await site.get("/readyz", client=LOCAL)).json()["reasons"] == ["the writer's memory mark is reached"]
    site.writer.queued = None
    assert (await site.get("/readyz", client=LOCAL)).json()["reasons"] == ["nobody stores deliveries"]
    site.writer.queued = 0
    site.stopping.set()
    assert (await site.get("/readyz")).status_code == 503


async def test_the_intakes_health_counts_deliveries_by_entity(site: Site) -> None:
    """What arrived in 24 hours, what could not be named, and when the newest came."""
    insert = """INSERT INTO tds_inbox_events (received_at, source, entity_type, source_entity_id, operation, variant,
                content_type, query, correlation_id, idempotency_key, body)
                VALUES (now() - $1::float8 * interval '1 hour', 'zoho', $2, $3, 'upsert', '', '', '', '', '', '')"""
    for hours, entity, record in ((1, "product", "1"), (2, "product", ""), (3, "invoice", "7"), (30, "product", "2")):
        await site.services.database.execute(insert, float(hours), entity, record)
    report = (await site.get("/api/tds/webhooks/health", token=VIEWER)).json()
    assert (report["status"], report["received_24h"], report["waiting"]) == ("healthy", 3, 0)
    assert report["entities"]["product"]["received"] == 2
    assert report["entities"]["product"]["unnamed"] == 1
    assert set(report["entities"]) == {"product", "invoice"}


async def test_health_is_counted_at_most_once_a_second(site: Site) -> None:
    """However often it is asked, the database is asked rarely."""
    first = (await site.get("/health", client=LOCAL)).json()
    await enqueue(site, 1)
    assert (await site.get("/health", client=LOCAL)).json() == first


# --- pulls


@pytest.mark.parametrize(
    ("what", "entity", "kind"),
    [
        ("products", "product", "full"),
        ("customers", "customer", "full"),
        ("items-with-stock", "product", "stock"),
        ("balances", "all", "balance"),
        ("pricelists", "price_list", "price_list"),
        ("sync-all", "all", "full"),
        ("sales-orders", "sales_order", "full"),
        ("orders", "sales_order", "full"),
        ("branches", "branch", "full"),
        ("credit_note", "credit_note", "full"),
    ],
)
async def test_a_pull_is_a_run_row_and_a_wake_up(site: Site, what: str, entity: str, kind: str) -> None:
    """Asking answers the run's id; the row says who asked, the trail why, and the puller is woken."""
    response = await site.post(f"/api/zoho/bulk-sync/{what}", json={"reason": "after the outage"})
    assert response.status_code == 202
    answer = response.json()
    assert (answer["entity_type"], answer["kind"], answer["status"]) == (entity, kind, "pending")
    run = await runs.read(site.services.database, answer["run_id"])
    assert run is not None
    assert (run.requested_by, run.correlation_id) == ("boss", response.headers["x-correlation-id"])
    assert site.woken == ["pull"]
    [noted] = await site.audit()
    assert noted == {"action": "run.request", "actor": "boss", "reason": "after the outage", "entity_type": entity}


async def test_every_entity_can_be_pulled(site: Site) -> None:
    """All entities have a path, with an empty body or `{}`."""
    for entity in site.services.entities:
        assert (await site.post(f"/api/zoho/bulk-sync/{entity.name}", json={})).status_code == 202
    assert (await site.post("/api/zoho/bulk-sync/products", json={"kind": "incremental"})).json()[
        "kind"
    ] == "incremental"
    unknown = await site.post("/api/zoho/bulk-sync/nothing", json={})
    assert unknown.status_code == 404
    assert "products" in unknown.json()["errors"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", 400),
        (b"\xff", 400),
        (b'{"kind":' + b"[" * 100_000, 422),
        (b"[]", 422),
        (b'{"kind": "never"}', 422),
        (b'{"typo": 1}', 422),
        (b'{"reason": "a\\u0000b"}', 422),
        (b'{"reason": "\\ud800"}', 400),
    ],
    ids=lambda value: repr(value)[:24],
)
async def test_a_wrong_body_is_a_problem_and_no_run(site: Site, body: bytes, expected: int) -> None:
    """What cannot be read or is not known is refused before anything happens."""
    response = await site.post("/api/zoho/bulk-sync/products", content=body)
    assert response.status_code == expected
    assert response.headers["content-type"] == "application/problem+json"
    assert await site.services.database.fetchval("SELECT count(*) FROM tds_sync_runs") == 0


async def test_waiting_answers_the_result(site: Site) -> None:
    """With `?wait=true` the answer is the finished run: items, failures, success rate, duration."""
    database = site.services.database
    finish = """UPDATE tds_sync_runs SET status = 'completed',
                started_at = now(), completed_at = now() + interval '2 s', listed = 200, applied = 199, dead = 1"""
    responses: list[Any] = []

    async def ask() -> None:
        responses.append(await site.post("/api/zoho/bulk-sync/products?wait=true"))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        with anyio.fail_after(5):
            while await database.execute(finish) == "UPDATE 0":
                await a_moment()
    [response] = responses
    assert response.status_code == 200
    result = response.json()
    assert (result["status"], result["items"], result["failures"]) == ("completed", 200, 1)
    assert (result["success_rate"], result["duration_seconds"]) == (99.5, 2.0)


async def test_a_plan_is_waited_for_and_shown(site: Site) -> None:
    """`{"plan": true}` asks for the calls alone and waits for them; `insist` reaches the run; a sweep has no plan."""
    database = site.services.database
    finish = """UPDATE tds_sync_runs SET status = 'completed', completed_at = now(), plan = '{"calls": 7}'
                WHERE args = '{"plan": true}'"""
    responses: list[Any] = []

    async def ask() -> None:
        responses.append(await site.post("/api/zoho/bulk-sync/products", json={"plan": True}))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        with anyio.fail_after(5):
            while await database.execute(finish) == "UPDATE 0":
                await a_moment()
    assert (responses[0].status_code, responses[0].json()["plan"]) == (200, {"calls": 7})
    insisting = (await site.post("/api/zoho/bulk-sync/products", json={"insist": True})).json()
    run = await runs.read(database, insisting["run_id"])
    assert run is not None
    assert (run.args, insisting["plan"]) == ({"insist": True}, None)
    assert (await site.post("/api/zoho/bulk-sync/stock", json={"plan": True})).status_code == 422


async def test_waiting_ends_with_the_patience_or_the_daemon(site: Site) -> None:
    """A run that takes longer is answered as it stands; a stop does not wait for it."""
    assert (await site.post("/api/zoho/bulk-sync/products?wait=true")).status_code == 202
    site.services = replace(site.services, options=replace(site.services.options, wait=3600.0))
    site = Site(site.services, site.tree, site.writer, site.woken)
    site.stopping.set()
    with anyio.fail_after(5):
        assert (await site.post("/api/zoho/bulk-sync/products?wait=true")).status_code == 202


async def test_runs_are_listed_by_keyset_and_filter(site: Site) -> None:
    """Newest first, a page ends where the next begins, filters narrow, and one run shows its log."""
    ids = [
        (await site.post(f"/api/zoho/bulk-sync/{what}")).json()["run_id"] for what in ("products", "customers", "users")
    ]
    first = (await site.get("/api/bff/tds/runs?limit=2", token=VIEWER)).json()
    assert [run["id"] for run in first["items"]] == ids[:0:-1]
    second = (await site.get(f"/api/bff/tds/runs?limit=2&before={first['next']}", token=VIEWER)).json()
    assert [run["id"] for run in second["items"]] == ids[:1]
    assert second["next"] is None
    narrowed = (await site.get("/api/bff/tds/runs?entity_type=user&status=pending&kind=full", token=VIEWER)).json()
    assert [run["id"] for run in narrowed["items"]] == ids[2:]
    whole = (await site.get(f"/api/bff/tds/runs/{ids[0]}", token=VIEWER)).json()
    assert (whole["run"]["id"], whole["runs"], whole["log"]) == (ids[0], [], [])
    status = (await site.get("/api/zoho/bulk-sync/status", token=VIEWER)).json()
    assert [len(status[name]) for name in ("running", "pending", "recent")] == [0, 3, 3]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "limit=%C2%B2",
        "before=99999999999999999999",
        "status=lost",
        "entity_type=%00",
    ],
)
async def test_filters_that_make_no_sense_are_refused(site: Site, query: str) -> None:
    """A filter that cannot be meant is 422, never a failure of the server."""
    assert (await site.get(f"/api/bff/tds/runs?{query}", token=VIEWER)).status_code == 422


@pytest.mark.parametrize(
    "path", ["/api/bff/tds/runs/999", "/api/bff/tds/runs/99999999999999999999", "/api/bff/tds/runs/x"]
)
async def test_a_run_that_is_not_there_is_404(site: Site, path: str) -> None:
    """Unknown, impossible and unreadable ids are all not found."""
    assert (await site.get(path, token=VIEWER)).status_code == 404


# --- schedules, tree, metrics


async def test_jobs_say_when_they_run_next_and_what_became_of_the_last_slot(site: Site) -> None:
    """Id, trigger and next run of each schedule, the outcome of its newest slot, and whether anybody ticks."""
    await site.services.database.execute(
        "INSERT INTO tds_slots (schedule, slot, outcome) VALUES ('stock_sync_15min', now(), 'ran'), "
        "('stock_sync_15min', now() - interval '1 hour', 'failed')"
    )
    found = (await site.get("/api/tds/monitoring/scheduler/jobs", token=VIEWER)).json()
    assert (found["count"], found["scheduler_running"]) == (2, True)
    daily, stock = found["jobs"]
    assert (daily["id"], daily["name"], daily["trigger"]) == ("daily_full_sync", "Daily full sync", "cron[0 2 * * *]")
    assert datetime.fromisoformat(daily["next_run"]).hour == 23
    assert (stock["trigger"], stock["last_outcome"]) == ("interval[15m]", "ran")
    assert daily["last_outcome"] == ""


async def test_a_schedule_shows_its_slots_in_both_zones_and_what_became_of_them(site: Site) -> None:
    """The next five in UTC and in its own zone, the newest with the work they made."""
    path = "/api/tds/monitoring/scheduler/jobs/daily_full_sync"
    made = await site.post(f"{path}/backfill", json={"since": "2026-01-01T00:00:00Z", "until": "2026-01-03T12:00:00Z"})
    assert made.json() == {"slots": 2, "undecided": 2, "made": 2}
    found = (await site.get(f"{path}?limit=2", token=VIEWER)).json()
    assert len(found["next"]) == 5
    assert [one["local"][10:] for one in found["next"]] == ["T02:00:00+03:00"] * 5
    assert {datetime.fromisoformat(one["slot"]).utcoffset() for one in found["next"]} == {timedelta()}
    assert [(one["outcome"], one["work"], one["status"]) for one in found["history"]] == [
        ("late", "run", "pending")
    ] * 2
    assert (await site.get("/api/tds/monitoring/scheduler/jobs/none", token=VIEWER)).status_code == 404


async def test_schedules_are_run_paused_resumed_and_backfilled_over_http(site: Site) -> None:
    """The same verbs as on the command line; each is audited with its reason, and a trial changes nothing."""
    path = "/api/tds/monitoring/scheduler/jobs/stock_sync_15min"
    ran = await site.post(f"{path}/run", json={"reason": "now"})
    assert (ran.status_code, ran.json()["work"], ran.json()["status"]) == (202, "run", "pending")
    assert (await site.post(f"{path}/pause", json={"reason": "closed"})).json()["paused"] == "closed"
    assert (await site.post(f"{path}/resume")).json()["paused"] is None
    assert (await site.post(f"{path}/resume")).status_code == 409
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-01T01:00:00Z"}
    trial = await site.post(f"{path}/backfill", json=span | {"dry_run": True})
    assert trial.json() == {"slots": 4, "undecided": 4, "made": 0}
    assert (await site.post(f"{path}/backfill", json=span)).json()["made"] == 4
    assert (await site.post(f"{path}/backfill", json=span)).json() == {"slots": 4, "undecided": 0, "made": 0}
    assert (await site.post(f"{path}/backfill", json={"since": "2020-01-01T00:00:00Z"})).status_code == 422
    actions = [(row["action"], row["reason"]) for row in await site.audit()]
    assert actions[:3] == [("schedule.run", "now"), ("schedule.pause", "closed"), ("schedule.resume", "by hand")]
    assert {action for action, _ in actions[3:]} == {"schedule.backfill"}


async def test_the_tree_is_shown_and_a_child_killed(site: Site) -> None:
    """The snapshot as JSON; a kill names path and reason, reaches the tree, and is noted."""
    tree = (await site.get("/api/tree", token=VIEWER)).json()
    assert [child["path"] for child in tree["children"]] == ["tds/storage", "tds/work"]
    order = {"path": "tds/work/ticker", "reason": "it hangs"}
    assert (await site.post("/api/tree/kill", json=order)).json() == {"status": "killed", "path": "tds/work/ticker"}
    assert site.tree.killed == [("tds/work/ticker", "boss: it hangs")]
    assert [row["action"] for row in await site.audit()] == ["tree.kill"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"path": "tds/nobody", "reason": "x"}, 404),
        ({"path": "tds/work/ticker"}, 422),
        ({"path": "", "reason": "x"}, 422),
    ],
)
async def test_a_kill_needs_a_child_and_a_reason(site: Site, order: dict[str, str], expected: int) -> None:
    """No such child is 404, no reason is 422, and nobody dies."""
    assert (await site.post("/api/tree/kill", json=order)).status_code == expected
    assert site.tree.killed == []


async def test_a_child_can_be_killed_without_a_database(lost: Site) -> None:
    """The one action that an outage may call for is possible then."""
    order = {"path": "tds/work/ticker", "reason": "it hangs"}
    assert (await lost.post("/api/tree/kill", json=order)).status_code == 200
    assert lost.tree.killed


async def test_metrics_are_for_tokens_and_this_machine(site: Site) -> None:
    """Prometheus' text, not for strangers."""
    assert (await site.get("/metrics")).status_code == 401
    for more in ({"token": VIEWER}, {"client": LOCAL}):
        response = await site.get("/metrics", **more)
        assert response.headers["content-type"].startswith("text/plain")
        assert "tds_queue_tasks" in response.text


# --- healing


class Healer:
    """A healer's reference that answers, or does not."""

    answers = True

    async def ask(self, question: Heal, timeout: float = 5.0) -> Healed:  # noqa: ASYNC109 # as Ref.ask has it
        if not self.answers:
            raise AskTimeout
        now = datetime(2026, 11, 22, tzinfo=UTC)
        return Healed(stuck_tasks_recovered=1, dlq_items_retried=2, alerts_created=3, timestamp=now)


async def test_a_round_of_the_healer_is_run_on_request(site: Site) -> None:
    """The answer is what the round did; it is noted; a healer that does not finish is 503."""
    healer = Healer()
    site = Site(replace(site.services, healer=healer), site.tree, site.writer, site.woken)
    assert (await site.post("/api/bff/tds/auto-healing/run")).json() == {
        "stuck_tasks_recovered": 1, "dlq_items_retried": 2, "alerts_created": 3, "timestamp": "2026-11-22T00:00:00Z",
    }  # fmt: skip
    healer.answers = False
    assert (await site.post("/api/bff/tds/auto-healing/run")).status_code == 503
    assert [row["action"] for row in await site.audit()] == ["healer.run", "healer.run"]


async def test_what_was_healed_is_added_up(site: Site) -> None:
    """Totals over all rounds and the newest one; before the first there is none."""
    before = (await site.get("/api/bff/tds/auto-healing/stats", token=VIEWER)).json()
    assert (before["totals"]["rounds"], before["last_run"]) == (0, None)
    for recovered in (1, 2):
        await site.services.database.execute(
            "INSERT INTO tds_healer_runs (stuck_tasks_recovered, dlq_items_retried, alerts_created) VALUES ($1, 0, 1)",
            recovered,
        )
    after = (await site.get("/api/bff/tds/auto-healing/stats", token=VIEWER)).json()
    assert after["totals"] == {"rounds": 2, "stuck_tasks_recovered": 3, "dlq_items_retried": 0, "alerts_created": 2}
    assert after["last_run"]["stuck_tasks_recovered"] == 2
    assert after["thresholds"]["queue_warning"] == 1000
    assert (after["configuration"]["retry_times"], after["configuration"]["silence"]) == (3, "6h")


# --- dead letters


async def test_dead_letters_are_listed_by_keyset_and_filter(site: Site) -> None:
    """Newest first with the total of the filter; stacks and bodies stay inside."""
    await bury(site, 3)
    page = (await site.get("/api/bff/tds/dead-letter?limit=2", token=VIEWER)).json()
    assert (len(page["items"]), page["total"]) == (2, 3)
    assert page["items"][0]["error_code"] == "no_name"
    assert not {"traceback", "payload"} & set(page["items"][0])
    rest = (await site.get(f"/api/bff/tds/dead-letter?before={page['next']}", token=VIEWER)).json()
    assert (len(rest["items"]), rest["next"]) == (1, None)
    none = (await site.get("/api/bff/tds/dead-letter?error_code=other", token=VIEWER)).json()
    assert (none["items"], none["total"]) == ([], 0)


async def test_one_dead_letter_is_retried(site: Site) -> None:
    """It waits again from zero, the action is noted, and a second try finds nothing to retry."""
    await bury(site, 2)
    [letter, _] = (await site.get("/api/bff/tds/dead-letter", token=VIEWER)).json()["items"]
    path = f"/api/bff/tds/dead-letter/{letter['id']}/retry"
    assert (await site.post(path, json={"reason": "name was added"})).json() == {"matched": 1, "retried": 1}
    assert (await site.services.queue.statistics()).pending == 1
    assert [row["reason"] for row in await site.audit()] == ["name was added"]
    assert (await site.post(path)).status_code == 404
    assert (await site.post("/api/bff/tds/dead-letter/99999999999999999999/retry")).status_code == 404


async def test_many_dead_letters_are_counted_first_and_then_a_job(site: Site) -> None:
    """A dry run counts and changes nothing; a job needs a filter and a reason, and the count that was shown."""
    await bury(site, 3)
    retry = "/api/bff/tds/dead-letter/retry"
    wish = {"error_code": "no_name", "reason": "mapping mended"}
    assert (await site.post(retry, json={**wish, "dry_run": True})).json() == {"matched": 3}
    assert (await site.post(retry, json={"reason": "all of them?"})).status_code == 422
    assert (await site.post(retry, json={"all": True})).status_code == 422
    assert (await site.post(retry, json={**wish, "expected": 2})).status_code == 409
    assert await site.audit() == []
    asked = await site.post(retry, json={**wish, "expected": 3})
    assert (asked.status_code, asked.json()["status"], asked.json()["matched"]) == (202, "pending", 3)
    assert site.woken == ["clerk"]
    assert [(row["action"], row["reason"]) for row in await site.audit()] == [("dead_letter.retry", "mapping mended")]


async def test_the_listener_answers_the_order_to_kill_it(site: Site) -> None:
    """Whoever kills the listener, or what holds it, still gets an answer, and the next incarnation serves."""
    running: list[Runtime] = []
    services = replace(site.services, runtime=lambda: running[0])
    app = application.application(services, [])
    order, bearer = {"path": "tds/listener", "reason": "a test"}, {"Authorization": f"Bearer {OPERATOR}"}
    with http.listen_socket("127.0.0.1:0") as sock:
        listener = http.listener(app=app, sock=sock, options=http.Options()).options(backoff=Backoff(0, 0))
        async with (
            run(Supervisor("tds", children=[listener])) as runtime,
            httpx2.AsyncClient(base_url=f"http://{http.address(sock)}", headers=bearer) as client,
        ):
            running.append(runtime)
            assert (await client.post("/api/tree/kill", json=order)).status_code == 200
            with anyio.fail_after(10):
                while (tree := (await client.get("/api/tree")).json())["children"][0]["restarts"] == 0:
                    pass
    assert tree["children"][0]["incarnation"] == 2


# --- alerts

ALERTS = "/api/bff/tds/alerts"


async def find(site: Site, *kinds: str) -> list[int]:
    numbers: list[int] = []
    for kind in kinds:
        metadata = {"pending_count": 7}
        finding = Finding(alert_type=kind, severity="warning", cause="c", title=kind, metadata=metadata)
        numbers += [one.id for one in await storing.keep(site.services.database, [finding])]
    return numbers


async def test_alerts_are_paged_and_filtered(site: Site) -> None:
    """Open ones by default, newest first, by type and severity; both routes answer the same."""
    first, second, third = await find(site, "queue_depth", "dlq_overflow", "stuck_task")
    await storing.keep(site.services.database, [], [Over("stuck_task", "c")])
    page = (await site.get(ALERTS, token=VIEWER, params={"limit": "1"})).json()
    assert ([one["id"] for one in page["alerts"]], page["next"], page["count"]) == ([second], second, 1)
    after = (await site.get(ALERTS, token=VIEWER, params={"limit": "1", "before": str(page["next"])})).json()
    assert [one["id"] for one in after["alerts"]] == [first]
    assert after["alerts"][0]["metadata"] == {"pending_count": 7}
    all_of_them = (await site.get(ALERTS, token=VIEWER, params={"all": "true"})).json()
    assert [one["id"] for one in all_of_them["alerts"]] == [third, second, first]
    chosen = (await site.get(ALERTS, token=VIEWER, params={"type": "dlq_overflow", "severity": "warning"})).json()
    assert [one["id"] for one in chosen["alerts"]] == [second]
    monitored = (await site.get("/api/tds/monitoring/alerts", token=VIEWER)).json()
    assert set(monitored) == {"alerts", "count", "next", "timestamp"}
    assert monitored["count"] == 2


async def test_an_alert_is_acknowledged_with_a_reason_and_an_end(site: Site) -> None:
    """The answer says until when, the trail who and why, the alert's own log as well; an unknown one is 404."""
    [number] = await find(site, "queue_depth")
    response = await site.post(f"{ALERTS}/{number}/acknowledge", json={"reason": "on it", "expires": "2h"})
    assert response.status_code == 200
    left = datetime.fromisoformat(response.json()["acknowledged_until"]) - datetime.now(UTC)
    assert 7000 < left.total_seconds() <= 7201
    one = (await site.get(f"{ALERTS}/{number}", token=VIEWER)).json()
    assert one["acknowledged_by"] == "boss"
    assert [event["kind"] for event in one["events"]] == ["opened", "acknowledged"]
    assert one["notifications"] == []
    assert (await site.audit())[-1] == {
        "action": "alert.acknowledge", "actor": "boss", "reason": "on it", "entity_type": "",
    }  # fmt: skip
    for unknown in (4711, 2**70):
        assert (await site.post(f"{ALERTS}/{unknown}/acknowledge", json={"reason": "x"})).status_code == 404
        assert (await site.get(f"{ALERTS}/{unknown}", token=VIEWER)).status_code == 404
    for body in ({}, {"reason": ""}, {"reason": "x", "expires": "soon"}, {"reason": "x", "expires": "0s"}):
        assert (await site.post(f"{ALERTS}/{number}/acknowledge", json=body)).status_code == 422
    assert len(await site.audit()) == 1


async def test_alerts_are_silenced_over_http(site: Site) -> None:
    """A silence has an author, a reason and an end; silencing everything has to be said; it can be ended."""
    wanted = {"reason": "moving", "expires": "1h", "matchers": {"type": ["queue_depth", "dlq_overflow"]}}
    made = await site.post(f"{ALERTS}/silences", json=wanted)
    assert made.status_code == 201
    assert (made.json()["author"], made.json()["comment"]) == ("boss", "moving")
    assert (await site.post(f"{ALERTS}/silences", json={"reason": "x", "expires": "1h"})).status_code == 422
    assert (
        await site.post(f"{ALERTS}/silences", json={"reason": "x", "expires": "500d", "all": True})
    ).status_code == 422
    assert len((await site.get(f"{ALERTS}/silences", token=VIEWER)).json()["silences"]) == 1
    number = made.json()["id"]
    assert (await site.post(f"{ALERTS}/silences/{number}/expire", json={"reason": "done"})).status_code == 200
    assert (await site.post(f"{ALERTS}/silences/{number}/expire")).status_code == 404
    assert (await site.get(f"{ALERTS}/silences", token=VIEWER)).json()["silences"] == []
    over = await site.get(f"{ALERTS}/silences", token=VIEWER, params={"over": "true"})
    assert len(over.json()["silences"]) == 1
    assert [(row["action"], row["reason"]) for row in await site.audit()] == [
        ("silence.create", "moving"), ("silence.expire", "done"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", ALERTS, "viewer"),
        ("GET", "/api/tds/monitoring/alerts", "viewer"),
        ("GET", f"{ALERTS}/silences", "viewer"),
        ("POST", f"{ALERTS}/1/acknowledge", "operator"),
        ("POST", f"{ALERTS}/silences", "operator"),
        ("POST", f"{ALERTS}/silences/1/expire", "operator"),
    ],
)
async def test_every_alert_route_asks_for_its_role(site: Site, method: str, path: str, role: str) -> None:
    """Nobody without a token; a viewer may read and nothing else."""
    assert (await site.ask(method, path)).status_code == 401
    assert (await site.ask(method, path, token=VIEWER)).status_code == (200 if role == "viewer" else 403)
    assert await site.audit() == []


# --- comparisons


async def test_a_comparison_is_asked_for_followed_and_cancelled(site: Site) -> None:
    """One POST makes one report, wakes who carries it out, and is audited; a cancelled one stays that."""
    path = "/api/bff/tds/reconciliations"
    asked = await site.post(path, json={"entity": "product", "repair": True, "reason": "alert 7"})
    assert asked.status_code == 202
    report = asked.json()
    assert (report["entity_type"], report["depth"], report["repair"], report["status"]) == (
        "product", "records", True, "pending",
    )  # fmt: skip
    assert site.woken == ["reconciler"]
    assert [one["id"] for one in (await site.get(path, token=VIEWER)).json()["items"]] == [report["id"]]
    ended = await site.post(f"{path}/{report['id']}/cancel", json={"reason": "enough"})
    assert (ended.json()["status"], ended.json()["error_message"]) == ("cancelled", "boss: enough")
    assert (await site.post(f"{path}/{report['id']}/cancel")).status_code == 409
    assert await site.audit() == [
        {"action": "reconciliation.request", "actor": "boss", "reason": "alert 7", "entity_type": "product"},
        {"action": "reconciliation.cancel", "actor": "boss", "reason": "enough", "entity_type": "product"},
    ]


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"entity": "nothing"}, 404),
        ({"repair": True}, 422),
        ({"repair": True, "depth": "counts", "reason": "x"}, 422),
        ({"depth": "half"}, 422),
    ],
)
async def test_a_comparison_that_makes_no_sense_is_refused(site: Site, wish: dict[str, Any], status: int) -> None:
    """Unknown entities, repairs without a reason or without records: nothing is asked for and nobody is woken."""
    assert (await site.post("/api/bff/tds/reconciliations", json=wish)).status_code == status
    assert (site.woken, await site.audit()) == ([], [])


async def test_findings_page_by_keyset(site: Site) -> None:
    """All findings come once, in pages, filtered as asked; a report of nobody is 404."""
    database = site.services.database
    report = (await site.post("/api/bff/tds/reconciliations")).json()["id"]
    await database.execute(
        "INSERT INTO tds_reconciliation_findings (report_id, entity_type, source_entity_id, kind, differences) "
        "SELECT $1, CASE WHEN n % 2 = 0 THEN 'product' ELSE 'user' END, n::text, "
        "CASE WHEN n < 5 THEN 'missing' ELSE 'different' END, '{\"price\": {\"source\": 1, \"local\": 2}}' "
        "FROM generate_series(1, 12) AS n",
        report,
    )
    seen, after = [], ""
    while True:
        path = f"/api/bff/tds/reconciliations/{report}?limit=5&after={after}"
        page = (await site.get(path, token=VIEWER)).json()
        seen += [(one["entity_type"], one["source_entity_id"]) for one in page["findings"]]
        after = page["next"]
        if after is None:
            break
    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen) == 12
    assert page["findings"][0]["differences"] == {"price": {"source": 1, "local": 2}}
    path = f"/api/bff/tds/reconciliations/{report}?kind=missing&entity_type=product"
    assert [one["source_entity_id"] for one in (await site.get(path, token=VIEWER)).json()["findings"]] == ["2", "4"]
    assert (await site.get(f"/api/bff/tds/reconciliations/{report}?kind=odd", token=VIEWER)).status_code == 422
    assert (await site.get("/api/bff/tds/reconciliations/999", token=VIEWER)).status_code == 404


async def test_local_tables_are_validated_over_http(site: Site) -> None:
    """Each kind says what it found and where to go on; a made-up position is refused."""
    database = site.services.database
    async with database.transaction() as connection:
        await tables.create_missing(connection, site.services.entities.tables)
    await database.execute("INSERT INTO products (zoho_item_id, name, sku) VALUES ('1', 'x', 'A'), ('2', 'y', 'a ')")
    path = "/api/bff/tds/data-validation"
    [found] = (await site.get(f"{path}/duplicates", token=VIEWER)).json()["items"]
    assert (found["table"], found["records"]) == ("products", ["1", "2"])
    whole = (await site.get(f"{path}/products", token=VIEWER)).json()
    assert (whole["valid"], whole["reconciliation"], whole["orphans"]["items"]) == (False, None, [])
    assert whole["duplicates"]["items"] == [found]
    integrity = (await site.get(f"{path}/integrity?entity_type=product", token=VIEWER)).json()
    assert integrity["items"] == whole["integrity"]["items"]
    assert [one["problems"] for one in integrity["items"]] == [["sku: has spaces around it"]]
    orphans = (await site.get(f"{path}/orphans?entity_type=product", token=VIEWER)).json()
    assert (orphans["items"], orphans["next"]) == ([], None)
    assert (await site.get(f"{path}/orphans?after=nonsense", token=VIEWER)).status_code == 422
    assert (await site.get(f"{path}/orphans?entity_type=nothing", token=VIEWER)).status_code == 404
