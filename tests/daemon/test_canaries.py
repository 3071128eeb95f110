"""Secrets that were planted wherever one can come in are nowhere where something comes out."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import anyio
import pytest
from fixtures.daemon import NOWHERE, DaemonProcess, item, until
from fixtures.upstream import Upstream, answer

from actors.stage import command

pytestmark = pytest.mark.anyio

CANARIES = {
    place: f"canary/{place}+of=this&test"
    for place in (
        "webhook-secret", "webhook-token", "client-secret", "refresh-token", "api-token", "dsn", "channel-secret",
        "channel-url", "bearer-header", "signature-header", "cookie-header", "query-token", "body-field",
    )
}  # fmt: skip
CONFIGURED = {place: canary for place, canary in CANARIES.items() if "header" not in place and "query" not in place}
MORE = """
[api.tokens.robot]
role = "operator"
token = "{api-token}"
[alerter]
every = "200ms"
[channel.hook]
type = "webhook"
url = "{sink}/hook?key={quoted}"
secret = "{channel-secret}"
[route.all]
channels = ["hook"]
group_wait = "0s"
[alert.login]
event = "login.refused"
title = "Refused from {{client}} at {{path}}"
[alert.buried]
event = "task.buried"
title = "Buried {{record}}: {{reason}}"
"""


def spellings(canary: str) -> Iterator[str]:
    yield from (canary, quote(canary, safe=""), quote_plus(canary), json.dumps(canary)[1:-1])
    yield base64.b64encode(canary.encode()).decode().rstrip("=")


def found(text: str) -> list[str]:
    return [place for place, canary in CANARIES.items() for one in spellings(canary) if one in text]


async def test_canaries_are_found_nowhere(daemons: Callable[..., DaemonProcess], database_dsn: str) -> None:
    """Thirteen, by configuration, headers, query, bodies, DSN and exceptions; none in log, metrics, answers, alerts."""
    async with Upstream().serving() as zoho, Upstream().serving() as sink:
        zoho.token = lambda _: answer({"error": f"unknown {CANARIES['refresh-token']} {CANARIES['client-secret']}"})
        daemon = plant(daemons, database_dsn, zoho, sink)
        await daemon.start()
        await provoke(daemon)

        async def told() -> bool:
            return b"Refused" in b"".join(one.body for one in sink.asked)

        await until(told)
        outputs = await everything(daemon)
        outputs["letters"] = b"\n".join(one.body for one in sink.asked).decode()
        outputs["log"] = daemon.log.read_text()
    assert {name: leaks for name, text in outputs.items() if (leaks := found(text))} == {}
    assert "try ********" in outputs["/api/bff/tds/jobs"], "nobody quoted a secret"
    assert "login.refused" in outputs["log"]
    assert len(outputs) > 30


def plant(daemons: Callable[..., DaemonProcess], dsn: str, zoho: Upstream, sink: Upstream) -> DaemonProcess:
    """A daemon whose every secret is a canary."""
    source = {
        **NOWHERE,
        "client_secret": CANARIES["client-secret"],
        "refresh_token": CANARIES["refresh-token"],
        "accounts": zoho.url,
        "api": zoho.url,
    }
    more = MORE.format(sink=sink.url, quoted=quote(CANARIES["channel-url"], safe=""), **CANARIES)
    daemon = daemons(
        dsn.replace("postgres@", f"postgres:{quote(CANARIES['dsn'], safe='')}@", 1), source=source, more=more
    )
    webhooks = '[webhooks]\ntokens = ["{webhook-token}", "{body-field}"]\n'.format(**CANARIES)
    text = daemon.configuration.read_text().replace("[webhooks]\n", webhooks)
    daemon.configuration.write_text(text.replace("secrets = [", f'secrets = ["{CANARIES["webhook-secret"]}", '))
    return daemon


async def provoke(daemon: DaemonProcess) -> None:
    """Make everything speak that could quote a secret."""
    robot = {"Authorization": f"Bearer {CANARIES['api-token']}".encode()}
    wrong = {
        "Authorization": f"Bearer {CANARIES['bearer-header']}".encode(),
        "Cookie": f"session={CANARIES['cookie-header']}".encode(),
    }
    assert (await daemon.http.get("/api/tree", headers=wrong)).status_code == 401
    forged = {"x-zoho-webhook-signature": CANARIES["signature-header"].encode()}
    path = "/api/tds/webhooks/products"
    assert (await daemon.http.post(path, json=item(1), headers=forged)).status_code == 401
    token = {"token": CANARIES["query-token"]}
    assert (await daemon.http.post(path, params=token, json=item(1))).status_code == 401
    static = {"token": CANARIES["webhook-token"]}
    poison = item(2, rate=f"{CANARIES['client-secret']} {CANARIES['dsn']}", api_key=CANARIES["body-field"])
    assert (await daemon.http.post(path, params=static, json=poison)).status_code == 200
    assert (await daemon.http.post("/api/zoho/bulk-sync/products", headers=robot)).status_code == 202

    async def buried() -> bool:
        return (await daemon.http.get("/api/bff/tds/dead-letter", headers=robot)).json()["total"] == 1

    await until(buried)
    quoting = {"reason": f"try {CANARIES['client-secret']}", "error_code": "none of this name"}
    assert (await daemon.http.post("/api/bff/tds/dead-letter/retry", headers=robot, json=quoting)).status_code == 202

    async def refused() -> bool:
        return any(line.get("actor") == "tds/work/pull" or "oauth" in str(line) for line in daemon.lines())

    await until(refused)


async def everything(daemon: DaemonProcess) -> dict[str, str]:
    """What every route that reads answers, and what the command line prints."""
    robot = {"Authorization": f"Bearer {CANARIES['api-token']}".encode()}
    document = (await daemon.http.get("/openapi.json")).json()
    outputs: dict[str, str] = {}
    for path, operations in document["paths"].items():
        if "get" in operations:
            response = await daemon.http.get(path.replace("{id}", "1"), headers=robot)
            outputs[path] = f"{response.headers}\n{response.text}"
    for words in ("config show --origin", "config show --json", "dlq list --json"):
        outputs[words] = await typed(daemon.configuration, *words.split())
    away = f"postgresql://postgres:{quote(CANARIES['dsn'], safe='')}@127.0.0.1:9/none"
    outputs["unreachable"] = await typed(daemon.configuration, "check", "--connect", TDS_DATABASE__DSN=away)
    return outputs


async def typed(configuration: Path, *words: str, **environment: Any) -> str:
    """Everything that a verb prints."""
    done = await anyio.run_process(
        command(*words, "--config", str(configuration)), check=False, env={**os.environ, **environment}
    )
    return done.stdout.decode() + done.stderr.decode()
