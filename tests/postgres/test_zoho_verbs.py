"""`zoho webhooks` against the sandbox: what it would change, what it changes, what it finds wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fixtures.line import Line
from fixtures.sandbox import Sandbox

pytestmark = pytest.mark.anyio

SECRET = "aSecretForTheTests2026"
ADDRESS = "https://sync.example.com"
SETTINGS = "/books/v3/settings"


def lined(directory: Path, dsn: str, sandbox: Sandbox, *, secret: str = SECRET, more: str = "") -> Line:
    said = sandbox.announced
    return Line(
        directory,
        dsn,
        more=f"""
[webhooks]
secrets = ["{secret}"]
[zoho]
organization_id = "{said.organization_id}"
client_id = "{said.client_id}"
client_secret = "{said.client_secret}"
refresh_token = "{said.refresh_token}"
accounts_url = "{said.accounts}"
api_url = "{said.api}"
calls_per_minute = 0
{more}
""",
    )


@pytest.fixture
def line(tmp_path: Path, database_dsn: str, sandbox: Sandbox) -> Line:
    return lined(tmp_path, database_dsn, sandbox)


def settings(sandbox: Sandbox, module: str) -> list[dict[str, Any]]:
    return sandbox.get(f"{SETTINGS}/{module}").json()[module]


def writes(sandbox: Sandbox) -> int:
    """Calls that changed something at the source since the last time."""
    found = sum(count for call, count in sandbox.calls().items() if not call.startswith("GET") and "oauth" not in call)
    sandbox.control("DELETE", "/calls")
    return found


async def test_a_plan_changes_nothing(line: Line, sandbox: Sandbox) -> None:
    """Everything that would be made is listed, with what is polled, and nothing is sent."""
    shown = await line.json("zoho", "webhooks", "plan", "--url", ADDRESS)
    assert {one["change"] for one in shown["webhooks"]} == {"create"}
    assert {one["part"] for one in shown["webhooks"]} == {"webhook", "rule"}
    assert shown["polled"] == ["branch", "price_list", "user"]
    assert writes(sandbox) == 0
    assert settings(sandbox, "webhooks") == []


async def test_an_installation_is_done_once(line: Line, sandbox: Sandbox) -> None:
    """What a plan lists is made; the second time all is right and nothing is sent."""
    planned = await line.json("zoho", "webhooks", "plan", "--url", ADDRESS)
    assert await line("zoho", "webhooks", "install", "--url", ADDRESS) == 0
    assert writes(sandbox) == len(planned["webhooks"]) == 42
    assert len(settings(sandbox, "webhooks")) == len(settings(sandbox, "workflows")) == 21
    assert await line("zoho", "webhooks", "install", "--url", ADDRESS) == 0
    assert "All is as it should be." in line.notes
    assert "branch, price_list, user: polled" in line.notes
    assert await line("zoho", "webhooks", "verify", "--url", ADDRESS) == 0
    assert writes(sandbox) == 0


async def test_what_somebody_changed_is_named_and_mended(line: Line, sandbox: Sandbox) -> None:
    """A missing webhook, another address, another secret and a rule that was switched off: told, then mended alone."""
    await line("zoho", "webhooks", "install", "--url", ADDRESS)
    hooks = {one["webhook_name"]: one["webhook_id"] for one in settings(sandbox, "webhooks")}
    rules = {one["workflow_name"]: one["workflow_id"] for one in settings(sandbox, "workflows")}
    sandbox.call("DELETE", f"{SETTINGS}/webhooks/{hooks['tds bills changed']}")
    moved = {"url": "https://old.example.com/hook", "secret": "someOtherSecret99"}
    sandbox.call("PUT", f"{SETTINGS}/webhooks/{hooks['tds invoices changed']}", json=moved)
    sandbox.call("POST", f"{SETTINGS}/workflows/{rules['tds products deleted']}/inactive")
    writes(sandbox)
    assert await line("zoho", "webhooks", "verify", "--url", ADDRESS) == 1
    assert writes(sandbox) == 0
    said = line.data
    assert "missing" in said
    assert "url is https://old.example.com/hook instead of https://sync.example.com/api/tds/webhooks/invoices" in said
    assert "secret is another" in said
    assert "is inactive" in said
    assert await line("zoho", "webhooks", "install", "--url", ADDRESS) == 0
    # the bill's webhook and its rule, the invoice's webhook, the product's rule and its switch
    assert writes(sandbox) == 5
    assert await line("zoho", "webhooks", "verify", "--url", ADDRESS) == 0


async def test_what_others_made_is_left_alone(line: Line, sandbox: Sandbox) -> None:
    """A webhook and a rule of another name are not looked at, whatever they do."""
    made = sandbox.call("POST", f"{SETTINGS}/webhooks", json={"webhook_name": "theirs", "url": "http://127.0.0.1:9"})
    await line("zoho", "webhooks", "install", "--url", ADDRESS)
    theirs = [one for one in settings(sandbox, "webhooks") if one["webhook_name"] == "theirs"]
    assert theirs == [made.json()["webhook"]]


async def test_no_secret_is_ever_printed(line: Line, sandbox: Sandbox) -> None:
    """Neither the one that is set nor the one that is found, in tables, JSON or words."""
    said = ""
    for words in (("install",), ("verify",), ("plan", "--json")):
        await line("zoho", "webhooks", *words, "--url", ADDRESS)
        said += line.data + line.notes
        for hook in settings(sandbox, "webhooks"):
            sandbox.call("PUT", f"{SETTINGS}/webhooks/{hook['webhook_id']}", json={"secret": "someOtherSecret99"})
    assert "secret is another" in said
    for secret in (SECRET, "someOtherSecret99", sandbox.announced.client_secret, sandbox.announced.refresh_token):
        assert secret not in said


async def test_the_address_is_said_or_configured(tmp_path: Path, database_dsn: str, sandbox: Sandbox) -> None:
    """The first of [http] hosts over https; without any, and with nonsense, the verb says what to do."""
    plan = ("zoho", "webhooks", "plan")
    line = lined(tmp_path, database_dsn, sandbox, more='[http]\nhosts = ["erp.example.com"]')
    assert (await line.json(*plan))["webhooks"][0]["about"].startswith("https://erp.example.com/api/tds/webhooks/")
    line = lined(tmp_path, database_dsn, sandbox)
    assert await line(*plan) == 2
    assert "--url, or [http] hosts" in line.notes
    assert await line(*plan, "--url", "sync.example.com") == 2


async def test_what_the_source_would_refuse_is_refused_here(
    tmp_path: Path, database_dsn: str, sandbox: Sandbox
) -> None:
    """A secret with other characters than letters and digits, and none at all."""
    line = lined(tmp_path, database_dsn, sandbox, secret="with-dashes-in-it")
    assert await line("zoho", "webhooks", "install", "--url", ADDRESS) == 2
    assert "12 to 50 letters and digits" in line.notes
    assert "with-dashes-in-it" not in line.notes
    line = lined(tmp_path, database_dsn, sandbox)
    line.path.write_text(line.path.read_text().replace(f'secrets = ["{SECRET}"]', "secrets = []"))
    assert await line("zoho", "webhooks", "install", "--url", ADDRESS) == 2
    assert "[webhooks] secrets" in line.notes
    assert writes(sandbox) == 0


async def test_a_token_without_the_scope_is_named(line: Line, sandbox: Sandbox) -> None:
    """A token that may read records only is refused by the source; the verb names the scope that it lacks."""
    sandbox.control("POST", "/oauth", scope="ZohoBooks.contacts.READ")
    assert await line("zoho", "webhooks", "verify", "--url", ADDRESS) == 1
    assert "ZohoBooks.settings.ALL" in line.notes
