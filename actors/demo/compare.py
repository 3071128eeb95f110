"""Holds the sandbox's truth against the tables: every living record, every mapped column."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Literal

from actors.demo.play import Player
from actors.demo.verdict import Match
from actors.zoho import matching
from actors.zoho.entities import Entities, Entity, Source
from tds_runtime.database import Database

PAGE = 500
# The sandbox keeps the two kinds of payment apart; everything else is known to it by our names.
TRUTH = {("payment", "vendor"): "vendor_payment"}


async def compare(player: Player, database: Database, entities: Entities) -> dict[str, Match]:
    """Every entity's match, by name."""
    return {entity.name: await _compare(player, database, entity) for entity in entities}


async def _compare(player: Player, database: Database, entity: Entity) -> Match:
    """Details where a sync fetches details, list rows where it does not."""
    comparison = matching.Comparison(entity)
    for source in entity.sources:
        async for page in _pages(player, entity, source):
            documents = [entity.map(line, _view(source), variant=source.name) for line in page]
            async with database.connection() as connection:
                ids = [document.id for document in documents]
                rows = await matching.read(connection, entity, ids, children=source.details != "never")
            comparison.add(documents, rows)
    async with database.connection() as connection:
        async for rows in matching.pages(connection, entity):
            comparison.add_local(rows)
    report = comparison.report()
    return Match(report.source.count, report.local.count, report.percentage)


def _view(source: Source) -> Literal["list", "detail"]:
    return "list" if source.details == "never" else "detail"


async def _pages(player: Player, entity: Entity, source: Source) -> AsyncIterator[list[bytes]]:
    page: list[bytes] = []
    async for line in player.truth(TRUTH.get((entity.name, source.name), entity.name), _view(source), source.api):
        page.append(line)
        if len(page) == PAGE:
            yield page
            page = []
    yield page
