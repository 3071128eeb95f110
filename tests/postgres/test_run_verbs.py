"""`runs`: what was pulled, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
from fixtures.line import Line

from tds_runtime import running, runs
from tds_runtime.database import Database
from tds_runtime.running import Cost, Step

pytestmark = pytest.mark.anyio


async def test_runs_are_shown_with_cost_and_log(database: Database, database_dsn: str, tmp_path: Path) -> None:
    """The list has counts, calls, bytes and duration of each; one run has its log beside; an unknown one is exit 4."""
    async with database.transaction() as connection:
        run_id = await runs.request(connection, "user", "full", "test")
    [run] = await running.claim(database, "this", 1)
    await running.log(database, run, "info", "started", attempt=1)
    async with database.transaction() as connection:
        step = Step(position={"page": 2}, listed=25, unchanged=25, cost=Cost(calls=2, bytes=700))
        await running.advance(connection, run, step)
        await running.finish_listing(connection, run)
    await running.spend(database, {run_id: Cost(calls=1, bytes=50), run_id + 1: Cost(calls=9, bytes=9)})
    ended = await running.complete(database, run)
    assert (ended.calls, ended.bytes) == (3, 750)
    line = Line(tmp_path, database_dsn)
    [listed] = (await line.json("runs", "list", "--entity", "user"))["runs"]
    assert (listed["calls"], listed["bytes"], listed["listed"], listed["status"]) == (3, 750, 25, "completed")
    assert (await line.json("runs", "list", "--kind", "stock"))["runs"] == []
    shown = await line.json("runs", "show", str(run_id))
    assert [one["event"] for one in shown["log"]] == ["started"]
    assert await line("runs", "show", str(run_id)) == 0
    assert {"calls", "750", "started", "seconds"} <= set(line.data.split())
    assert await line("runs", "list") == 0
    assert await line("runs", "show", "99") == 4


async def test_a_step_that_is_repeated_costs_nothing(database: Database) -> None:
    """A step whose commit got no answer is written again, and counted once."""
    async with database.transaction() as connection:
        run_id = await runs.request(connection, "user", "full", "test")
    [run] = await running.claim(database, "this", 1)
    step = Step(position={"page": 2}, cost=Cost(calls=2, bytes=700))
    for _ in range(2):
        async with database.transaction() as connection:
            await running.advance(connection, run, step)
    found = await runs.read(database, run_id)
    assert found is not None
    assert (found.calls, found.bytes, found.pages) == (2, 700, 1)


async def test_a_run_of_everything_costs_what_its_runs_cost(database: Database) -> None:
    """Calls and bytes are added up like all the other counts."""
    async with database.transaction() as connection:
        parent = await runs.request(connection, runs.EVERYTHING, "full", "test")
    [run] = await running.claim(database, "this", 1)
    async with database.transaction() as connection:
        await running.expand(connection, run, ["user", "branch"])
    for part in await running.claim(database, "this", 5):
        async with database.transaction() as connection:
            await running.advance(connection, part, Step(position={"page": 2}, cost=Cost(calls=2, bytes=10)))
            await running.finish_listing(connection, part)
        await running.complete(database, part)
    await running.close_parents(database)
    found = await runs.read(database, parent)
    assert found is not None
    assert (found.status, found.calls, found.bytes) == ("completed", 4, 20)
