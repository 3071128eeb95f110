"""Comparing and repairing with a real daemon and a real sandbox, by the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fixtures.daemon import DaemonProcess, until
from fixtures.sandbox import Sandbox

from tds_runtime.database import Database, Options

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_what_somebody_edited_is_found_and_put_right(
    database_dsn: str, daemons: Callable[..., DaemonProcess], sandbox: Sandbox
) -> None:
    """The running daemon hears of the wish within a second, compares, repairs, and then both sides are equal."""
    announced = sandbox.announced
    names = ("organization_id", "client_id", "client_secret", "refresh_token", "accounts", "api")
    daemon = daemons(database_dsn, source={name: getattr(announced, name) for name in names})
    await daemon.start()
    assert (await daemon.run("sync", "user", "--full"))[0] == 0
    async with Database(Options(dsn=database_dsn)).opened() as database:
        await database.execute("UPDATE users SET name = 'by hand'")
        status, _ = await daemon.run("reconcile", "user")
        assert status == 3
        status, shown = await daemon.run("reconcile", "user", "--repair", "--yes", "--reason", "a test", "--json")
        assert status == 3
        report: Any = json.loads(shown)
        assert report["entities"][0]["repairs"] == 25

        async def repaired() -> bool:
            return await database.fetchval("SELECT count(*) = 0 FROM users WHERE name = 'by hand'")

        await until(repaired)
    assert (await daemon.run("reconcile", "user"))[0] == 0
    assert await daemon.stop() == 0
