"""What a claim costs when a lot is waiting and a lot is finished, against when little is."""

from __future__ import annotations

from time import perf_counter

from actors.bench import place
from actors.bench.report import Report, middle, report
from tds_runtime import migrate
from tds_runtime.database import Database, Options
from tds_runtime.queue import Queue
from tds_runtime.values import Duration

MANY, FEW, FINISHED = 500_000, 30_000, 1_000_000
ROUNDS = 60
WAITING = """
INSERT INTO tds_sync_queue_live (entity_type, source_entity_id, payload)
SELECT 'product', number::text, convert_to(rpad('{}', 200), 'UTF8') FROM generate_series(1, $1::integer) AS number
"""
HISTORY = """
INSERT INTO tds_sync_queue (entity_type, source_entity_id, status, outcome, completed_at)
SELECT 'product', (number % 500000)::text, 'completed', 'applied', now() - (number % 10) * interval '1 hour'
  FROM generate_series(1, $1::integer) AS number
"""


async def measure() -> Report:
    """Claims of 100 with 500,000 waiting and 1,000,000 finished, with an empty history, and with 30,000 waiting."""
    async with place.server() as dsn, Database(Options(dsn=dsn, command_timeout=Duration(600))).opened() as database:
        await migrate.apply(database)
        few = await _claims(database, dsn, FEW, 0)
        many = await _claims(database, dsn, MANY, 0)
        history = await _claims(database, dsn, MANY, FINISHED)
        version = await place.version(dsn)
    figures = {
        "ratio": history / many,
        "growth": many / few,
        "claim_ms_30k": few * 1000,
        "claim_ms_500k": many * 1000,
        "claim_ms_500k_and_history": history * 1000,
        "claims": ROUNDS,
        "waiting": MANY,
        "waiting_few": FEW,
        "finished": FINISHED,
    }
    return report("claim", figures, postgres=version)


async def _claims(database: Database, dsn: str, waiting: int, finished: int) -> float:
    """The median seconds of a claim of a hundred; what was claimed is given back."""
    async with place.connection(dsn) as connection:
        await connection.execute("TRUNCATE tds_sync_queue")
        await connection.execute(WAITING, waiting)
        if finished:
            await connection.execute(HISTORY, finished)
        await connection.execute("VACUUM ANALYZE")
    queue = Queue(database, boot_id="bench")
    seconds = []
    for _ in range(ROUNDS):
        began = perf_counter()
        tasks = await queue.claim(["product"], limit=100)
        seconds.append(perf_counter() - began)
        await queue.release((task.id, task.fence) for task in tasks)
    return middle(seconds)
