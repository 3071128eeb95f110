"""Queue to tables: durably completed upserts a second, against the fastest peer and against the bare loop.

A round measures each side once, one after the other, on one server and one event loop; the figures are medians over the
rounds. Each side's queue is vacuumed before; the server vacuums nothing by itself and makes no checkpoint meanwhile, so
that no side pays for what another one left.
"""

from __future__ import annotations

from pathlib import Path
from time import perf_counter

import anyio

from actors.bench import bare, peer, place, workload
from actors.bench.report import Report, middle, report
from actors.entity_sync import Synced, entity_sync
from actors.zoho import entities, tables
from actors.zoho.entities import Entity
from tds_runtime import Supervisor, migrate, queue, run
from tds_runtime.database import Connection, Database, Options
from tds_runtime.queue import Change, Queue

ROUNDS = 5
OURS, THEIRS, BARE = 40_000, 8_000, 40_000
BATCH = 500
QUIET = {"autovacuum": "off", "checkpoint_timeout": "1h"}


async def measure(directory: Path) -> Report:
    """`tasks_per_s` and its ratios: the medians of interleaved rounds.

    Args:
        directory: of the entity mappings.
    """
    product = entities.load(directory)["product"]
    ours: list[float] = []
    theirs: list[float] = []
    least: list[float] = []
    async with place.server(QUIET) as dsn:
        for _ in range(ROUNDS):
            ours.append(await _drain(dsn, product))
            least.append(await bare.measure(dsn, BARE, BATCH))
            theirs.append(await peer.measure(dsn, THEIRS, BATCH))
        version = await place.version(dsn)
    return report("drain", _figures(ours, theirs, least), postgres=version)


def _figures(ours: list[float], theirs: list[float], least: list[float]) -> dict[str, float]:
    return {
        "tasks_per_s": middle(ours),
        "ratio_pgqueuer": middle([mine / other for mine, other in zip(ours, theirs, strict=True)]),
        "ratio_bare": middle([mine / other for mine, other in zip(ours, least, strict=True)]),
        "pgqueuer_per_s": middle(theirs),
        "bare_per_s": middle(least),
        "rounds": ROUNDS,
        "batch": BATCH,
        "tasks_a_round": OURS,
        "pgqueuer_tasks_a_round": THEIRS,
        "bare_tasks_a_round": BARE,
    }


async def _drain(dsn: str, product: Entity) -> float:
    """Completed upserts a second of one sync actor under a supervisor, from a full queue to an empty one."""
    await _clean(dsn)
    async with Database(Options(dsn=dsn)).opened() as database:
        work = Queue(database, boot_id="bench", options=queue.Options(batch=BATCH))
        await _fill(work, database, product)
        await place.settle(dsn, "tds_sync_queue_live")
        elapsed = await _run(work, database, product)
        applied = await database.fetchval(
            "SELECT count(*) FROM tds_sync_queue_done JOIN products ON zoho_item_id = source_entity_id"
            " WHERE outcome = 'applied'"
        )
    place.check("ours", applied, OURS)
    return OURS / elapsed


async def _run(work: Queue, database: Database, product: Entity) -> float:
    """Seconds until the last task's batch has committed."""
    left, done = OURS, anyio.Event()

    def observe(synced: Synced) -> None:
        nonlocal left
        left -= synced.tasks
        if left <= 0:
            done.set()

    spec = entity_sync(entity=product, database=database, queue=work, observe=observe).named("product")
    began = perf_counter()
    async with run(Supervisor("bench", children=[spec])):
        await done.wait()
        return perf_counter() - began


async def _fill(work: Queue, database: Database, product: Entity) -> None:
    await migrate.apply(database)
    async with database.transaction() as connection:
        await tables.create_missing(connection, product.tables)
    for start in range(0, OURS, 5000):
        async with database.transaction() as connection:
            await _enqueue(work, connection, range(start, start + 5000))


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
