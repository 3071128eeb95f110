"""The same work on pgqueuer, the fastest peer: one upsert a job, the same rows, the same server."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import asyncpg
import msgspec

from actors.bench import bare, place, workload

INSERT = """
INSERT INTO bare.products (zoho_item_id, name, sku, description, price, stock_quantity, is_active, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
"""


async def measure(dsn: str, count: int, batch: int) -> float:
    """Completed upserts per second."""
    from pgqueuer import PgQueuer  # noqa: PLC0415 - the extra `bench`; only this bench needs it
    from pgqueuer.db import AsyncpgPoolDriver  # noqa: PLC0415 - the same
    from pgqueuer.domain.types import QueueExecutionMode  # noqa: PLC0415 - the same

    async with asyncpg.create_pool(dsn, min_size=8, max_size=16, command_timeout=120) as pool:
        await pool.execute("DROP SCHEMA IF EXISTS bare CASCADE")
        await pool.execute(bare.SCHEMA)
        queuer = PgQueuer(AsyncpgPoolDriver(pool))
        queries: Any = queuer.qm.queries
        await queries.install()
        try:
            await _fill(queries, count)
            _handle(queuer, pool)
            await place.settle(dsn, "pgqueuer")
            began = perf_counter()
            await queuer.qm.run(mode=QueueExecutionMode.drain, batch_size=batch)
            elapsed = perf_counter() - began
            place.check("pgqueuer", await pool.fetchval("SELECT count(*) FROM bare.products"), count)
            return count / elapsed
        finally:
            await queries.uninstall()


async def _fill(queries: Any, count: int) -> None:
    for start in range(0, count, 5000):
        payloads = [workload.document(number) for number in range(start, min(start + 5000, count))]
        await queries.enqueue(["upsert"] * len(payloads), payloads, [0] * len(payloads))


def _handle(queuer: Any, pool: Any) -> None:
    decoder = msgspec.json.Decoder(bare.Product)

    @queuer.entrypoint("upsert")  # type: ignore[untyped-decorator] # the package is untyped to us: an optional extra
    async def upsert(job: Any) -> None:
        p = decoder.decode(job.payload)
        await pool.execute(
            INSERT + bare.NEWER,
            p.item_id, p.name, p.sku, p.description, p.rate, p.stock_on_hand, p.status == "active", workload.BEGAN,
        )  # fmt: skip
