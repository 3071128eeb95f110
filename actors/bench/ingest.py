"""Durable acknowledgements against the same application that answers without storing, and their latency under load."""

from __future__ import annotations

import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path

import anyio

from actors.bench import load, place
from actors.bench.report import Report, middle, report
from actors.processes import free_port, process

ROUNDS = 5
A_ROUND = 3000
WARM_UP = 500
PACED_SECONDS = 10


async def measure(directory: Path) -> Report:
    """`ratio` over interleaved rounds without sync actors; `p99_ms_at_100` and `p99_ms_at_300` with them at work.

    Args:
        directory: of the entity mappings.
    """
    async with place.server() as dsn:
        ratio, durable, discarding = await _ratio(dsn, directory)
        slow, fast = await _latencies(dsn, directory)
    figures = {
        "ratio": ratio,
        "durable_per_s": durable,
        "discarding_per_s": discarding,
        "p99_ms_at_100": slow * 1000,
        "p99_ms_at_300": fast * 1000,
    }
    return report("ingest", figures)


async def _ratio(dsn: str, directory: Path) -> tuple[float, float, float]:
    prepared = load.requests(0)
    async with _receiver("durable", dsn, directory) as durable, _receiver("discard", dsn, directory) as discard:
        for port in (durable, discard):
            await load.flat_out(port, list(islice(prepared, WARM_UP)))
        kept, dropped = [], []
        for _ in range(ROUNDS):
            kept.append(await load.flat_out(durable, list(islice(prepared, A_ROUND))))
            dropped.append(await load.flat_out(discard, list(islice(prepared, A_ROUND))))
    ratios = [one / other for one, other in zip(kept, dropped, strict=True)]
    return middle(ratios), middle(kept), middle(dropped)


async def _latencies(dsn: str, directory: Path) -> tuple[float, float]:
    """The 99th percentile at 100 and at 300 webhooks a second, with the sync actors at work on what arrives."""
    prepared = load.requests(1_000_000)
    async with _receiver("whole", dsn, directory) as port:
        await load.flat_out(port, list(islice(prepared, WARM_UP)))
        seen = [
            load.percentile(await load.paced(port, list(islice(prepared, rate * PACED_SECONDS)), rate), 0.99)
            for rate in (100, 300)
        ]
    return seen[0], seen[1]


@asynccontextmanager
async def _receiver(kind: str, dsn: str, mappings: Path) -> AsyncIterator[int]:
    """The port of a receiving process of its own."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tds-bench-") as directory:
        log = Path(directory) / "receiver.log"
        words = [sys.executable, "-m", "actors.bench.receiver", kind, str(port), dsn, str(mappings)]
        async with process(words, log, {"PATH": "/usr/bin:/bin"}):
            with anyio.fail_after(60):
                while not _listens(port):  # noqa: ASYNC110 - another process sets no event here
                    await anyio.sleep(0.1)
            yield port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
