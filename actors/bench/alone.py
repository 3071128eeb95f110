"""The HTTP client alone: what fetching costs when nothing is made of the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from time import perf_counter

import anyio
import httpx2
import msgspec

from actors.stage import Sandbox
from actors.zoho.client import Client, Options
from actors.zoho.entities import Entities, Source
from actors.zoho.picking import Picker
from tds_runtime.values import Secret


@asynccontextmanager
async def client(sandbox: Sandbox) -> AsyncIterator[Client]:
    """The daemon's own client as the daemon has it, with the sandbox's credentials and without limits."""
    options = Options(
        organization_id=sandbox.organization_id,
        client_id=sandbox.client_id,
        client_secret=Secret(sandbox.client_secret),
        refresh_token=Secret(sandbox.refresh_token),
        accounts_url=sandbox.accounts,
        api_url=sandbox.api,
        calls_per_minute=0,
    )
    made = Client(options)
    async with made.opened():
        yield made


async def list_all(sandbox: Sandbox, entities: Entities, names: Sequence[str]) -> None:
    """Read every page of these entities once, so that the sandbox has written every row."""
    async with client(sandbox) as made:
        for name in names:
            entity = entities[name]
            picker = Picker(entity)
            for source in entity.sources:
                async with made.pages(source, partial(picker.page, source)) as listing:
                    async for _ in listing:
                        pass


async def fetch(sandbox: Sandbox, source: Source, ids: Sequence[str]) -> float:
    """Details a second of the client alone, as many at once as the daemon makes."""
    waiting = iter(ids)

    async def work(made: Client) -> None:
        for identity in waiting:
            await made.detail(source, identity)

    async with client(sandbox) as made:
        await made.detail(source, ids[0])
        began = perf_counter()
        async with anyio.create_task_group() as tasks:
            for _ in range(made.options.concurrency):
                tasks.start_soon(work, made)
        return len(ids) / (perf_counter() - began)


async def identities(sandbox: Sandbox, source: Source) -> list[str]:
    """The ids of all records of a source."""
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        answer = await http.get(f"{sandbox.control}/truth/{source.entity}?view=ids")
        answer.raise_for_status()
        return [msgspec.json.decode(line)["id"] for line in answer.content.splitlines()]
