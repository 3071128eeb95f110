"""What a round of the healer looks after beside tasks and tables: changed reasons, silence, gaps, connections."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from fixtures.shipped import SHIPPED

from actors.healer import Healer, Options, Premises, Retention
from actors.healing import letters
from actors.zoho import absent
from actors.zoho.transport import STARVED, Transport
from tds_runtime import migrate
from tds_runtime.database import Database
from tds_runtime.errors import SourceDown
from tds_runtime.metrics import Metrics
from tds_runtime.queue import Change, Failure, Queue
from tds_runtime.values import Duration

pytestmark = pytest.mark.anyio


async def whole() -> bool:
    return False


def healer(database: Database, *, fingerprints: dict[str, str] | None = None, options: Options | None = None) -> Healer:
    """A healer of all entities."""
    premises = Premises(entities=SHIPPED, fingerprints=fingerprints or {}, graces={}, mend=whole)
    return Healer(
        database,
        Queue(database, boot_id="test"),
        Metrics(),
        options=options or Options(),
        retention=Retention(),
        premises=premises,
    )


@pytest.fixture
async def tables(database: Database) -> Database:
    """A database with the default target tables."""
    await migrate.apply(database, statements=absent.statements(SHIPPED.tables))
    return database


async def bury(database: Database, *records: str, entity: str = "product") -> None:
    queue = Queue(database, boot_id="test")
    async with database.transaction() as connection:
        await queue.enqueue(
            connection, [Change(entity_type=entity, source_entity_id=record, payload=b"{}") for record in records]
        )
    tasks = await queue.claim([entity])
    await queue.bury([Failure(id=one.id, fence=one.fence, error_code="broken", error_message="") for one in tasks])


async def fail_all(queue: Queue) -> int:
    """Let every product fail its attempt; how many became dead letters. Each is a suspect and comes alone."""
    buried = 0
    while tasks := await queue.claim(["product"]):
        failures = [Failure(id=one.id, fence=one.fence, error_code="x", error_message="") for one in tasks]
        buried += len((await queue.retry(failures)).buried)
    return buried


async def received(database: Database, hours: float) -> None:
    await database.execute(
        "INSERT INTO tds_inbox_events (received_at, source, entity_type, source_entity_id, operation, variant, "
        "content_type, query, correlation_id, idempotency_key, body) "
        "VALUES (now() - $1::float8 * interval '1 hour', 'zoho', 'product', '1', 'upsert', '', '', '', '', '', '')",
        hours,
    )


async def pulls(database: Database) -> list[tuple[str, str]]:
    rows = await database.fetch("SELECT kind, status FROM tds_sync_runs ORDER BY id")
    return [(row["kind"], row["status"]) for row in rows]


# --- dead letters whose reason may be gone


async def test_a_changed_mapping_tries_its_dead_letters_at_once(database: Database) -> None:
    """Those of its entity that were buried before, one attempt each; buried again they wait for their day."""
    await healer(database, fingerprints={"product": "old", "invoice": "old"}).heal()
    await bury(database, "1", "2")
    await bury(database, "3", entity="invoice")
    assert (await healer(database, fingerprints={"product": "old", "invoice": "old"}).heal()).dlq_items_retried == 0
    mended = healer(database, fingerprints={"product": "new", "invoice": "old"})
    assert (await mended.heal()).dlq_items_retried == 2
    queue = Queue(database, boot_id="test")
    assert await fail_all(queue) == 2
    assert (await mended.heal()).dlq_items_retried == 0


async def test_changes_count_towards_the_three_attempts_and_the_hundred_a_round(database: Database) -> None:
    """A letter is tried three times by rounds, however often something changes; a round takes its limit and no more."""
    queue = Queue(database, boot_id="test")
    await bury(database, *map(str, range(5)))
    few = Options(retry_limit=3)
    found = [(await healer(database, fingerprints={"product": "0"}, options=few).heal()).dlq_items_retried]
    found += [(await healer(database, fingerprints={"product": "0"}, options=few).heal()).dlq_items_retried]
    assert found == [3, 2]
    for turn in range(1, 4):
        assert await fail_all(queue) == 5
        found = [(await healer(database, fingerprints={"product": str(turn)}).heal()).dlq_items_retried]
    assert found == [0]


def test_a_fingerprint_is_of_mapping_settings_and_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in every process; another one for other settings and another version."""
    before = letters.fingerprints(SHIPPED, {"a": 1, "b": 2})
    assert before == letters.fingerprints(SHIPPED, {"b": 2, "a": 1})
    assert len(set(before.values())) == len(SHIPPED)
    assert not set(before.values()) & set(letters.fingerprints(SHIPPED, {"a": 2, "b": 2}).values())
    monkeypatch.setattr("importlib.metadata.version", lambda _: "99")
    assert not set(before.values()) & set(letters.fingerprints(SHIPPED, {"a": 1, "b": 2}).values())


# --- silence


async def test_a_silent_source_is_pulled_every_quarter_until_a_webhook_comes(database: Database) -> None:
    """One incremental pull a quarter of an hour, none while one is open, none after the first webhook."""
    work = healer(database)
    await received(database, 7)
    for _ in range(2):
        await work.heal()
    assert await pulls(database) == [("incremental", "pending")]
    for quarter in range(1, 4):
        await database.execute(
            "UPDATE tds_sync_runs SET status = 'completed', requested_at = requested_at - interval '15 minutes'"
        )
        await work.heal()
        assert len(await pulls(database)) == quarter + 1
        await work.heal()
        assert len(await pulls(database)) == quarter + 1
    await received(database, 0)
    await database.execute(
        "UPDATE tds_sync_runs SET status = 'completed', requested_at = requested_at - interval '15 minutes'"
    )
    await work.heal()
    assert len(await pulls(database)) == 4
    details = await database.fetch("SELECT details->>'pulls_requested' AS pulls FROM tds_healer_runs ORDER BY id")
    assert [row["pulls"] for row in details] == ["1", "0", "1", "0", "1", "0", "1", "0", "0"]


async def test_a_source_that_never_sent_or_sent_lately_is_not_pulled(database: Database) -> None:
    """Nothing before the first webhook, nothing within its six hours."""
    await healer(database).heal()
    await received(database, 5.9)
    await healer(database).heal()
    assert await pulls(database) == []


# --- gaps


async def test_what_a_comparison_missed_is_fetched_once_and_told(tables: Database) -> None:
    """Each finding of the newest report once, not what is under way or repaired; one alert until none is left."""
    await tables.execute(
        "INSERT INTO tds_reconciliation_reports (entity_type, depth, status) VALUES ('all', 'records', 'completed')"
    )
    await tables.execute(
        "INSERT INTO tds_reconciliations (report_id, depth, entity_type, source_count, local_count, match_percentage) "
        "VALUES (1, 'records', 'product', 3, 0, 0)"
    )
    await tables.execute(
        "INSERT INTO tds_reconciliation_findings (report_id, entity_type, source_entity_id, kind, repair) VALUES "
        "(1, 'product', '1', 'missing', ''), (1, 'product', '2', 'missing', 'fetch'), "
        "(1, 'product', '3', 'extra', ''), (1, 'product', '4', 'missing', '')"
    )
    await bury(tables, "4")
    work = healer(tables)
    assert (await work.heal()).alerts_created == 1
    await work.heal()
    rows = await tables.fetch("SELECT source_entity_id, operation FROM tds_sync_queue_live WHERE status = 'pending'")
    assert [(row["source_entity_id"], row["operation"]) for row in rows] == [("1", "fetch")]
    alert = "SELECT alert_type, resolved_at IS NOT NULL AS over FROM tds_alerts"
    assert [tuple(row.values()) for row in await tables.fetch(alert)] == [("missing_record", True)]


async def test_children_without_their_parent_have_it_fetched(tables: Database) -> None:
    """Lines whose document is gone; looked for once in six hours, and not again while its task is there."""
    await tables.execute("ALTER TABLE invoices ALTER invoice_number DROP NOT NULL")
    await tables.execute("ALTER TABLE invoice_lines DROP CONSTRAINT invoice_lines_zoho_invoice_id_fkey")
    await tables.execute("INSERT INTO invoices (zoho_invoice_id) VALUES ('1')")
    await tables.execute(
        "INSERT INTO invoice_lines (zoho_invoice_id, zoho_line_item_id) VALUES ('1', '11'), ('2', '21'), ('2', '22')"
    )
    work = healer(tables)
    for _ in range(2):
        await work.heal()
    rows = await tables.fetch("SELECT entity_type, source_entity_id, operation FROM tds_sync_queue_live")
    assert [tuple(row.values()) for row in rows] == [("invoice", "2", "fetch")]
    found = await tables.fetch("SELECT details->>'orphans_fetched' AS orphans FROM tds_healer_runs ORDER BY id")
    assert [row["orphans"] for row in found] == ["1", "0"]
    await healer(tables, options=Options(orphans_every=Duration(0))).heal()
    assert await tables.fetchval("SELECT count(*) FROM tds_sync_queue_live") == 1


# --- connections


class Starved(httpx2.AsyncHTTPTransport):
    """A pool that has lost its connections."""

    async def handle_async_request(self, request: Any) -> Any:
        raise httpx2.PoolTimeout("no connection", request=request)


async def test_a_pool_without_connections_is_rebuilt(database: Database) -> None:
    """After three calls that got none the round replaces it, says so once, and leaves a good pool alone."""
    transport = Transport()
    work = Healer(
        database,
        Queue(database, boot_id="test"),
        Metrics(),
        options=Options(),
        retention=Retention(),
        premises=Premises(entities=SHIPPED, fingerprints={}, graces={}, mend=transport.mend),
    )
    async with transport.opened():
        transport._http = broken = Starved()
        for _ in range(STARVED):
            await work.heal()
            assert transport._http is broken
            with pytest.raises(SourceDown, match="PoolTimeout"):
                await transport.exchange("GET", "http://127.0.0.1:9/", headers={}, cap=1)
        await work.heal()
        assert not isinstance(transport._http, Starved)
        await work.heal()
    found = await database.fetch("SELECT details->>'pools_rebuilt' AS pools FROM tds_healer_runs ORDER BY id")
    assert [row["pools"] for row in found] == ["0", "0", "0", "1", "0"]
