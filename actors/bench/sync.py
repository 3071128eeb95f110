"""A full sync from the sandbox: against the predecessor, against the HTTP client alone, and against a smaller one.

The sandbox stands for a source whose processors are not ours: list rows and invoices are written before they count.
It still serves them over HTTP on these very cores, as the daemon and its Postgres work on them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
import msgspec
from msgspec import Struct

from actors.bench import alone, place
from actors.bench.report import Report, report
from actors.processes import playground
from actors.stage import Stage, open_stage
from actors.zoho import entities
from actors.zoho.entities import Entities
from tds_runtime import embedded

SCALE = 20.0
RECORDS, STOCK, PRICES = 190.0, 121.0, 117.0
"""What the predecessor did a second: records from list pages, products swept for stock, prices of price lists."""

LISTED = {"products": "product", "customers": "customer", "vendors": "vendor"}
DOCUMENTS, LATE = "invoices", "bills"
LATENCY_MS = 50
GROWTH = 10
CACHE_MB = 1024
LOOK = 0.5
"""Seconds between two looks at a run: each costs the daemon milliseconds, and the run itself says when it ended."""


class Pulled(Struct, frozen=True):
    """How many records some runs listed, and how long they took together."""

    records: int
    seconds: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


class Whole(Struct, frozen=True, kw_only=True):
    """One daemon from its first record on: the list pages, the documents, and the most memory it ever had."""

    listed: Pulled
    documents: Pulled
    alone: float
    peak: int

    @property
    def pace(self) -> float:
        """Seconds a record, documents among them."""
        return (self.listed.seconds + self.documents.seconds) / (self.listed.records + self.documents.records)


async def measure(directory: Path, *, scale: float = SCALE) -> Report:
    """All figures of a full sync.

    Args:
        directory: of the entity mappings, an absolute path.
        scale: of the sandbox's data; 1 is 1,312 items and 2,503 contacts. Growth is measured from a tenth of it on.
    """
    known = entities.load(directory)
    small = await _small(directory, known, scale / GROWTH)
    async with _stage(directory, scale) as stage:
        large = await _whole(stage, known)
        stock = await _sweep(stage)
        prices = await _price(stage)
    figures = {
        "records": float(large.listed.records),
        "records_per_s": large.listed.rate,
        "ratio_predecessor": large.listed.rate / RECORDS,
        "details_per_s": large.documents.rate,
        "detail_ratio": large.documents.rate / large.alone,
        "detail_ratio_50ms": await _late(directory, known, scale),
        "stock_per_s": stock.rate,
        "stock_ratio": stock.rate / STOCK,
        "price_lists_per_s": prices.rate,
        "price_lists_ratio": prices.rate / PRICES,
        "growth_time": large.pace / small.pace,
        "growth_memory": large.peak / small.peak,
    }
    return report("sync", figures)


@asynccontextmanager
async def _stage(directory: Path, scale: float, *options: str) -> AsyncIterator[Stage]:
    words = ("--scale", str(scale), "--cache-mb", str(CACHE_MB), *options)
    with playground("tds-bench-") as below:
        async with open_stage(below, directory, seed=1, sandbox_options=words) as stage:
            yield stage


async def _small(directory: Path, known: Entities, scale: float) -> Whole:
    async with _stage(directory, scale) as stage:
        return await _whole(stage, known)


async def _whole(stage: Stage, known: Entities) -> Whole:
    """Pull what list pages say, then documents; the client alone fetches the same documents before and after."""
    invoice = known["invoice"].source()
    await alone.list_all(stage.sandbox, known, [*LISTED.values(), "invoice"])
    ids = await alone.identities(stage.sandbox, invoice)
    listed = await _pull(stage, tuple(LISTED))
    await alone.fetch(stage.sandbox, invoice, ids)
    documents = await _pull(stage, (DOCUMENTS,))
    place.check("documents", await _stored(stage, "SELECT count(*) FROM invoices"), documents.records)
    least = await alone.fetch(stage.sandbox, invoice, ids)
    return Whole(listed=listed, documents=documents, alone=least, peak=stage.peak_memory())


async def _late(directory: Path, known: Entities, scale: float) -> float:
    """Documents against the client alone where every call takes long."""
    bill = known["bill"].source()
    async with _stage(directory, scale, "--latency-ms", str(LATENCY_MS)) as stage:
        documents = await _pull(stage, (LATE,))
        return documents.rate / await alone.fetch(stage.sandbox, bill, await alone.identities(stage.sandbox, bill))


async def _sweep(stage: Stage) -> Pulled:
    """Products a second whose stock by location was swept for the first time; each has written its rows durably."""
    swept = await _pull(stage, ("stock",))
    held = await _stored(stage, "SELECT count(*) FROM products WHERE item_type = 'inventory'")
    place.check("stock", await _stored(stage, "SELECT count(DISTINCT zoho_item_id) FROM product_stock"), held)
    return swept


async def _price(stage: Stage) -> Pulled:
    """Prices a second, one for each product on each list, however many brackets it has; all were written durably."""
    lists = await _pull(stage, ("pricelists",))
    prices = "SELECT count(*) FROM (SELECT DISTINCT zoho_pricebook_id, zoho_item_id FROM price_list_items) AS prices"
    return Pulled(await _stored(stage, prices), lists.seconds)


async def _stored(stage: Stage, statement: str) -> int:
    async with place.connection(embedded.data_source_name(stage.directory / "postgres")) as connection:
        return int(await connection.fetchval(statement))


async def _pull(stage: Stage, what: Sequence[str]) -> Pulled:
    """Ask for runs at once and wait until all that they listed is stored; the time is from the first wish on."""
    headers = {"authorization": f"Bearer {stage.token}"}
    async with httpx2.AsyncClient(base_url=stage.daemon, headers=headers, trust_env=False, timeout=60) as http:
        asked = [await _json(http, "POST", f"/api/zoho/bulk-sync/{name}", {}) for name in what]
        runs = [await _ended(http, run["run_id"]) for run in asked]
        began = min(datetime.fromisoformat(run["requested_at"]) for run in runs)
        ended = max(datetime.fromisoformat(run["completed_at"]) for run in runs)
        return Pulled(sum(int(run["listed"]) for run in runs), (ended - began).total_seconds())


async def _ended(http: httpx2.AsyncClient, run_id: int) -> Any:
    while True:
        run = (await _json(http, "GET", f"/api/bff/tds/runs/{run_id}", None))["run"]
        if run["status"] == "completed":
            return run
        if run["completed_at"]:
            raise AssertionError(f"run {run_id} ended as {run['status']}: {run['error_message']}")
        await anyio.sleep(LOOK)


async def _json(http: httpx2.AsyncClient, method: str, path: str, body: object) -> Any:
    answer = await http.request(method, path, json=body)
    answer.raise_for_status()
    return msgspec.json.decode(answer.content)
