"""Durable acknowledgements against the same application that answers without storing, and their latency under load."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path

import anyio.to_thread

from actors.bench import load, place
from actors.bench.report import Report, middle, report
from actors.processes import free_port, process

ROUNDS = 11
A_ROUND = 3000
WARM_UP = 500
PASSES = 5  # of each rate, the middle one counts
PACED = 2000  # webhooks a pass, so that twenty of them are beyond the 99th percentile


async def measure(directory: Path) -> Report:
    """`ratio` over interleaved rounds without sync actors; `p99_ms_at_100` and `p99_ms_at_300` with them at work.

    Args:
        directory: of the entity mappings.
    """
    async with place.aged_server() as dsn:
        version = await place.version(dsn)
        figures = await _ratio(dsn, directory)
        # Of its own, since the rounds before left thousands of tasks that nobody wrote.
        figures |= await _latencies(await place.database(dsn, "paced"), directory)
    return report("ingest", figures, postgres=version)


async def _ratio(dsn: str, directory: Path) -> dict[str, float]:
    prepared = load.requests(count())
    async with _receiver("durable", dsn, directory) as durable, _receiver("discard", dsn, directory) as discard:
        kept: list[float] = []
        dropped: list[float] = []
        for number in range(ROUNDS + 1):
            # Each side goes first every other time: what a round leaves to be written out is charged to both.
            sides = [(durable, kept), (discard, dropped)]
            for port, rates in sides if number % 2 else reversed(sides):
                rates.append((await _flat_out(port, prepared, A_ROUND if number else WARM_UP)).rate)
    kept, dropped = kept[1:], dropped[1:]
    ratios = [one / other for one, other in zip(kept, dropped, strict=True)]
    return {
        "ratio": middle(ratios),
        "ratio_lowest": min(ratios),
        "ratio_highest": max(ratios),
        "durable_per_s": middle(kept),
        "discarding_per_s": middle(dropped),
    }


async def _latencies(dsn: str, directory: Path) -> dict[str, float]:
    """Latencies at 100 and at 300 webhooks a second, with the sync actors at work on what arrives."""
    prepared = load.requests(count(1_000_000))
    figures: dict[str, float] = {}
    async with _receiver("whole", dsn, directory) as port:
        await _flat_out(port, prepared, WARM_UP)
        for rate in (100, 300):
            passes = [await _paced(port, prepared, rate, seed) for seed in range(PASSES)]
            for share in (50, 99):
                seen = [load.percentile(latencies, share / 100) for latencies in passes]
                figures[f"p{share}_ms_at_{rate}"] = middle(seen) * 1000
    return figures


async def _paced(port: int, prepared: Iterator[bytes], rate: int, seed: int) -> list[float]:
    sent = await anyio.to_thread.run_sync(partial(load.paced, port, list(islice(prepared, PACED)), rate, seed=seed))
    return sent.latencies


async def _flat_out(port: int, prepared: Iterator[bytes], number: int) -> load.Sent:
    return await anyio.to_thread.run_sync(load.flat_out, port, list(islice(prepared, number)))


@asynccontextmanager
async def _receiver(kind: str, dsn: str, mappings: Path) -> AsyncIterator[int]:
    """The port of a receiving process of its own."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tds-bench-") as directory:
        log = Path(directory) / "receiver.log"
        words = [sys.executable, "-m", "actors.bench.receiver", kind, str(port), dsn, str(mappings)]
        async with process(words, log, {"PATH": "/usr/bin:/bin"}):
            await load.wait_ready(port)
            yield port
