"""What a claim costs when a lot is waiting and a lot is finished, against when little is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from time import perf_counter

from actors.bench import place
from actors.bench.report import Report, middle, report
from tds_runtime import migrate
from tds_runtime.database import Database, Options
from tds_runtime.queue import Queue
from tds_runtime.values import Duration

MANY, FEW, FINISHED = 500_000, 30_000, 1_000_000
ROUNDS = 100
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
    """Claims of 100 with 500,000 waiting and 1,000,000 finished, with an empty history, and with 30,000 waiting.

    Each case has a database of its own on the same server, and they take turns claim by claim: what else the machine
    does meets all of them.
    """
    async with place.server() as dsn, AsyncExitStack() as opened:
        queues = [
            await opened.enter_async_context(_filled(await place.database(dsn, name), waiting, finished))
            for name, waiting, finished in (("few", FEW, 0), ("many", MANY, 0), ("history", MANY, FINISHED))
        ]
        few, many, history = await _claims(queues)
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


@asynccontextmanager
async def _filled(dsn: str, waiting: int, finished: int) -> AsyncIterator[Queue]:
    """The queue of a database with so many tasks waiting and finished."""
    async with Database(Options(dsn=dsn, command_timeout=Duration(600))).opened() as database:
        await migrate.apply(database)
        async with place.connection(dsn) as connection:
            await connection.execute(WAITING, waiting)
            if finished:
                await connection.execute(HISTORY, finished)
            await connection.execute("VACUUM ANALYZE")
        yield Queue(database, boot_id="bench")


async def _claims(queues: list[Queue]) -> list[float]:
    """The median seconds of a claim of a hundred from each; what was claimed is given back."""
    seconds: list[list[float]] = [[] for _ in queues]
    for _ in range(ROUNDS):
        for queue, spent in zip(queues, seconds, strict=True):
            began = perf_counter()
            tasks = await queue.claim(["product"], limit=100)
            spent.append(perf_counter() - began)
            await queue.release((task.id, task.fence) for task in tasks)
    return [middle(spent) for spent in seconds]
