"""The plans of the hot statements on a full queue: index scans only, with custom and with generic plans."""

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from tds_runtime import migrate, sql
from tds_runtime.columns import encoded
from tds_runtime.database import Database, Options
from tds_runtime.embedded import Server

pytestmark = pytest.mark.anyio

DEBIAN = Path("/usr/lib/postgresql/15/bin")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SMALL = {"tds_pauses", "tds_nodes"}

FILL = """
INSERT INTO tds_sync_queue (entity_type, source_entity_id, status, operation, available_at, fence, locked_by, priority)
SELECT 'entity' || n % 13, n::text,
       CASE WHEN n % 100 < 80 THEN 'pending' WHEN n % 100 < 85 THEN 'processing' WHEN n % 100 < 95 THEN 'failed'
            ELSE 'dead_letter' END,
       CASE n % 7 WHEN 0 THEN 'fetch' WHEN 1 THEN 'delete' ELSE 'upsert' END,
       CASE WHEN n % 100 BETWEEN 85 AND 94 THEN now() + n * interval '1 second' END, 1,
       CASE WHEN n % 100 BETWEEN 80 AND 84 THEN 'node' END, n % 3
  FROM generate_series(1, 40000) AS n;
INSERT INTO tds_sync_queue (entity_type, source_entity_id, status, completed_at)
SELECT 'entity' || n % 13, n::text, 'completed', now() FROM generate_series(1, 20000) AS n;
INSERT INTO tds_inbox_events (
    source, entity_type, source_entity_id, operation, variant, content_type, query, correlation_id, idempotency_key,
    body)
SELECT 'zoho', 'entity1', n::text, 'upsert', '', '', '', '', '', repeat('x', 500)::bytea
  FROM generate_series(1, 20000) AS n;
INSERT INTO tds_last_deliveries (source, entity_type, record, key, inbox_id)
SELECT 'zoho', 'entity1', n::text, 'x', n FROM generate_series(1, 20000) AS n;
INSERT INTO tds_dead_letter_queue (
    task_id, entity_type, source_entity_id, operation, error_code, error_message, traceback, attempt_count, attempts,
    retry_count, correlation_id, first_buried_at, resolved_at)
SELECT n, 'entity1', n::text, 'upsert', 'x', 'x', '', 1, '[]', 0, '', now(), CASE WHEN n > 2000 THEN now() END
  FROM generate_series(1, 20000) AS n;
INSERT INTO tds_nodes (boot_id, name, host, pid, process, version, lease) VALUES ('node', '', '', 1, '', '', '60 s');
ANALYZE;
"""

IDS, FENCES, WORDS = list(range(80, 580)), [1] * 500, ["x"] * 500
STAMPS: list[datetime] = [NOW] * 500
FINISHED = encoded([{"id": one, "fence": 1, "new_outcome": "applied", "new_result": {}} for one in IDS])
CHANGE = {"entity_type": "entity1", "operation": "upsert", "payload_kind": "list", "variant": "", "priority": 1,
          "correlation_id": "", "reason": "", "coalesced": 0}  # fmt: skip
DELIVERY = {"source": "zoho", "entity_type": "entity1", "operation": "upsert", "content_type": "", "query": "",
            "correlation_id": "", "variant": "", "key": "00", "hash": "00", "last": True}  # fmt: skip
HOT: dict[str, tuple[Any, ...]] = {
    "queue/claim": ("entity1", 500, "node"),
    "queue/claim_fetch": (["entity1", "entity2"], 100, "node"),
    "queue/complete": (FINISHED,),
    "queue/complete_and_claim": (FINISHED, "entity1", 500, "node"),
    "queue/retry": (IDS, FENCES, WORDS, WORDS, WORDS, [0.5] * 500, 5, 1.0, 60.0, "node"),
    "queue/bury": (IDS, FENCES, WORDS, WORDS, WORDS, "node"),
    "queue/snooze": (IDS, FENCES, NOW, "x", 60.0),
    "queue/release": (IDS, FENCES),
    "queue/fetched": (IDS, FENCES, ["upsert"] * 500, [b"x"] * 500, [b"x"] * 500, STAMPS, STAMPS, WORDS),
    "queue/refetch": (IDS, FENCES, "x", 5),
    "queue/return_own": ("x", 5, "node", ["entity1"], ["upsert"], 100),
    "queue/return_expired": ("x", 5, 100),
    "queue/return_stuck": ("x", 5, 3600.0, 100),
    "queue/promote_due": (100,),
    "queue/due": (),
    "queue/enqueue": (encoded([CHANGE | {"source_entity_id": str(one)} for one in IDS]), [b"x"] * 500),
    "intake/store": (
        encoded([DELIVERY | {"source_entity_id": str(one), "record": str(one)} for one in IDS]), [b"x"] * 500, True,
        encoded([{"winner": n, "operation": "upsert", "folded": 0, "first": n, "final": n} for n in range(1, 501)]),
    ),
}  # fmt: skip


@pytest.fixture
def debian_dsn(postgres_directory: Path) -> Iterator[str]:
    server = Server(postgres_directory, programs=DEBIAN)
    yield anyio.run(server.start)
    anyio.run(server.stop)


@pytest.fixture(params=["current", "15"])
def full_dsn(request: pytest.FixtureRequest) -> str:
    if request.param == "15" and not DEBIAN.exists():
        pytest.skip("no programs of PostgreSQL 15 here")
    return request.getfixturevalue("empty_dsn" if request.param == "current" else "debian_dsn")


@pytest.fixture
async def full(full_dsn: str, anyio_backend: str) -> AsyncIterator[Database]:
    """A database with tens of thousands of rows in every state."""
    async with Database(Options(dsn=full_dsn)).opened() as database:
        await migrate.apply(database)
        async with database.connection() as connection:
            await connection.execute(FILL)
        yield database


def scanned(plan: Any) -> set[str]:
    """The tables that the plan reads from end to end."""
    found = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    return found.union(*(scanned(child) for child in plan.get("Plans", ())))


async def test_hot_statements_use_indexes(full: Database) -> None:
    """No hot statement reads a table that grows, whichever way it is planned."""
    wrong = {}
    async with full.connection() as connection:
        for name, arguments in HOT.items():
            text = sql.load(name)
            [row] = await connection.fetch("EXPLAIN (FORMAT JSON) " + text, *arguments)
            wrong[name, "custom"] = scanned(json.loads(row[0])[0]["Plan"]) - SMALL
            count = max(map(int, re.findall(r"\$(\d+)", text)), default=0)
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            await connection.execute("PREPARE hot AS " + text)
            nulls = f"({', '.join(['NULL'] * count)})" if count else ""
            [row] = await connection.fetch("EXPLAIN (FORMAT JSON) EXECUTE hot" + nulls)
            await connection.execute("DEALLOCATE hot; RESET plan_cache_mode")
            wrong[name, "generic"] = scanned(json.loads(row[0])[0]["Plan"]) - SMALL
    assert {key: tables for key, tables in wrong.items() if tables} == {}
