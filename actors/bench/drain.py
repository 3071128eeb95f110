"""Queue to tables: durably completed upserts a second, against the fastest peer and against the bare loop."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import anyio

from actors.bench import bare, peer, place, workload
from actors.bench.report import Report, middle, report
from actors.entity_sync import entity_sync
from actors.zoho import entities, tables
from actors.zoho.entities import Entity
from tds_runtime import Supervisor, migrate, queue, run
from tds_runtime.database import Connection, Database, Options
from tds_runtime.queue import Change, Queue

ROUNDS = 3
OURS, THEIRS, BARE = 40_000, 8_000, 40_000
BATCH = 500


async def measure(directory: Path) -> Report:
    """`tasks_per_s` and its ratios, the median of interleaved rounds on one server and one event loop.

    Args:
        directory: of the entity mappings.
    """
    product = entities.load(directory)["product"]
    ours, ratio_peer, ratio_bare = [], [], []
    async with place.server() as dsn:
        for _ in range(ROUNDS):
            ours.append(await _drain(dsn, product))
            ratio_bare.append(ours[-1] / await bare.measure(dsn, BARE, BATCH))
            ratio_peer.append(ours[-1] / await peer.measure(dsn, THEIRS, BATCH))
    figures = {"tasks_per_s": middle(ours), "ratio_pgqueuer": middle(ratio_peer), "ratio_bare": middle(ratio_bare)}
    return report("drain", figures)


async def _drain(dsn: str, product: Entity) -> float:
    """Completed upserts a second of one sync actor under a supervisor, from a full queue to an empty one."""
    await _clean(dsn)
    async with Database(Options(dsn=dsn)).opened() as database:
        await migrate.apply(database)
        work = Queue(database, boot_id="bench", options=queue.Options(batch=BATCH))
        async with database.transaction() as connection:
            await tables.create_missing(connection, product.tables)
        for start in range(0, OURS, 5000):
            async with database.transaction() as connection:
                await _enqueue(work, connection, range(start, start + 5000))
        await database.execute("VACUUM ANALYZE tds_sync_queue_live")
        spec = entity_sync(entity=product, database=database, queue=work).named("product")
        began = perf_counter()
        async with run(Supervisor("bench", children=[spec])):
            while await database.fetchval("SELECT EXISTS (SELECT FROM tds_sync_queue_live)"):  # noqa: ASYNC110 - Postgres sets no event
                await anyio.sleep(0.02)
            elapsed = perf_counter() - began
        applied = await database.fetchval("SELECT count(*) FROM tds_sync_queue_done WHERE outcome = 'applied'")
    if applied != OURS:
        raise AssertionError(f"{applied} of {OURS} tasks were applied: the figure would mean nothing")
    return OURS / elapsed


async def _clean(dsn: str) -> None:
    async with place.connection(dsn) as connection:
        await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


async def _enqueue(work: Queue, connection: Connection, numbers: range) -> None:
    changes = [
        Change(
            entity_type="product",
            source_entity_id=workload.identity(number),
            payload=workload.document(number),
            source_modified_at=workload.BEGAN,
            observed_at=workload.BEGAN,
        )
        for number in numbers
    ]
    await work.enqueue(connection, changes)
