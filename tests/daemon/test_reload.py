"""A running daemon that is told, by SIGHUP, to read its configuration again."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import httpx2
import msgspec
import pytest
from fixtures.daemon import SECRET, DaemonProcess, item, until
from fixtures.upstream import Upstream

pytestmark = pytest.mark.anyio


def said(daemon: DaemonProcess, event: str) -> list[dict[str, Any]]:
    return [line for line in daemon.lines() if line["event"] == event]


async def reload(daemon: DaemonProcess, text: str, answer: str) -> dict[str, Any]:
    """Write the configuration, send the signal, and wait for what the log says of it."""
    daemon.configuration.write_text(text)
    before = len(said(daemon, answer))
    os.kill(daemon.process.pid, signal.SIGHUP)

    async def answered() -> bool:
        return len(said(daemon, answer)) > before

    await until(answered)
    return said(daemon, answer)[-1]


async def test_a_good_configuration_is_applied_and_a_broken_one_is_not(
    daemons: Callable[..., DaemonProcess], database_dsn: str
) -> None:
    """Secrets rotate without a restart; a broken file is named with its line and leaves everything as it was."""
    daemon = daemons(database_dsn)
    good = daemon.configuration.read_text()
    await daemon.start()
    rotated = good.replace(f'["{SECRET}"]', f'["{SECRET}", "theNextSecretOfTheTests"]')
    applied = await reload(daemon, rotated, "config.applied")
    assert (applied["restarted"], applied["added"]) == (["tds/work/listener"], [])
    assert (await daemon.webhook("products", item(1), secret="theNextSecretOfTheTests")).status_code == httpx2.codes.OK
    assert (await daemon.webhook("products", item(2))).status_code == httpx2.codes.OK

    refused = await reload(daemon, rotated + "\n[queue]\nbatc = 5\n", "config.refused")
    assert refused["line"] == len(rotated.splitlines()) + 3
    assert "did you mean batch?" in refused["reason"]
    assert (await daemon.webhook("products", item(3))).status_code == httpx2.codes.OK

    waiting = await reload(daemon, rotated + '\n[runtime]\ngrace = "9s"\n', "config.applied")
    assert waiting["waiting_for_restart"] == ["runtime"]
    assert waiting["restarted"] == []
    assert await daemon.stop() == 0


async def test_a_schedule_of_a_reload_is_kept_from_then_on(
    daemons: Callable[..., DaemonProcess], database_dsn: str
) -> None:
    """A new schedule decides its slots without a restart of the process."""
    daemon = daemons(database_dsn)
    await daemon.start()
    more = '\n[schedule.soon]\nevery = "1s"\nrun = "heal"\n'
    applied = await reload(daemon, daemon.configuration.read_text() + more, "config.applied")
    assert "tds/work/ticker" in applied["restarted"]

    async def ran() -> bool:
        _, text = await daemon.run("schedule", "history", "soon", "--json")
        return any(slot["outcome"] == "ran" for slot in msgspec.json.decode(text)["slots"])

    await until(ran)
    assert await daemon.stop() == 0


ALERTING = """
[alerter]
every = "200ms"
[channel.hook]
type = "webhook"
url = "{url}/hook"
[route.all]
channels = ["hook"]
group_wait = "0s"
[alert.refused]
event = "webhook.refused"
key = ["route"]
keep_firing = "1h"
title = "{title} on {{route}}"
"""


async def test_a_reload_with_other_rules_goes_on_with_what_fires(
    daemons: Callable[..., DaemonProcess], database_dsn: str
) -> None:
    """A line of the log becomes a letter; new words for the rule restart the alerter alone and tell nothing again."""
    async with Upstream().serving() as sink:
        daemon = daemons(database_dsn, more=ALERTING.format(url=sink.url, title="Refused"))
        await daemon.start()
        assert (await daemon.webhook("products", item(1), secret="notTheSecretOfAnybody")).status_code == 401

        async def told() -> bool:
            return bool(sink.asked)

        await until(told)
        first = msgspec.json.decode(sink.asked[0].body)
        assert first["subject"] == "[warning] Refused on products"
        reworded = daemon.configuration.read_text().replace("Refused on", "Turned away on")
        applied = await reload(daemon, reworded, "config.applied")
        assert set(applied["restarted"]) == {"tds/work/alerter"}
        number = first["alerts"][0]["id"]
        shown: dict[str, Any] = {}

        async def renewed() -> bool:
            assert (await daemon.webhook("products", item(1), secret="notTheSecretOfAnybody")).status_code == 401
            code, text = await daemon.run("alert", "show", str(number), "--json")
            shown.update(msgspec.json.decode(text))
            return code == 0 and shown["title"].startswith("Turned away")

        await until(renewed)
        assert shown["occurrences"] > 1
        assert [event["kind"] for event in shown["events"]] == ["opened", "told"]
        assert len(sink.asked) == 1
        assert await daemon.stop() == 0
