"""More than anybody sends: a thousand sync requests at once, and a thousand webhooks a second."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from actors.bench import load, place
from actors.bench.report import Report, report
from actors.processes import playground
from actors.stage import Stage, open_stage
from tds_runtime import embedded

REQUESTS = 1_000
RATE = 1_000
RECORDS = 2_000  # products that the webhooks are about, again and again
SETTLE_WITHIN = 120.0
ASK = (
    "POST /api/zoho/bulk-sync/products HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {token}\r\n"
    "content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
)
FOUND = """
SELECT (SELECT count(*) FROM tds_inbox_events WHERE source_entity_id LIKE '526%') AS stored,
       (SELECT count(*) FROM tds_sync_runs) AS runs,
       (SELECT count(*) FROM tds_sync_queue WHERE status NOT IN ('completed', 'cancelled')) AS waiting,
       (SELECT count(*) FROM tds_sync_runs WHERE status NOT IN ('completed', 'failed', 'cancelled')) AS running,
       (SELECT count(*) FROM tds_dead_letter_queue) AS dead,
       (SELECT coalesce(sum(coalesced), 0) FROM tds_sync_queue) AS coalesced
"""


async def measure(directory: Path, *, seconds: float = 10.0) -> Report:
    """`lost` and `p99_ms` of the webhooks, and how many `runs` the sync requests became.

    Args:
        directory: of the entity mappings, an absolute path.
        seconds: how long the webhooks come; the promise is about a minute.
    """
    with playground("tds-bench-") as ground:
        async with open_stage(ground, directory, seed=1) as stage:
            sent = await _strain(stage, seconds)
            dsn = embedded.data_source_name(ground / "postgres")
            found = await _settled(dsn)
            version = await place.version(dsn)
    figures = {
        "webhooks": float(len(sent.latencies)),
        "webhooks_per_s": sent.rate,
        "p50_ms": load.percentile(sent.latencies, 0.5) * 1000,
        "p99_ms": load.percentile(sent.latencies, 0.99) * 1000,
        "lost": float(len(sent.latencies) - found["stored"]),
        "coalesced": float(found["coalesced"]),
        "dead": float(found["dead"]),
        "sync_requests": float(REQUESTS),
        "runs": float(found["runs"]),
    }
    return report("overload", figures, postgres=version)


async def _strain(stage: Stage, seconds: float) -> load.Sent:
    """Both at the same time; the latencies are the webhooks'."""
    port = int(stage.daemon.rpartition(":")[2])
    count = int(RATE * seconds)
    versions = (
        load.requests(range(RECORDS), version=version, secret=stage.sandbox.webhook_secret)
        for version in range(1 + count // RECORDS)
    )
    webhooks = list(islice((request for version in versions for request in version), count))
    asking = [ASK.format(token=stage.token).encode()] * REQUESTS
    async with anyio.create_task_group() as group:
        group.start_soon(anyio.to_thread.run_sync, load.flat_out, port, asking)
        sent = await anyio.to_thread.run_sync(partial(load.paced, port, webhooks, RATE))
    return sent  # noqa: RET504 - to mypy a task group may swallow what its body returns


async def _settled(dsn: str) -> Any:
    """What is in the database once nothing waits and no run goes on."""
    with anyio.move_on_after(SETTLE_WITHIN):
        async with place.connection(dsn) as connection:
            found = await connection.fetchrow(FOUND)
            while found["waiting"] or found["running"]:
                await anyio.sleep(0.2)
                found = await connection.fetchrow(FOUND)
            return found
    raise TimeoutError("tasks still wait long after the load")
