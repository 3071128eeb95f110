"""Record state and audit trail against a real server."""

from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from fixtures.documents import NOON

from tds_runtime import records, sql
from tds_runtime.database import Database
from tds_runtime.records import Audit, Change, State

pytestmark = pytest.mark.anyio

FULL = State(
    variant="vendor",
    modified_at=NOON,
    observed_at=NOON + timedelta(seconds=1),
    facets={"list": "aa", "lines": "bb"},
    current=frozenset({"list"}),
)


async def write(database: Database, states: dict[str, State], *changes: Change) -> None:
    async with database.transaction() as connection:
        await records.write(connection, "product", states, changes)


async def test_states_come_back_as_they_were_written(database: Database) -> None:
    """Every field survives, an empty state too, and other entities' records are not met."""
    bare = State(tombstoned_at=NOON)
    await write(database, {"2": FULL, "1": bare})
    async with database.transaction() as connection:
        assert await records.lock(connection, "product", ["1", "2", "3"]) == {"1": bare, "2": FULL}
        assert await records.known(connection, "invoice", ["1", "2"]) == {}
        await records.write(connection, "product", {}, [])
        await records.write(connection, "product", {"1": FULL}, [])
        assert await records.known(connection, "product", ["1"]) == {"1": FULL}


async def test_the_audit_trail_keeps_what_it_is_given(database: Database) -> None:
    """Before and after are kept as JSON, with who, why and when; ids rise in the order of writing."""
    line = Audit(
        source_entity_id="1", action="update", local_id="7", source_modified_at=NOON, task_id=5, run_id=6,
        correlation_id="c", reason="r",
    )  # fmt: skip
    removal = Audit(source_entity_id="1", action="delete")
    await write(database, {}, Change(line, '{"price":1.50}', '{"price":2}'), Change(removal))
    newest, oldest = await database.fetch(sql.load("records/history"), "product", "1", None, 10)
    assert (newest["action"], newest["before"], newest["after"]) == ("delete", None, None)
    assert tuple(oldest)[2:] == (
        "update", "7", '{"price": 1.50}', '{"price": 2}', NOON, 5, 6, "c", "tds-runtime", "r",
    )  # fmt: skip
    older = await database.fetch(sql.load("records/history"), "product", "1", newest["id"], 10)
    assert [row["id"] for row in older] == [oldest["id"]]


async def test_forgotten_content_is_written_again(database: Database) -> None:
    """Forgetting drops hashes and keeps versions, so that an equal pull is no longer dropped."""
    await write(database, {"1": FULL, "2": FULL})
    async with database.transaction() as connection:
        assert await records.forget(connection, "product", ["1", "9"]) == 1
        state = (await records.known(connection, "product", ["1"]))["1"]
    assert (state.modified_at, state.facets, state.current) == (NOON, {}, frozenset())
    assert not state.holds(NOON, {"list": "aa"})


async def test_a_locked_record_is_waited_for(database: Database) -> None:
    """Two transactions that write one record do so one after the other."""
    await write(database, {"1": FULL})
    async with database.transaction() as one, database.transaction() as other:
        await records.lock(one, "product", ["1"])
        await other.execute("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(asyncpg.LockNotAvailableError):
            async with other.savepoint():
                await records.lock(other, "product", ["1"])


async def test_months_are_made_ahead_and_dropped_behind(database: Database) -> None:
    """Partitions exist for this month and the next three; making them again makes none, old ones go whole."""
    assert await database.fetchval("SELECT tds_create_audit_partitions()") == 0
    assert await database.fetchval("SELECT tds_create_audit_partitions(5)") == 2
    await database.execute(
        "CREATE TABLE tds_audit_trail_202001 PARTITION OF tds_audit_trail"
        " FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00')"
    )
    assert await database.fetchval("SELECT tds_drop_audit_partitions()") == 1
    assert await database.fetchval("SELECT to_regclass('tds_audit_trail_202001')") is None


async def plan(database: Database, statement: str, *arguments: Any) -> str:
    async with database.transaction() as connection:
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE one AS {statement}")
        listed = ", ".join(arguments)
        rows = await connection.fetch(f"EXPLAIN EXECUTE one({listed})")
        await connection.execute("DEALLOCATE one")
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("name", ["records/known", "records/lock"])
async def test_state_is_read_by_its_key(database: Database, name: str) -> None:
    """Among many records the state of a batch is found by index."""
    await database.execute(
        "INSERT INTO tds_record_state (entity_type, source_entity_id)"
        " SELECT 'product', number::text FROM generate_series(1, 20000) AS number"
    )
    await database.execute("ANALYZE tds_record_state")
    found = await plan(database, sql.load(name), "'product'", """'["1", "2", "3"]'""")
    assert "tds_record_state_pkey" in found
    assert "Seq Scan" not in found
