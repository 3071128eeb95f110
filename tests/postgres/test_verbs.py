"""The verbs of the command line, in this process, against a real database."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
from fixtures.line import Line

from actors.alerting import storing
from actors.alerting.storing import Finding
from tds_runtime import intake, runs
from tds_runtime.database import Database
from tds_runtime.intake import Delivery
from tds_runtime.nodes import Node
from tds_runtime.queue import Change, Completion, Failure, Queue

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
YEARLY = """\
[schedule.yearly]
cron = "0 0 1 1 *"
run = "pull.full"
args = {entity = "user"}
"""


@pytest.fixture
def line(tmp_path: Path, database_dsn: str) -> Line:
    return Line(tmp_path, database_dsn, more=YEARLY)


@pytest.fixture
def queue(database: Database) -> Queue:
    return Queue(database, boot_id="test")


async def enqueue(queue: Queue, *records: str, entity: str = "product") -> None:
    async with queue.database.transaction() as connection:
        changes = [Change(entity_type=entity, source_entity_id=record, payload=b"{}") for record in records]
        await queue.enqueue(connection, changes)


async def bury(queue: Queue, *records: str, code: str = "invalid") -> None:
    await enqueue(queue, *records)
    tasks = await queue.claim(["product"])
    await queue.bury(
        [Failure(id=task.id, fence=task.fence, error_code=code, error_message="no \x1b[2J price") for task in tasks]
    )


async def finish(queue: Queue, entity: str = "product") -> None:
    tasks = await queue.claim([entity])
    async with queue.database.transaction() as connection:
        await queue.complete(connection, [Completion(task.id, task.fence, "applied") for task in tasks])


# --- status


async def test_status_says_what_is_wrong_and_what_to_do(line: Line, queue: Queue) -> None:
    """Without a node the fleet is degraded; too many dead letters and too old tasks are named with advice."""
    assert await line("status") == 3
    assert "tds-runtime run" in line.notes
    await Node(queue.database, boot_id="other").renew()
    assert await line("status") == 0
    await bury(queue, *(str(number) for number in range(51)))
    await enqueue(queue, "late")
    await queue.database.execute("UPDATE tds_sync_queue SET enqueued_at = now() - interval '1 hour'")
    assert await line("status") == 3
    assert "51 dead letters" in line.notes
    assert "has waited 1h" in line.notes
    shown = await line.json("status")
    assert shown["status"] == "degraded"
    [entity] = shown["entities"]
    assert (entity["pending"], entity["dead_letter"]) == (1, 51)
    assert [node["alive"] for node in shown["nodes"]] == [True]


async def test_status_counts_what_was_finished(line: Line, queue: Queue) -> None:
    """What ended in a day is a number, and the entities' table shows what has not."""
    await enqueue(queue, "1", "2")
    await finish(queue)
    await enqueue(queue, "3", entity="customer")
    assert (await line.json("status"))["completed_24h"] == 2
    assert await line("queue") == 0
    assert "customer" in line.data
    assert "product" not in line.data


# --- queue


async def test_an_entity_is_paused_and_resumed(line: Line, queue: Queue) -> None:
    """A pause has a reason and perhaps an end; only what is paused can be resumed."""
    assert await line("queue", "pause", "product", "--reason", "stocktaking", "--lasting", "2h") == 0
    assert await queue.paused() == {"product": "stocktaking"}
    assert (await line.json("queue"))["paused"] == {"product": "stocktaking"}
    assert await line("queue") == 0
    assert "product is paused: stocktaking" in line.notes
    assert await line("queue", "resume", "product") == 0
    assert await line("queue", "resume", "product") == 4
    assert await line("queue", "pause", "product", "--reason", "x", "--lasting", "soon") == 2


async def test_waiting_tasks_are_cancelled_on_request_only(line: Line, queue: Queue) -> None:
    """Cancelling says which tasks, why, and yes."""
    await enqueue(queue, "1", "2", "3")
    reason = ("--reason", "mistake")
    assert await line("queue", "cancel", *reason, "--yes") == 2
    assert await line("queue", "cancel", "--entity", "product", *reason) == 2
    assert await line.json("queue", "cancel", "--entity", "product", *reason, "--yes") == {"cancelled": 3}
    assert (await queue.statistics()).cancelled == 3
    assert await line("queue", "cancel", "1", *reason, "--yes") == 0
    assert line.data.strip() == "0 cancelled"


async def test_all_means_all(line: Line, queue: Queue) -> None:
    """More tasks than a statement moves are cancelled as well."""
    await enqueue(queue, *map(str, range(1001)))
    found = await line.json("queue", "cancel", "--entity", "product", "--reason", "mistake", "--yes")
    assert found == {"cancelled": 1001}


async def test_waiting_tasks_are_put_off_for_a_while(line: Line, queue: Queue) -> None:
    """A snoozed task is not claimed and spends no attempt; a newer change of its record lets it go."""
    await enqueue(queue, "1", "2")
    asked = ("queue", "snooze", "--entity", "product", "--lasting", "2h", "--reason", "stocktaking")
    assert await line.json(*asked) == {"snoozed": 2}
    assert await line.json("queue", "snooze", "1", "--lasting", "1h", "--reason", "less") == {"snoozed": 0}
    assert await queue.claim(["product"]) == []
    await enqueue(queue, "1")
    [task] = await queue.claim(["product"])
    assert (task.source_entity_id, task.attempt_count) == ("1", 1)
    await queue.database.execute("UPDATE tds_sync_queue SET available_at = now() WHERE status = 'pending'")
    assert await queue.promote_due() == 1


# --- dead letters


async def test_dead_letters_are_listed_with_their_reason(line: Line, queue: Queue) -> None:
    """The newest first, a page at a time, nothing in them speaks to the terminal."""
    await bury(queue, "1", "2", "3")
    shown = await line.json("dlq", "list", "--limit", "2", "--entity", "product")
    assert (shown["total"], [letter["source_entity_id"] for letter in shown["dead_letters"]]) == (3, ["3", "2"])
    assert [letter["error_code"] for letter in shown["dead_letters"]] == ["invalid", "invalid"]
    assert isinstance(shown["dead_letters"][0]["attempts"], list)
    assert await line("dlq", "list", "--limit", "2") == 0
    assert "\x1b" not in line.data
    assert "--before" in line.notes
    assert (await line.json("dlq", "list", "--error", "other"))["total"] == 0


async def test_dead_letters_are_retried_by_id_or_all(line: Line, queue: Queue) -> None:
    """One, or all that match, or only their number; asking for what is not there is exit 4."""
    await bury(queue, "1", "2")
    await bury(queue, "3", code="other")
    [first] = (await line.json("dlq", "list", "--error", "other"))["dead_letters"]
    assert await line.json("dlq", "retry", "--all", "--dry-run") == {"would_be_retried": 3}
    assert await line.json("dlq", "retry", str(first["id"])) == {"retried": 1}
    assert await line("dlq", "retry", str(first["id"])) == 4
    assert await line("dlq", "retry") == 2
    assert await line("dlq", "retry", "1", "--all") == 2
    assert await line("dlq", "retry", "--all", "--entity", "product") == 0
    assert line.data.strip() == "2 retried"
    assert (await queue.statistics()).pending == 3


async def test_dead_letters_are_discarded_with_a_note(line: Line, queue: Queue) -> None:
    """Discarding wants a reason and a yes; the row stays with who did it."""
    await bury(queue, "1", "2")
    assert await line("dlq", "discard", "--all", "--note", "test data") == 2
    assert (await queue.statistics()).dead_letter == 2
    assert await line.json("dlq", "discard", "--all", "--note", "test data", "--dry-run") == {"would_be_discarded": 2}
    assert await line.json("dlq", "discard", "--all", "--note", "test data", "--yes") == {"discarded": 2}
    rows = await queue.database.fetch("SELECT resolution, resolved_by, note FROM tds_dead_letter_queue")
    assert {tuple(row) for row in rows} == {("discarded", "tester", "test data")}


async def test_what_is_typed_is_on_record(line: Line, queue: Queue) -> None:
    """Each verb that acts leaves who, what and why in the audit trail; one that found nothing to do leaves nothing."""
    await Node(queue.database, boot_id="other").renew()
    await bury(queue, "1", "2")
    await enqueue(queue, "3", "4")
    acts = {
        "queue.pause": ("queue", "pause", "product", "--reason", "late"),
        "queue.resume": ("queue", "resume", "product"),
        "queue.snooze": ("queue", "snooze", "--entity", "product", "--lasting", "1h", "--reason", "late"),
        "queue.cancel": ("queue", "cancel", "--entity", "product", "--reason", "wrong", "--yes"),
        "dead_letter.retry": ("dlq", "retry", "1"),
        "dead_letter.discard": ("dlq", "discard", "2", "--note", "wrong", "--yes"),
        "schedule.pause": ("schedule", "pause", "yearly", "--reason", "late"),
        "schedule.resume": ("schedule", "resume", "yearly"),
        "schedule.run": ("schedule", "run", "yearly"),
        "schedule.backfill": ("schedule", "backfill", "yearly", "--since", "2026-01-01"),
        "run.request": ("sync", "user", "--no-wait"),
        "inbox.replay": ("inbox", "replay", "1"),
        "token.create": ("token", "create", "--name", "desk"),
        "token.revoke": ("token", "revoke", "desk"),
    }
    for words in acts.values():
        assert await line(*words) == 0, line.notes
    assert await line("queue", "resume", "product") == 4
    rows = await queue.database.fetch("SELECT action, actor, reason FROM tds_audit_trail WHERE actor <> 'tds-runtime'")
    assert [row["action"] for row in rows] == list(acts)
    assert {row["actor"] for row in rows} == {"tester"}
    assert [row["reason"] for row in rows if row["reason"]] == ["late", "late", "wrong", "wrong", "late"]


# --- schema and entities


async def test_migrate_is_harmless_to_repeat(line: Line) -> None:
    """A current schema is left alone; target tables are made once, on request, and then fit their mapping."""
    assert await line.json("migrate", "--status") == {"pending": []}
    assert await line("migrate") == 0
    assert "current" in line.notes
    assert await line("entity", "check", "product") == 1
    assert "products is not there" in line.data
    assert await line("check", "--connect") == 69
    assert "entities: table products is not there" in line.notes
    for _ in range(2):
        assert await line("migrate", "--with-erp-tables") == 0
    assert await line("entity", "check") == 0


async def test_entities_explain_themselves(line: Line) -> None:
    """Where each comes from, which columns it fills; a misspelt name gets advice."""
    assert len((await line.json("entity", "list"))["entities"]) == 13
    assert await line("entity", "list") == 0
    assert "books /contacts" in line.data
    columns = (await line.json("entity", "explain", "product"))["columns"]
    assert {"products", "product_stock"} == {column["table"] for column in columns}
    assert await line("entity", "explain", "vendor") == 0
    assert await line("entity", "explain", "prodcut") == 4
    assert "did you mean product?" in line.notes


# --- schedules


async def test_schedules_are_listed_paused_and_resumed(line: Line) -> None:
    """A list shows state, next and last slot; a pause needs a reason."""
    rows = {row["schedule"]: row for row in (await line.json("schedule", "list"))["schedules"]}
    assert (rows["yearly"]["state"], rows["yearly"]["when"]) == ("on", "0 0 1 1 * (UTC)")
    assert await line("schedule", "pause", "yearly", "--reason", "closed") == 0
    assert await line("schedule", "list") == 0
    rows = {row["schedule"]: row for row in (await line.json("schedule", "list"))["schedules"]}
    assert (rows["yearly"]["state"], rows["yearly"]["next"]) == ("paused", None)
    assert await line("schedule", "resume", "yearly") == 0
    assert await line("schedule", "resume", "yearly") == 4
    assert await line("schedule", "next", "yearli") == 4
    assert await line("schedule", "next", "xyzzy") == 4
    assert len((await line.json("schedule", "next", "yearly"))["slots"]) == 5
    assert await line("schedule", "next", "daily_full_sync", "--count", "2") == 0


async def test_past_slots_are_backfilled_once(line: Line, database: Database) -> None:
    """Each slot without an outcome gets its run; a second time there is nothing to do."""
    since = ("schedule", "backfill", "yearly", "--since", "2024-06-01")
    assert await line(*since, "--dry-run") == 0
    assert line.data.strip() == "2 of 2 slots had no outcome and would run"
    assert await line(*since) == 0
    assert line.data.startswith("2 of 2")
    assert await line(*since) == 0
    assert line.data.startswith("0 of 2")
    slots = (await line.json("schedule", "history", "yearly"))["slots"]
    assert [slot["outcome"] for slot in slots] == ["late", "late"]
    assert slots[0]["detail"] == "backfilled by tester"
    assert await line("schedule", "history", "yearly") == 0
    assert await line("schedule", "backfill", "stock_sync_15min", "--since", "2020-01-01") == 2
    assert await database.fetchval("SELECT count(*) FROM tds_sync_runs WHERE schedule = 'yearly'") > 0


async def test_a_schedule_runs_by_hand(line: Line) -> None:
    """Whatever it runs leaves a row that the daemon finds."""
    assert await line("schedule", "run", "yearly") == 0
    assert line.data.startswith("run ")
    assert await line("schedule", "run", "auto_healing") == 0
    assert line.data.startswith("healing ")


# --- sync


async def test_a_sync_needs_somebody_who_pulls(line: Line) -> None:
    """Without a daemon there is nobody to pull: exit 69; what cannot be pulled is exit 4 or 2."""
    assert await line("sync", "all") == 69
    assert await line("sync", "prodcut") == 4
    assert await line("sync", "xyzzy") == 4
    assert await line("sync", "--full", "--stock") == 2


@pytest.mark.parametrize(("status", "dead", "code"), [("completed", 0, 0), ("completed", 1, 1), ("failed", 0, 1)])
async def test_a_sync_waits_for_its_outcome(line: Line, database: Database, status: str, dead: int, code: int) -> None:
    """The verb follows the run to its end; failed runs and dead letters are exit 1."""
    await Node(database, boot_id="other").renew()

    async def daemon() -> None:
        while not (found := await runs.recent(database, limit=1)):  # noqa: ASYNC110 - the database sets no event here
            await anyio.sleep(0.02)
        await database.execute(
            "UPDATE tds_sync_runs SET status = $2, started_at = now(), completed_at = now(), listed = 5, dead = $3 "
            "WHERE id = $1",
            found[0].id,
            status,
            dead,
        )

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(daemon)
            assert await line("sync", "user", "--incremental") == code
    assert "incremental" in line.data
    assert "tester" in line.data


async def test_a_sync_can_be_asked_for_without_waiting(line: Line, database: Database) -> None:
    """--no-wait writes the run row and prints it."""
    await Node(database, boot_id="other").renew()
    shown = await line.json("sync", "all", "--no-wait")
    assert (shown["entity_type"], shown["kind"], shown["status"]) == ("all", "full", "pending")


async def test_a_sync_says_what_it_takes(line: Line, database: Database) -> None:
    """--plan prints the calls by entity and what is refused, and pulls nothing; --insist travels with the run."""
    await Node(database, boot_id="other").renew()
    share = {"needed": 1207, "left": 900, "a_day": 1000, "kept": 100, "waiting": 0, "resets_at": "2026-11-27T21:00:00Z"}
    plan = {"calls": 1207, "records": 1200, "pages": 6, "details": 1200, "apis": {"books": share}, "entities": {}}

    async def daemon() -> None:
        while not (found := await runs.recent(database, limit=1)):  # noqa: ASYNC110 - the database sets no event here
            await anyio.sleep(0.02)
        assert found[0].args == {"plan": True}
        await database.execute(
            "UPDATE tds_sync_runs SET status = 'completed', completed_at = now(), plan = $2::jsonb WHERE id = $1",
            found[0].id,
            json.dumps({**plan, "refused": "needs too many"}),
        )

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(daemon)
            assert await line("sync", "invoice", "--plan") == 0
    assert all(word in line.data for word in ("invoice", "1207", "1200", "no"))
    assert "900 of 1000 left" in line.notes
    assert "needs too many" in line.notes
    assert await line("sync", "invoice", "--plan", "--stock") == 2
    assert (await line.json("sync", "invoice", "--insist", "--no-wait"))["args"] == {"insist": True}


async def test_status_shows_the_days_calls(line: Line, database: Database) -> None:
    """What is left of the day stands in the status, and that nothing is left is advice."""
    await Node(database, boot_id="other").renew()
    for left, code in ((700, 0), (0, 3)):
        await database.execute(
            "INSERT INTO tds_upstreams (name, budget_limit, budget_remaining, budget_resets_at, budget_observed_at)"
            " VALUES ('books', 1000, $1, now() + interval '5 h', now())"
            " ON CONFLICT (name) DO UPDATE SET budget_remaining = $1",
            left,
        )
        assert await line("status") == code
        assert str(left) in line.data
    assert "calls to books are used up" in line.notes
    [upstream] = (await line.json("status"))["upstreams"]
    assert (upstream["calls_left"], upstream["calls_a_day"]) == (0, 1000)
    [upstream] = (await line.json("breaker", "list"))["upstreams"]
    assert (upstream["calls_left"], upstream["lasts_until"]) == (0, None)


# --- what arrived, what it did, and who may look


async def test_deliveries_are_listed_and_replayed(line: Line, database: Database) -> None:
    """What arrived can be looked at by entity and record, and sent through the queue again."""
    delivery = Delivery(
        source="zoho",
        entity_type="product",
        source_entity_id="7",
        operation="upsert",
        modified_at=None,
        body=b"{}",
        content_type="application/json",
        query="",
        correlation_id="c",
    )
    [receipt] = await intake.store(database, [delivery])
    await finish(Queue(database, boot_id="test"))
    [listed] = (await line.json("inbox", "list", "--entity", "product", "--record", "7"))["deliveries"]
    assert (listed["id"], listed["bytes"]) == (receipt.inbox_id, 2)
    assert await line("inbox", "list") == 0
    assert await line.json("inbox", "replay", str(receipt.inbox_id)) == {"enqueued": 1}
    assert await line("inbox", "replay", str(receipt.inbox_id)) == 0
    assert await line("inbox", "replay") == 2


async def test_the_history_of_a_record_is_shown(line: Line, database: Database) -> None:
    """Each change with its values before and after; an unknown record is exit 4."""
    await database.execute(
        "INSERT INTO tds_audit_trail (action, entity_type, source_entity_id, before, after) "
        """VALUES ('update', 'product', '7', '{"price": 1, "name": "x"}', '{"price": 2, "name": "x"}')"""
    )
    [change] = (await line.json("audit", "product", "7"))["changes"]
    assert (change["before"]["price"], change["after"]["price"]) == (1, 2)
    assert await line("audit", "product", "7") == 0
    assert line.data.rstrip().endswith("price")
    assert await line("audit", "product", "8") == 4


async def test_alerts_are_acknowledged_with_a_comment(line: Line, database: Database) -> None:
    """An open alert can be acknowledged; it stays until it is resolved."""
    number = await database.fetchval(
        "INSERT INTO tds_alerts (alert_type, severity, title, cause) VALUES ('a', 'error', 'b', 'c') RETURNING id"
    )
    assert await line("alert", "ack", str(number), "--comment", "on it") == 0
    [alert] = (await line.json("alert", "list"))["alerts"]
    assert (alert["acknowledged_by"], alert["comment"]) == ("tester", "on it")
    await database.execute("UPDATE tds_alerts SET resolved_at = now()")
    assert (await line.json("alert", "list"))["alerts"] == []
    assert len((await line.json("alert", "list", "--all"))["alerts"]) == 1
    assert await line("alert", "list", "--all") == 0
    assert await line("alert", "ack", str(number), "--comment", "late") == 4


async def test_breakers_are_shown_and_closed(line: Line, database: Database) -> None:
    """An open breaker is shown with its reason and can be closed by hand."""
    await database.execute(
        "INSERT INTO tds_upstreams (name, breaker_state, breaker_opened_at, breaker_reason, paused_until) "
        "VALUES ('books', 'open', now(), 'timeouts', now() + interval '1 minute')"
    )
    [upstream] = (await line.json("breaker", "list"))["upstreams"]
    assert (upstream["breaker"], upstream["reason"]) == ("open", "timeouts")
    assert await line("breaker", "list") == 0
    assert await line("breaker", "reset", "books") == 0
    assert await line("breaker", "reset", "nothing") == 4


async def test_tokens_are_made_listed_and_revoked(line: Line, database: Database) -> None:
    """A token is shown once and kept as a hash; names are unique among the living; a revoked name is free again."""
    made = await line.json("token", "create", "--name", "ops", "--role", "operator", "--expires", "90d")
    stored = await database.fetchval("SELECT digest FROM tds_tokens")
    assert made["token"].encode() not in stored
    assert await line("token", "create", "--name", "ops") == 5
    [listed] = (await line.json("token", "list"))["tokens"]
    assert (listed["name"], listed["role"], listed["created_by"]) == ("ops", "operator", "tester")
    assert await line("token", "list") == 0
    assert await line("token", "revoke", "ops") == 0
    assert await line("token", "revoke", "ops") == 4
    assert await line("token", "create", "--name", "ops") == 0
    assert line.data.startswith("tds_")
    assert await line("token", "create", "--name", "x", "--expires", "tomorrow") == 2


# --- init


async def test_init_copies_once(line: Line, tmp_path: Path) -> None:
    """A directory gets configuration, mappings and operating files; what is there is not replaced without --force."""
    target = tmp_path / "home"
    assert await line("init", str(target)) == 0
    assert (target / "tds.toml").read_bytes() == (ROOT / "tds.toml").read_bytes()
    assert (target / "config" / "entities" / "product.toml").is_file()
    (target / "tds.toml").write_text("mine")
    assert await line("init", str(target)) == 5
    assert (target / "tds.toml").read_text() == "mine"
    assert await line("init", str(target), "--force") == 0
    assert (target / "tds.toml").read_text() != "mine"


async def test_an_alert_is_shown_with_its_log(line: Line, database: Database) -> None:
    """What happened to it, who was told, and why nobody was."""
    [one] = await storing.keep(database, [Finding(alert_type="a", severity="error", cause="c", title="b")])
    assert await line("alert", "acknowledge", str(one.id), "--comment", "on it", "--expires", "2h") == 0
    shown = await line.json("alert", "show", str(one.id))
    assert [(event["kind"], event["actor"]) for event in shown["events"]] == [
        ("opened", ""),
        ("acknowledged", "tester"),
    ]
    assert shown["acknowledged_until"]
    assert await line("alert", "show", str(one.id)) == 0
    assert "on it" in line.data
    assert (await line.json("alert", "events", str(one.id)))["events"] == shown["events"]
    assert await line("alert", "events", str(one.id)) == 0
    assert await line("alert", "show", "4711") == 4
    row = await database.fetchrow("SELECT action, actor, reason FROM tds_audit_trail")
    assert tuple(row) == ("alert.acknowledge", "tester", "on it")


async def test_alerts_are_silenced_and_heard_again(line: Line, database: Database) -> None:
    """A silence says who, why and until when; silencing everything has to be said; both are audited."""
    made = await line.json("alert", "silence", "--type", "queue_depth", "--comment", "moving", "--expires", "1h")
    assert (made["author"], made["comment"]) == ("tester", "moving")
    [silence] = (await line.json("alert", "silences"))["silences"]
    assert silence["matchers"]["type"] == "queue_depth"
    assert await line("alert", "silences") == 0
    assert await line("alert", "unsilence", str(made["id"])) == 0
    assert await line("alert", "unsilence", str(made["id"])) == 4
    assert (await line.json("alert", "silences"))["silences"] == []
    assert len((await line.json("alert", "silences", "--all"))["silences"]) == 1
    assert await line("alert", "silence", "--comment", "x", "--expires", "1h") == 2
    assert await line("alert", "silence", "--all", "--comment", "x", "--expires", "1h") == 0
    actions = [row["action"] for row in await database.fetch("SELECT action FROM tds_audit_trail ORDER BY id")]
    assert actions == ["silence.create", "silence.expire", "silence.create"]


async def test_a_channel_is_tried_and_rules_are_shown(line: Line) -> None:
    """`alert test` sends at once and says why it could not; `alert rules` shows what is at work."""
    rule = '[alert.lag]\nmetric = "tds_queue_oldest_seconds"\nabove = 900\nfor = "5m"\n'
    channel = '[channel.hook]\ntype = "webhook"\nurl = "http://127.0.0.1:9/secretPath"\n'
    line.path.write_text(line.path.read_text() + rule + channel)
    assert await line("alert", "test", "log") == 0
    assert await line("alert", "test", "hook") == 1
    assert "hook: cannot be reached" in line.notes
    assert "secretPath" not in line.notes
    assert await line("alert", "test", "nothing") == 4
    assert (await line.json("alert", "rules"))["rules"]["lag"]["for"] == "5m"
    assert await line("alert", "rules") == 0
    assert "tds_queue_oldest_seconds" in line.data
