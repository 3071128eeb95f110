"""The verbs of the command line beside a running daemon, and without one."""

import json
import signal
from collections.abc import Callable
from functools import partial

import anyio
import asyncpg
import pytest
from fixtures.daemon import DaemonProcess, item, until

from actors.stage import command

pytestmark = pytest.mark.anyio

Daemons = Callable[..., DaemonProcess]


async def test_verbs_beside_a_running_daemon(database_dsn: str, daemons: Daemons) -> None:
    """Status, queue, dead letters and tokens are read from the database while the daemon works on it."""
    daemon = daemons(database_dsn)
    await daemon.start()
    poison = item(2)
    poison["item"]["rate"] = "not a number"
    assert (await daemon.webhook("products", item(1))).status_code == 200
    assert (await daemon.webhook("products", poison)).status_code == 200

    async def buried() -> bool:
        return json.loads((await daemon.run("dlq", "list", "--json"))[1])["total"] == 1

    await until(buried)
    status, shown = await daemon.run("status", "--json")
    assert (status, json.loads(shown)["status"]) == (0, "healthy")
    assert json.loads(shown)["completed_24h"] == 1
    [node] = json.loads(shown)["nodes"]
    assert (node["pid"], node["alive"]) == (daemon.process.pid, True)

    [letter] = json.loads((await daemon.run("dlq", "list", "--json"))[1])["dead_letters"]
    assert letter["source_entity_id"] == poison["item"]["item_id"]
    assert json.loads((await daemon.run("dlq", "retry", "--all", "--dry-run", "--json"))[1]) == {"would_be_retried": 1}
    assert json.loads((await daemon.run("dlq", "retry", str(letter["id"]), "--json"))[1]) == {"retried": 1}
    assert (await daemon.run("dlq", "retry", "999999"))[0] == 4
    assert (await daemon.run("dlq", "retry"))[0] == 2
    await until(buried)
    assert (await daemon.run("dlq", "discard", "--all", "--note", "a test"))[0] == 2
    status, shown = await daemon.run("dlq", "discard", "--all", "--note", "a test", "--yes", "--json")
    assert (status, json.loads(shown)) == (0, {"discarded": 1})
    assert (await daemon.run("dlq", "list"))[1].split()[0] == "id"


async def test_an_entity_can_be_held_back(database_dsn: str, daemons: Daemons) -> None:
    """A paused entity's webhooks are stored and wait; resumed, they are applied."""
    daemon = daemons(database_dsn)
    await daemon.start()
    assert (await daemon.run("queue", "pause", "product", "--reason", "stocktaking"))[0] == 0
    assert json.loads((await daemon.run("queue", "--json"))[1])["paused"] == {"product": "stocktaking"}
    assert (await daemon.webhook("products", item(1))).status_code == 200
    [waiting] = json.loads((await daemon.run("queue", "--json"))[1])["entities"]
    assert (waiting["entity_type"], waiting["pending"]) == ("product", 1)
    assert (await daemon.run("queue", "resume", "product"))[0] == 0
    assert (await daemon.run("queue", "resume", "product"))[0] == 4

    async def drained() -> bool:
        return not json.loads((await daemon.run("queue", "--json"))[1])["entities"]

    await until(drained)


async def test_a_token_opens_the_api_until_it_is_revoked(database_dsn: str, daemons: Daemons) -> None:
    """`token create` prints a bearer token that works; names are unique; a revoked one is worthless."""
    daemon = daemons(database_dsn)
    await daemon.start()
    status, shown = await daemon.run("token", "create", "--name", "ops", "--role", "operator", "--json")
    assert status == 0
    token = json.loads(shown)["token"]
    header = {"authorization": f"Bearer {token}"}
    assert (await daemon.http.get("/api/tree", headers=header)).status_code == 200
    assert (await daemon.run("token", "create", "--name", "ops"))[0] == 5
    [listed] = json.loads((await daemon.run("token", "list", "--json"))[1])["tokens"]
    assert (listed["name"], listed["role"]) == ("ops", "operator")
    assert token not in str(listed)
    assert (await daemon.run("token", "revoke", "ops"))[0] == 0
    assert (await daemon.run("token", "revoke", "ops"))[0] == 4
    assert (await daemon.run("token", "create", "--name", "ops"))[0] == 0


async def test_deliveries_are_listed_replayed_and_explained(database_dsn: str, daemons: Daemons) -> None:
    """What arrived, what it did to its record, and sending it through the queue again."""
    daemon = daemons(database_dsn)
    await daemon.start()

    async def applied(count: int) -> bool:
        return json.loads((await daemon.run("status", "--json"))[1])["completed_24h"] == count

    for version in (1, 2):
        assert (await daemon.webhook("products", item(1, version=version))).status_code == 200
        await until(partial(applied, version))
    record = item(1)["item"]["item_id"]
    listed = json.loads((await daemon.run("inbox", "list", "--record", record, "--json"))[1])["deliveries"]
    assert len(listed) == 2
    assert all(row["bytes"] > 0 and row["entity_type"] == "product" for row in listed)
    changes = json.loads((await daemon.run("audit", "product", record, "--json"))[1])["changes"]
    assert [change["action"] for change in changes] == ["update", "insert"]
    assert changes[0]["before"]["price"] != changes[0]["after"]["price"]
    assert (await daemon.run("audit", "product", "nothing"))[0] == 4
    assert json.loads((await daemon.run("inbox", "replay", str(listed[0]["id"]), "--json"))[1]) == {"enqueued": 1}
    await until(partial(applied, 3))
    assert len(json.loads((await daemon.run("audit", "product", record, "--json"))[1])["changes"]) == 2


async def test_alerts_and_breakers_are_handled_by_hand(database_dsn: str, daemons: Daemons) -> None:
    """An alert is acknowledged with a comment, a breaker is closed; what is not there is exit 4."""
    daemon = daemons(database_dsn)
    await daemon.start()
    connection = await asyncpg.connect(database_dsn)
    number = await connection.fetchval(
        "INSERT INTO tds_alerts (alert_type, severity, title, cause) VALUES ('a', 'error', 'b', 'c') RETURNING id"
    )
    await connection.close()
    assert (await daemon.run("alert", "ack", str(number), "--comment", "on it"))[0] == 0
    [alert] = json.loads((await daemon.run("alert", "list", "--json"))[1])["alerts"]
    assert (alert["acknowledged"], alert["comment"]) == (True, "on it")
    assert (await daemon.run("alert", "ack", "999", "--comment", "x"))[0] == 4

    async def known() -> bool:
        upstreams = json.loads((await daemon.run("breaker", "list", "--json"))[1])["upstreams"]
        return "oauth" in {upstream["upstream"] for upstream in upstreams}

    await until(known)
    assert (await daemon.run("breaker", "reset", "oauth"))[0] == 0
    assert (await daemon.run("breaker", "reset", "nothing"))[0] == 4


async def test_migrate_brings_an_empty_database_to_this_release(empty_dsn: str, daemons: Daemons) -> None:
    """`migrate` applies everything once, says what it did, and makes the ERP's tables only on request."""
    daemon = daemons(empty_dsn)
    assert (await daemon.run("status"))[0] == 3
    pending = json.loads((await daemon.run("migrate", "--status", "--json"))[1])["pending"]
    assert json.loads((await daemon.run("migrate", "--json"))[1])["applied"] == pending
    assert json.loads((await daemon.run("migrate", "--json", "--with-erp-tables"))[1])["applied"] == []
    assert json.loads((await daemon.run("migrate", "--json", "--with-erp-tables"))[1])["applied"] == []


async def test_verbs_without_a_daemon(database_dsn: str, daemons: Daemons) -> None:
    """Nobody works: status is degraded, a sync is refused with advice, check --connect still reaches the database."""
    daemon = daemons(database_dsn)
    status, shown = await daemon.run("status", "--json")
    assert (status, json.loads(shown)["status"]) == (3, "degraded")
    assert (await daemon.run("sync", "all"))[0] == 69
    assert (await daemon.run("sync", "prodcut"))[0] == 4
    assert (await daemon.run("sync", "--full", "--stock"))[0] == 2


async def test_schedules_are_listed_paused_run_and_backfilled(database_dsn: str, daemons: Daemons) -> None:
    """The verbs of a schedule work on its slots and runs, beside a daemon or without one."""
    daemon = daemons(
        database_dsn, more='[schedule.yearly]\ncron = "0 0 1 1 *"\nrun = "pull.full"\nargs = {entity = "user"}'
    )

    async def listed() -> dict[str, dict[str, str]]:
        rows = json.loads((await daemon.run("schedule", "list", "--json"))[1])["schedules"]
        return {row["schedule"]: row for row in rows}

    assert (await daemon.run("schedule", "pause", "yearly", "--reason", "closed"))[0] == 0
    assert ((await listed())["yearly"]["state"], (await listed())["yearly"]["next"]) == ("paused", None)
    assert (await daemon.run("schedule", "resume", "yearly"))[0] == 0
    assert (await daemon.run("schedule", "resume", "yearly"))[0] == 4
    assert (await daemon.run("schedule", "next", "yearli"))[0] == 4
    assert len(json.loads((await daemon.run("schedule", "next", "yearly", "--json"))[1])["slots"]) == 5
    since = ("--since", "2024-06-01")
    assert (await daemon.run("schedule", "backfill", "yearly", *since, "--dry-run"))[1].startswith("2 slots")
    assert (await daemon.run("schedule", "backfill", "yearly", *since))[1].startswith("2 of 2")
    assert (await daemon.run("schedule", "backfill", "yearly", *since))[1].startswith("0 of 2")
    slots = json.loads((await daemon.run("schedule", "history", "yearly", "--json"))[1])["slots"]
    assert [slot["outcome"] for slot in slots] == ["late", "late"]
    assert (await daemon.run("schedule", "run", "yearly"))[1].startswith("run ")
    assert (await daemon.run("schedule", "run", "auto_healing"))[0] == 1


async def test_entities_explain_themselves(database_dsn: str, daemons: Daemons) -> None:
    """Each entity says where it comes from and whether its tables can take it."""
    daemon = daemons(database_dsn)
    assert (await daemon.run("migrate"))[0] == 0
    status, shown = await daemon.run("entity", "check", "product")
    assert (status, "products is not there" in shown) == (1, True)
    assert (await daemon.run("migrate", "--with-erp-tables"))[0] == 0
    assert (await daemon.run("entity", "check"))[0] == 0
    columns = json.loads((await daemon.run("entity", "explain", "product", "--json"))[1])["columns"]
    assert {"products", "product_stock"} == {column["table"] for column in columns}
    assert len(json.loads((await daemon.run("entity", "list", "--json"))[1])["entities"]) == 13
    assert (await daemon.run("entity", "explain", "prodcut"))[0] == 4


async def test_wrong_configurations_are_exit_78(database_dsn: str, daemons: Daemons) -> None:
    """A daemon with a broken configuration does not start, whatever is broken."""
    for more in ("[htpp]", "[schedule.x]\nevery = '1h'\nrun = 'pull.fulll'", "[schedule.x]\ncron = '61 * * * *'"):
        daemon = daemons(database_dsn, more=more)
        assert (await daemon.run("check"))[0] == 78
        await daemon.start(ready=False)
        with anyio.fail_after(20):
            assert await daemon.process.wait() == 78


async def test_a_daemon_ends_with_0_on_sigterm_and_sigint(database_dsn: str, daemons: Daemons) -> None:
    """Both signals stop the daemon in order, and its log says so to the last line."""
    for number in (signal.SIGTERM, signal.SIGINT):
        daemon = daemons(database_dsn)
        await daemon.start()
        assert await daemon.stop(number) == 0
        assert daemon.lines()[-1]["event"] == "process.stopped"


async def test_help_is_there_without_a_configuration() -> None:
    """Every verb explains itself, with no file and no database."""
    for words in (["--help"], ["run", "--help"], ["dlq", "retry", "--help"], ["config", "schema"]):
        done = await anyio.run_process(command(*words), check=False, cwd="/")
        assert done.returncode == 0
        assert done.stdout
