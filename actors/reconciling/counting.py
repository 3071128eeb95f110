"""Counts both sides of an entity: there by the count call or, where there is none, by listing; here by the database."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from actors.reconciling.desk import Desk, Origin
from actors.reconciling.tally import Outcome, of_counts
from actors.zoho import matching
from actors.zoho.entities import Entity, Source
from actors.zoho.picking import Picker

Counts = Sequence[tuple[Source, int | None]]


async def counted(desk: Desk, entity: Entity) -> Counts:
    """What each source of an entity counts, with its own filters; None where it cannot be asked."""
    return [(source, await desk.asking(lambda source=source: desk.client.count(source))) for source in entity.sources]  # type: ignore[misc] # the lambda takes nothing but its default


def total(counts: Counts) -> int | None:
    """Of all sources together; None when one of them does not tell."""
    known = [count for _, count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


async def compare(desk: Desk, entity: Entity, counts: Counts, note: str = "") -> Outcome:
    """Compare the counts alone."""
    began = anyio.current_time()
    theirs = 0
    for source, count in counts:
        theirs += await desk.asking(lambda: _listed(desk.client, entity, source)) if count is None else count  # noqa: B023 - awaited before the next turn
    ours = await desk.ride(lambda: _local(desk, entity))
    seconds = round(anyio.current_time() - began, 3)
    return of_counts(entity.name, theirs, ours.count, sums=ours.sums, note=note, seconds=seconds)


async def _listed(client: Origin, entity: Entity, source: Source) -> int:
    picker, seen = Picker(entity), set[str]()
    async with client.pages(source, lambda body: picker.page(source, body), params=source.order, bulk=True) as listing:
        async for leaf in listing:
            seen.update(row.id for row in leaf.page.rows)
    return len(seen)


async def _local(desk: Desk, entity: Entity) -> matching.Side:
    async with desk.database.connection() as connection:
        return await matching.totals(connection, entity)
