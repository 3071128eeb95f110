"""A full sync from the sandbox: list pages against the predecessor's rate, documents against the HTTP client alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import anyio
import httpx2
import msgspec
from msgspec import Struct

from actors.bench.report import Report, report
from actors.processes import playground
from actors.stage import Stage, open_stage
from actors.zoho import entities
from actors.zoho.client import Client, Options
from actors.zoho.entities import Source
from tds_runtime.values import Secret

PREDECESSOR = 190.0  # records a second, from list pages
LISTED = ("products", "customers", "vendors")
DOCUMENTS = "invoices"
LATENCY_MS = 50


class Pulled(Struct, frozen=True):
    """How many records some runs listed, and how long they took together."""

    records: int
    seconds: float

    @property
    def rate(self) -> float:
        """Records a second."""
        return self.records / self.seconds


async def measure(directory: Path, *, scale: float = 1.0) -> Report:
    """`records_per_s` of products and contacts and `ratio_predecessor`; `detail_ratio` with and without latency.

    Args:
        directory: of the entity mappings, an absolute path.
        scale: of the sandbox's data; 1 is 1,312 items and 2,503 contacts.
    """
    invoice = entities.load(directory)["invoice"].source()
    async with _stage(directory, "--scale", str(scale)) as stage:
        listed = await _pull(stage, LISTED)
        documents = await _pull(stage, (DOCUMENTS,))
        alone = await _fetch_alone(stage, invoice, documents.records)
    async with _stage(directory, "--scale", str(scale), "--latency-ms", str(LATENCY_MS)) as stage:
        slow_documents = await _pull(stage, (DOCUMENTS,))
        slow_alone = await _fetch_alone(stage, invoice, slow_documents.records)
    figures = {
        "records": float(listed.records),
        "records_per_s": listed.rate,
        "ratio_predecessor": listed.rate / PREDECESSOR,
        "details_per_s": documents.rate,
        "detail_ratio": documents.rate / alone,
        "detail_ratio_50ms": slow_documents.rate / slow_alone,
    }
    return report("sync", figures)


@asynccontextmanager
async def _stage(directory: Path, *sandbox_options: str) -> AsyncIterator[Stage]:
    with playground("tds-bench-") as place:
        async with open_stage(place, directory, seed=1, sandbox_options=sandbox_options) as stage:
            yield stage


async def _pull(stage: Stage, what: Sequence[str]) -> Pulled:
    """Ask for full syncs at once and wait until all that they listed is stored."""
    headers = {"authorization": f"Bearer {stage.token}"}
    async with httpx2.AsyncClient(base_url=stage.daemon, headers=headers, trust_env=False, timeout=60) as http:
        began = perf_counter()
        runs = [await _json(http, "POST", f"/api/zoho/bulk-sync/{name}", {}) for name in what]
        listed = [await _wait(http, run["run_id"]) for run in runs]
        return Pulled(sum(listed), perf_counter() - began)


async def _wait(http: httpx2.AsyncClient, run_id: int) -> int:
    while True:
        run = (await _json(http, "GET", f"/api/bff/tds/runs/{run_id}", None))["run"]
        if run["status"] == "completed":
            return int(run["listed"])
        if run["completed_at"]:
            raise AssertionError(f"run {run_id} ended as {run['status']}: {run['error_message']}")
        await anyio.sleep(0.05)


async def _json(http: httpx2.AsyncClient, method: str, path: str, body: object) -> Any:
    answer = await http.request(method, path, json=body)
    answer.raise_for_status()
    return msgspec.json.decode(answer.content)


async def _fetch_alone(stage: Stage, source: Source, count: int) -> float:
    """Details a second of the client alone, with the concurrency that the daemon has."""
    sandbox = stage.sandbox
    options = Options(
        organization_id=sandbox.organization_id,
        client_id=sandbox.client_id,
        client_secret=Secret(sandbox.client_secret),
        refresh_token=Secret(sandbox.refresh_token),
        accounts_url=sandbox.accounts,
        api_url=sandbox.api,
        calls_per_minute=0,
    )
    ids = await _ids(stage, source, count)
    waiting = iter(ids)
    client = Client(options)

    async def fetch() -> None:
        for identity in waiting:
            await client.detail(source, identity)

    async with client.opened():
        await client.detail(source, ids[0])
        began = perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(options.concurrency):
                tasks.start_soon(fetch)
        return len(ids) / (perf_counter() - began)


async def _ids(stage: Stage, source: Source, count: int) -> list[str]:
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        answer = await http.get(f"{stage.sandbox.control}/truth/{source.entity}?view=ids")
        answer.raise_for_status()
        return [msgspec.json.decode(line)["id"] for line in answer.content.splitlines()[:count]]
