"""The plans of the hot statements on a full queue: index scans only, with custom and with generic plans.

`TDS_TEST_PROGRAMS` names a directory with the programs of another PostgreSQL, which then runs them instead.
"""

import json
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import anyio
import pytest
from fixtures.shipped import SHIPPED

from actors.zoho import absent
from tds_runtime import migrate, sql
from tds_runtime.columns import encoded, of_completions
from tds_runtime.database import Connection, Database, Options
from tds_runtime.embedded import Server
from tds_runtime.queue import Completion
from tds_runtime.records import listed

pytestmark = pytest.mark.anyio

PROGRAMS = os.environ.get("TDS_TEST_PROGRAMS", "")
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SMALL = {"tds_pauses", "tds_nodes", "tds_finished_minutes", "tds_sync_cursors"}

FILL = """
INSERT INTO tds_sync_queue (entity_type, source_entity_id, status, operation, available_at, fence, locked_by, priority)
SELECT 'entity' || n % 13, n::text,
       CASE WHEN n % 100 < {waiting} THEN 'pending' WHEN n % 100 < 85 THEN 'processing' WHEN n % 100 < 95 THEN 'failed'
            ELSE 'dead_letter' END,
       CASE n % 7 WHEN 0 THEN 'fetch' WHEN 1 THEN 'delete' ELSE 'upsert' END,
       CASE WHEN n % 100 BETWEEN 85 AND 94 THEN now() + n * interval '1 second' END, 1,
       CASE WHEN n % 100 BETWEEN {waiting} AND 84 THEN 'node' END, n % 3
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
INSERT INTO tds_record_state (entity_type, source_entity_id)
SELECT 'entity1', n::text FROM generate_series(1, 20000) AS n;
INSERT INTO tds_event_keys (source, event_id, inbox_id) SELECT 'zoho', n::text, n FROM generate_series(1, 20000) AS n;
INSERT INTO tds_audit_trail (action, entity_type, source_entity_id)
SELECT 'insert', 'entity1', n::text FROM generate_series(1, 20000) AS n;
INSERT INTO tds_sync_runs (entity_type, kind, status)
SELECT 'entity1', 'full', 'completed' FROM generate_series(1, 20000) AS n;
INSERT INTO tds_healer_runs (status) SELECT 'completed' FROM generate_series(1, 20000);
INSERT INTO tds_reconciliation_reports (entity_type, depth, status, requested_at)
SELECT 'all', 'records', 'completed', now() - n * interval '1 day' FROM generate_series(1, 3000) AS n;
INSERT INTO tds_reconciliation_findings (report_id, entity_type, source_entity_id, kind)
SELECT r.id, 'product', n::text, 'extra' FROM tds_reconciliation_reports AS r, generate_series(1, 2) AS n;
INSERT INTO tds_reconciliations (report_id, entity_type, source_count, local_count, match_percentage)
SELECT id, 'product', 1, 1, 100 FROM tds_reconciliation_reports;
INSERT INTO products (zoho_item_id, name) SELECT n::text, 'x' FROM generate_series(1, 20000) AS n;
INSERT INTO product_stock (zoho_item_id, zoho_location_id) SELECT n::text, 'x' FROM generate_series(1, 20000) AS n;
INSERT INTO invoices (zoho_invoice_id, invoice_number) SELECT n::text, 'x' FROM generate_series(1, 20000) AS n;
INSERT INTO invoice_lines (zoho_invoice_id, zoho_line_item_id)
SELECT n::text, 'x' FROM generate_series(1, 20000) AS n;
ANALYZE;
"""

IDS, FENCES, WORDS = list(range(80, 580)), [1] * 500, ["x"] * 500
STAMPS: list[datetime] = [NOW] * 500
FINISHED = of_completions([Completion(one, 1, "applied", b"{}") for one in IDS])
CHANGE = {"entity_type": "entity1", "operation": "upsert", "payload_kind": "list", "variant": "", "priority": 1,
          "correlation_id": "", "reason": "", "coalesced": 0}  # fmt: skip
DELIVERY = {"source": "zoho", "entity_type": "entity1", "operation": "upsert", "content_type": "", "query": "",
            "correlation_id": "", "variant": "", "key": "00", "hash": "00", "last": True}  # fmt: skip
HOT: dict[str, tuple[Any, ...]] = {
    "queue/claim": ("entity1", 500, "node", "alone"),
    "queue/claim_fetch": (["entity1", "entity2"], 100, "node"),
    "queue/complete": FINISHED,
    "queue/complete_and_claim": (*FINISHED, "entity1", 500, "node", "stop"),
    "queue/retry": (IDS, FENCES, WORDS, WORDS, WORDS, [0.5] * 500, 5, 1.0, 60.0, "node"),
    "queue/bury": (IDS, FENCES, WORDS, WORDS, WORDS, "node"),
    "queue/snooze": (IDS, FENCES, NOW, "x", 60.0),
    "queue/release": (IDS, FENCES),
    "queue/fetched": (IDS, FENCES, ["upsert"] * 500, [b"x"] * 500, [b"x"] * 500, STAMPS, STAMPS, WORDS,
                      [True] * 250 + [False] * 250),
    "queue/refetch": (IDS, FENCES, "x", 5),
    "queue/return_own": ("x", 5, "node", ["entity1"], ["upsert"], 100),
    "queue/return_expired": ("x", 5, 100),
    "queue/return_stuck": ("x", 5, 3600.0, 100),
    "queue/forgotten": ("node", IDS, 60.0, 100),
    "queue/promote_due": (100,),
    "queue/bodies": (IDS,),
    "queue/due": (),
    "queue/tick": (100,),
    "queue/backlog": ("entity1", 5001),
    "queue/enqueue": (encoded([CHANGE | {"source_entity_id": str(one)} for one in IDS]), [b"x"] * 500),
    "queue/hand_over": (encoded([CHANGE | {"source_entity_id": str(one)} for one in IDS]), [b"x"] * 500, "node"),
    "queue/dead_letters": (None, "entity1", None, None, None, None, None, 50),
    "records/known": ("entity1", listed(map(str, IDS))),
    "records/lock": ("entity1", listed(map(str, IDS))),
    "records/standing": (encoded([{"entity": "entity1", "record": str(one)} for one in IDS]),),
    "records/write": ("entity1", *["[]"] * 8, "", ""),
    "nodes/renew": ("node", "", "", 1, "", "", 60.0),
    "nodes/leave": ("node",),
    "runs/claim": ("node", 10),
    "runs/outstanding": (1, 1),
    "runs/progress": (1, 1, "{}", 1, 1, 1, 1, 1, "", 1, ["1"], 1, 1),
    "runs/spend": ([1], [1], [1]),
    "intake/take_events": (WORDS, WORDS),
    "intake/name_events": (WORDS, WORDS, IDS),
    "intake/store": (
        encoded([DELIVERY | {"source_entity_id": str(one), "record": str(one)} for one in IDS]), [b"x"] * 500, True,
        encoded([{"winner": n, "operation": "upsert", "folded": 0, "first": n, "final": n} for n in range(1, 501)]),
    ),
}  # fmt: skip

COMPARING: dict[str, tuple[Any, ...]] = {
    "reconciler/claim": ("node",),
    "reconciler/progress": (1, 1, 1, "", 1, 1),
    "reconciler/advance": (1, 1),
    "reconciler/end": (1, 1, None, None),
    "reconciler/return_lost": ("node", 3),
    "reconciler/release": (1, 1),
    "reconciler/cancel": (1, ""),
    "reconciler/read": (1,),
    "reconciler/recent": (None, None, None, 50),
    "reconciler/results": (1,),
    "reconciler/latest": ("product",),
    "reconciler/findings": (1, "product", "1", None, None, None, 100),
    "reconciler/adopt": ("entity1", WORDS),
    "reconciler/request": ("all", "records", False, "", "", None, None, ""),
}
"""Reports are looked at each second while one is at work, and shown to people who wait."""

SHARED = {
    f"queue/{name}"
    for name in ("changes", "finish", "fold", "give_back", "history", "letters", "pick", "promoted", "put_back",
                 "selected", "take", "task", "waiting", "work", "work_found")
}  # fmt: skip
COLD = {
    "queue/cancel", "queue/count_dead", "queue/discard_dead", "queue/retry_dead", "queue/pause", "queue/paused",
    "queue/put_off", "queue/resume", "queue/statistics", "records/forget", "records/history", "records/trail",
    "nodes/forget", "nodes/lost", "nodes/neighbours", "intake/replay",
}  # fmt: skip
"""What people, the healer and the hour ask for."""


@pytest.fixture
def chosen_dsn(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database: of the tests' own server, or of a server with the programs that were named."""
    if not PROGRAMS:
        yield request.getfixturevalue("empty_dsn")
        return
    server = Server(request.getfixturevalue("postgres_directory"), programs=Path(PROGRAMS))
    yield anyio.run(server.start)
    anyio.run(server.stop)


@pytest.fixture(params=[80, 20], ids=["waiting", "in flight"])
async def full(request: pytest.FixtureRequest, chosen_dsn: str, anyio_backend: str) -> AsyncIterator[Database]:
    """A database with tens of thousands of rows in every state, most of them waiting, or most of them in flight."""
    async with Database(Options(dsn=chosen_dsn)).opened() as database:
        await migrate.apply(database, statements=absent.statements(SHIPPED.tables))
        async with database.connection() as connection:
            await connection.execute(FILL.format(waiting=request.param))
        yield database


def scanned(plan: Any) -> set[str]:
    """The tables that the plan reads from end to end."""
    found = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    return found.union(*(scanned(child) for child in plan.get("Plans", ())))


def of_targets() -> Mapping[str, tuple[str, tuple[Any, ...]]]:
    """The statements of the effect on the ERP's tables, by table and name, with arguments."""
    keys, pairs = [str(one) for one in IDS], ([str(one) for one in IDS], WORDS)
    found: dict[str, tuple[str, tuple[Any, ...]]] = {}
    for name in ("product", "invoice"):
        target = SHIPPED[name].target
        found |= {f"{target.table} read": (target.read, (listed(keys),))}
        found |= {f"{target.table} upsert": (target.upsert, ("[]",) * len(target.names))}
        found |= {f"{target.table} compare": (target.compare, (keys, name))}
        found |= {f"{target.table} walk": (target.walk, ("", 500, name))}
        found |= {f"{target.table} delete": (target.delete, (keys,))}
        if target.deactivate:
            found |= {f"{target.table} deactivate": (target.deactivate, (keys,))}
        for child in target.children:
            found |= {
                f"{child.table} read": (child.read, (keys,)),
                f"{child.table} upsert": (child.upsert, ("[]",)),
                f"{child.table} remove": (child.remove, pairs),
                f"{child.table} clear": (child.clear, (keys,)),
            }
    return found


async def explained(connection: Connection, text: str, *arguments: Any) -> set[str]:
    [row] = await connection.fetch("EXPLAIN (FORMAT JSON) " + text, *arguments)
    return scanned(json.loads(row[0])[0]["Plan"]) - SMALL


async def test_hot_statements_use_indexes(full: Database) -> None:
    """No hot statement reads a table that grows, whichever way it is planned."""
    wrong = {}
    statements = {name: (sql.load(name), arguments) for name, arguments in HOT.items()} | of_targets()
    statements |= {name: (sql.load(name, package="actors"), arguments) for name, arguments in COMPARING.items()}
    async with full.connection() as connection:
        for name, (text, arguments) in statements.items():
            wrong[name, "custom"] = await explained(connection, text, *arguments)
            count = max(map(int, re.findall(r"\$(\d+)", text)), default=0)
            await connection.execute("SET plan_cache_mode = force_generic_plan")
            await connection.execute("PREPARE hot AS " + text)
            nulls = f"({', '.join(['NULL'] * count)})" if count else ""
            wrong[name, "generic"] = await explained(connection, "EXECUTE hot" + nulls)
            await connection.execute("DEALLOCATE hot; RESET plan_cache_mode")
    assert {key: tables for key, tables in wrong.items() if tables} == {}


def test_no_statement_of_the_hot_rooms_is_left_out() -> None:
    """A new statement of the queue, the records or the intake is explained here, or is said to be no hot one."""
    rooms = ("queue", "records", "intake", "nodes")
    files = resources.files("tds_runtime").joinpath("sql")
    names = {f"{room}/{file.name[:-4]}" for room in rooms for file in files.joinpath(room).iterdir()}
    assert names - set(HOT) - SHARED - COLD == set()
    assert (SHARED | COLD) - names == set()
