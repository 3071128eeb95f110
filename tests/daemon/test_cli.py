"""The verbs of the command line beside a running daemon, and without one."""

import json
import signal
from collections.abc import Callable

import anyio
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


async def test_migrate_brings_an_empty_database_to_this_release(empty_dsn: str, daemons: Daemons) -> None:
    """`migrate` applies everything once, says what it did, and makes the ERP's tables only on request."""
    daemon = daemons(empty_dsn)
    assert (await daemon.run("status"))[0] == 3
    pending = json.loads((await daemon.run("migrate", "--status", "--json"))[1])["pending"]
    assert json.loads((await daemon.run("migrate", "--json"))[1])["applied"] == pending
    assert json.loads((await daemon.run("migrate", "--json", "--with-erp-tables"))[1])["applied"] == []
    assert json.loads((await daemon.run("migrate", "--json", "--with-erp-tables"))[1])["applied"] == []


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
