"""The verbs of `reconcile` in this process, with a real database, a real sandbox and the actors that answer them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fixtures.comparing import Comparing
from fixtures.line import Line
from fixtures.sandbox import Sandbox

from actors import reports
from actors.commands import reconcile
from tds_runtime.database import Database

pytestmark = pytest.mark.anyio


class Verbs(Line):
    """The command line of `reconcile`; what a report says of a failure is data too."""

    async def __call__(self, *words: str) -> int:
        return await super().__call__("reconcile", *words)

    async def json(self, *words: str) -> Any:
        await self(*words, "--json")
        return json.loads(self.data)


@pytest.fixture
def line(tmp_path: Path, database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> Verbs:
    monkeypatch.setattr(reconcile, "_POLL", 0.05)
    return Verbs(tmp_path, database_dsn)


@pytest.fixture
async def users(database: Database, sandbox: Sandbox, anyio_backend: str) -> AsyncIterator[Comparing]:
    """Twenty-five users, in step with the source, and somebody who compares them."""
    async with Comparing(database, sandbox, names=["user"]).running() as works:
        await works.synced()
        async with works.reconciling():
            yield works


async def test_what_matches_is_0_and_what_does_not_is_3(line: Verbs, users: Comparing) -> None:
    """The exit code says whether everything is above the threshold; the table says what is not."""
    assert await line("user") == 0
    assert "100.00" in line.data
    await users.database.execute(
        "UPDATE users SET name = 'x' || name WHERE zoho_user_id IN (SELECT zoho_user_id FROM users LIMIT 3)"
    )
    assert await line("user") == 3
    assert "88.00" in line.data
    shown = await line.json("user", "--counts")
    assert (shown["report"]["match_percentage"], shown["entities"][0]["depth"]) == (100.0, "counts")


async def test_a_report_is_read_down_to_its_columns(line: Verbs, users: Comparing) -> None:
    """Both sides, the records, and what each column says on both sides; filters leave the rest out."""
    [record] = await users.column(
        "UPDATE users SET name = 'by hand' WHERE zoho_user_id = (SELECT min(zoho_user_id) FROM users) "
        "RETURNING zoho_user_id"
    )
    number = str((await line.json("user"))["report"]["id"])
    assert await line("report", number) == 0
    assert record in line.data
    assert "by hand" in line.data
    [finding] = (await line.json("report", number, "--record", record))["findings"]
    assert finding["differences"]["name"]["local"] == "by hand"
    assert (await line.json("report", number, "--kind", "extra"))["findings"] == []
    assert (await line.json("report", number, "--after", f"user/{record}"))["findings"] == []
    assert await line("report", "999") == 4
    assert await line("report", number, "--kind", "odd") == 2
    assert (await line.json("list"))["reports"][0]["id"] == int(number)


async def test_a_repair_is_confirmed_planned_or_done(line: Verbs, users: Comparing) -> None:
    """Without --yes nobody answers here and nothing is done; a dry run counts; --yes repairs and says who and why."""
    await users.database.execute("DELETE FROM users WHERE zoho_user_id = (SELECT min(zoho_user_id) FROM users)")
    assert await line("user", "--repair") == 2
    assert "fetch 1 records again" in line.notes
    assert await line("user", "--repair", "--dry-run") == 0
    assert "Nothing was changed" in line.notes
    assert await users.column("SELECT count(*) FROM users") == [24]
    assert await line("user", "--repair", "--yes", "--reason", "lost rows") == 0
    await users.drained()
    assert await users.column("SELECT count(*) FROM users") == [25]
    rows = await users.database.fetch(
        "SELECT action, actor, reason FROM tds_audit_trail WHERE action LIKE 'reconc%' ORDER BY id"
    )
    assert [tuple(row) for row in rows] == [
        ("reconciliation.request", "tester", "lost rows"), ("reconciliation.repair", "tester", "lost rows"),
    ]  # fmt: skip
    assert await line("user", "--repair", "--counts") == 2


async def test_what_cannot_be_asked_for_is_refused(line: Verbs, database: Database) -> None:
    """Unknown entities with a hint; without a daemon there is nobody who could compare."""
    assert await line("usr") == 4
    assert "did you mean user?" in line.notes
    assert await line("user") == 69
    assert "tds-runtime run" in line.notes


async def test_a_report_is_cancelled_once(line: Verbs, database: Database) -> None:
    """Who and why stay with it; what has ended cannot be cancelled."""
    async with database.transaction() as connection:
        number = str(await reports.request(connection, "user", "tester"))
    assert await line("cancel", number, "--reason", "enough") == 0
    found = await reports.read(database, int(number))
    assert found is not None
    assert found.error_message == "tester: enough"
    assert await line("cancel", number) == 5
    assert await line("report", number) == 1


async def test_the_tables_are_validated_by_themselves(line: Verbs, users: Comparing) -> None:
    """Without a source: 0 when all is as the mapping demands, 3 and the rows when it is not."""
    await users.database.execute("UPDATE users SET name = zoho_user_id")  # people have namesakes
    assert await line("validate", "user") == 0
    await users.database.execute(
        "UPDATE users SET email = 'BIG@x.example', name = 'Twice' "
        "WHERE zoho_user_id IN (SELECT zoho_user_id FROM users LIMIT 2)"
    )
    assert await line("validate", "user", "--limit", "1") == 3
    assert "email: has capitals" in line.data
    assert "--kind integrity --after" in line.notes
    shown = await line.json("validate", "user", "--kind", "duplicates")
    assert set(shown) == {"duplicates"}
    [twice] = shown["duplicates"]["items"]
    assert len(twice["records"]) == 2
    assert await line("validate", "user", "--kind", "odd") == 2
