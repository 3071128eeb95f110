"""What the daemon promises while it, or its Postgres, is stopped; how it is killed stands in tests/faults."""

import itertools
import signal
from collections.abc import Callable
from pathlib import Path

import anyio
import asyncpg
import httpx2
import msgspec
import pytest
from fixtures.daemon import DaemonProcess, item, until

from tds_runtime.embedded import Server

pytestmark = pytest.mark.anyio

Daemons = Callable[..., DaemonProcess]


async def rows(dsn: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=30)
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close(timeout=10)


async def drained(dsn: str) -> bool:
    """Nothing is pending, in work or waiting for a retry."""
    [[waiting]] = await rows(
        dsn, "SELECT count(*) FROM tds_sync_queue WHERE status IN ('pending', 'processing', 'failed')"
    )
    return waiting == 0


class Senders:
    """Eight senders that deliver distinct products and repeat what was not acknowledged."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self.acknowledged: set[int] = set()
        self.refused: list[httpx2.Response] = []
        self.stopping = False
        self._numbers = itertools.count(1)

    async def send(self) -> None:
        for number in self._numbers:
            while not self.stopping and number not in self.acknowledged:
                await self._try(number)
            if self.stopping:
                return

    async def _try(self, number: int) -> None:
        try:
            answer = await self.daemon.webhook("products", item(number))
        except (httpx2.TransportError, RuntimeError):  # killed under the request, or its client closed by the test
            await anyio.sleep(0.02)
            return
        if answer.status_code == httpx2.codes.OK:
            self.acknowledged.add(number)
        else:
            self.refused.append(answer)
            await anyio.sleep(0.02)

    async def seen(self, count: int) -> bool:
        return len(self.acknowledged) >= count

    async def applied(self, dsn: str) -> None:
        """Each acknowledged product has its row, and exactly one effect."""
        await until(lambda: drained(dsn))
        stored = {int(row[0]) - 5260000000000000000 for row in await rows(dsn, "SELECT zoho_item_id FROM products")}
        assert self.acknowledged <= stored
        effects = await rows(
            dsn, "SELECT count(*) FROM tds_audit_trail WHERE entity_type = 'product' GROUP BY source_entity_id"
        )
        assert {row[0] for row in effects} == {1}
        assert len(effects) == len(stored)


async def test_sigterm_ends_in_time_and_gives_the_leases_back(daemons: Daemons, database_dsn: str) -> None:
    """SIGTERM under load: exit 0, no task left processing, and the next start finishes the rest."""
    daemon = daemons(database_dsn)
    senders = Senders(daemon)
    await daemon.start()
    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(senders.send)
        await until(lambda: senders.seen(200))
        with anyio.fail_after(27):
            assert await daemon.stop(signal.SIGTERM) == 0
        senders.stopping = True
    [[processing]] = await rows(database_dsn, "SELECT count(*) FROM tds_sync_queue WHERE status = 'processing'")
    assert processing == 0
    await daemon.start()
    await senders.applied(database_dsn)


async def test_postgres_away_for_ten_seconds(daemons: Daemons, postgres_directory: Path) -> None:
    """503 with Retry-After meanwhile, nobody restarts, and all that was acknowledged is applied after."""
    server = Server(postgres_directory)
    dsn = await server.start()
    daemon = daemons(dsn)
    senders = Senders(daemon)
    await daemon.start()
    try:
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(senders.send)
            await until(lambda: senders.seen(100))
            await server.stop()
            before = len(senders.acknowledged)
            await anyio.sleep(10)
            during = list(senders.refused)
            await server.start()
            await until(lambda: senders.seen(before + 100), within=15)
            senders.stopping = True
        assert {answer.status_code for answer in during} == {503}
        assert all("retry-after" in answer.headers for answer in during)
        await senders.applied(dsn)
        assert [line for line in daemon.lines() if line["event"] == "actor.crashed"] == []
    finally:
        await daemon.stop()
        await server.stop()


async def plant(dsn: str, *statements: str) -> None:
    for statement in statements:
        await rows(dsn, statement)


async def counts(dsn: str) -> dict[str, int]:
    return dict(await rows(dsn, "SELECT status, count(*) FROM tds_sync_queue GROUP BY status"))


async def test_fifty_eight_dead_letters_come_back(daemons: Daemons, database_dsn: str) -> None:
    """A planted fault buries 52 products and 6 invoices; lifted, one is retried by hand and then all."""
    daemon = daemons(database_dsn)
    await daemon.start()
    for table in ("products", "invoices"):
        await plant(database_dsn, f"ALTER TABLE {table} ADD CONSTRAINT planted CHECK (false) NOT VALID")
    for number in range(52):
        assert (await daemon.webhook("products", item(number))).status_code == 200
    sample = msgspec.json.decode((Path(__file__).parents[1] / "samples" / "webhook_invoice_default.json").read_bytes())
    for number in range(6):
        invoice = {**sample["invoice"], "invoice_id": str(900 + number)}
        assert (await daemon.webhook("invoices", {"invoice": invoice})).status_code == 200

    async def buried(count: int) -> bool:
        return (await counts(database_dsn)).get("dead_letter", 0) == count

    await until(lambda: buried(58))
    for table in ("products", "invoices"):
        await plant(database_dsn, f"ALTER TABLE {table} DROP CONSTRAINT planted")
    status, listed = await daemon.run("dlq", "list", "--limit", "100", "--json")
    assert status == 0
    dead = msgspec.json.decode(listed)
    assert len(dead["dead_letters"]) == 58
    assert (await daemon.run("dlq", "retry", str(dead["dead_letters"][0]["id"])))[0] == 0
    await until(lambda: buried(57))
    assert (await daemon.run("dlq", "retry", "--all"))[0] == 0
    await until(lambda: buried(0))
    await until(lambda: drained(database_dsn))
    assert await counts(database_dsn) == {"completed": 58}


async def test_a_source_that_is_away_degrades_health_and_refuses_nobody(daemons: Daemons, database_dsn: str) -> None:
    """With Zoho unreachable the daemon stays ready and takes webhooks, and its health says what is down."""
    daemon = daemons(database_dsn)
    await daemon.start()
    assert (await daemon.http.get("/health")).json()["status"] == "healthy"
    assert (await daemon.run("sync", "user", "--no-wait"))[0] == 0

    async def degraded() -> bool:
        report = (await daemon.http.get("/health")).json()
        return (report["status"], report["metrics"]["sources_down"]) == ("degraded", ["oauth"])

    await until(degraded)
    assert (await daemon.http.get("/readyz")).status_code == httpx2.codes.OK
    assert (await daemon.webhook("products", item(1))).status_code == httpx2.codes.OK
    assert await daemon.stop() == 0
