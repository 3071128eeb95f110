"""Stock sweeps: records that are stored, read again by their ids a hundred at a time; their stamps say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
from msgspec import Struct

from actors.pulling import affording
from actors.pulling.desk import Batch, Desk
from actors.pulling.listings import Outcome
from actors.zoho.client import CHUNK
from actors.zoho.entities import Source
from actors.zoho.listing import Leaf, prefetched
from actors.zoho.pages import Row
from tds_runtime import running
from tds_runtime.errors import Outage


class Chunk(Struct, frozen=True, kw_only=True):
    """The details of the next hundred stored records, and those that the source does not have."""

    rows: tuple[Row, ...] = ()
    missing: tuple[str, ...] = ()
    last: str = ""
    has_more: bool = False
    page: int = 0


async def stock(desk: Desk) -> Outcome:
    """Read every stored record again (or those in `args.ids`); content decides what changed."""
    for source in desk.entity.sources:
        if source.bulk_path and await affording.affords_sweep(desk, source):
            await _sweep(desk, source)
    return Outcome()


async def _sweep(desk: Desk, source: Source) -> None:
    after = str((desk.run.position or {}).get("after", ""))
    done = False
    while not done:
        chunks = Chunks(desk, source, after)
        try:
            async with prefetched(chunks.fetch, start=1, paged=True) as listing:
                async for leaf in listing:
                    await _write(desk, source, leaf)
                    after = leaf.page.last or after
            done = True
        except Outage as error:
            await desk.sit_out(error)


async def _write(desk: Desk, source: Source, leaf: Leaf[Chunk]) -> None:
    chunk = leaf.page
    if not (chunk.rows or chunk.missing):
        return
    batch = Batch(
        source=source,
        rows=chunk.rows,
        asked=desk.asked(leaf.asked_at, kind="detail"),
        position={"after": chunk.last},
        missing=chunk.missing,
    )
    await desk.write(batch)


class Chunks:
    """Reads stored ids and their details, a hundred after the other."""

    def __init__(self, desk: Desk, source: Source, after: str) -> None:
        self._desk = desk
        self._source = source
        self._after = after
        self._given: Sequence[Any] | None = desk.run.args.get("ids")

    async def fetch(self, number: int) -> Leaf[Chunk]:
        """The next hundred."""
        ids = await self._next()
        asked_at = anyio.current_time()
        if not ids:
            return Leaf(number=number, page=Chunk(), asked_at=asked_at, sent_at=datetime.now(UTC))
        read = self._desk.entity.read_bulk
        bulk = await self._desk.client.details(
            self._source, ids, lambda body: read(self._source, body), bulk=self._desk.bulk
        )
        self._after = ids[-1]
        chunk = Chunk(rows=bulk.rows, missing=bulk.missing, last=ids[-1], has_more=len(ids) == CHUNK)
        return Leaf(number=number, page=chunk, asked_at=asked_at, sent_at=datetime.now(UTC))

    async def _next(self) -> list[str]:
        if self._given is not None:
            return [one for one in sorted(map(str, self._given)) if one > self._after][:CHUNK]
        desk, name = self._desk, self._desk.entity.name
        variant = desk.entity.variant_of(self._source)
        return await desk.ride(lambda: running.stored(desk.database, name, variant, self._after, CHUNK))
