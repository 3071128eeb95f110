"""Proves, or disproves, that both sides hold the same: counts of every entity, source against local, kept as rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from typing import Annotated, Protocol

from msgspec import Meta, Struct

from actors.messages import Compare, Compared
from actors.zoho import matching
from actors.zoho.entities import Entities, Entity, Source
from actors.zoho.listing import Listing
from actors.zoho.pages import Page
from tds_runtime import Context, Inbox, Mailbox, actor, logs, ride_out, sql
from tds_runtime.database import Database
from tds_runtime.errors import Outage

LONGEST_WAIT = 60.0
"""Seconds between two tries while the source is away."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[reconciler]`.

    threshold: an alert for each entity that matches by less, in percent.
    """

    threshold: Annotated[float, Meta(ge=0, le=100)] = 95.0


class Origin(Protocol):
    """What the reconciler asks of the source: `zoho.client.Client`."""

    async def count(self, source: Source) -> int | None: ...

    def pages(
        self, source: Source, read: Callable[[bytes], Page], *, bulk: bool = ...
    ) -> AbstractAsyncContextManager[Listing[Page]]: ...


@actor(mailbox=Mailbox(4, overflow="reject"), watchdog=900, stop=15)
async def reconciler(
    ctx: Context, inbox: Inbox[Compare], *, database: Database, client: Origin, entities: Entities, options: Options
) -> None:
    """Compare whenever asked; the schedule asks once a day. Outages of either side are waited out."""
    ctx.ready()
    with suppress(Outage):  # only raised when the actor is to stop
        async for question in inbox:
            counts = {}
            for entity in entities:
                ctx.beat()
                theirs = await ride_out(ctx, "source", partial(count_source, client, entity), cap=LONGEST_WAIT)
                ours = await ride_out(ctx, "database", partial(count_local, database, entity))
                counts[entity.name] = (theirs, ours)
            keep = partial(store, database, counts, options.threshold)
            inbox.reply(question, await ride_out(ctx, "database", keep))


async def count_source(client: Origin, entity: Entity) -> int:
    """How many records the source has, by its count call or, where there is none, by listing them."""
    return sum([await _count(client, entity, source) for source in entity.sources])


async def _count(client: Origin, entity: Entity, source: Source) -> int:
    told = await client.count(source)
    if told is not None:
        return told
    seen: set[str] = set()
    async with client.pages(source, lambda body: entity.read_page(source, body), bulk=True) as listing:
        async for leaf in listing:
            seen.update(row.id for row in leaf.page.rows)
    return len(seen)


async def count_local(database: Database, entity: Entity) -> int:
    """How many living rows the entity has here."""
    async with database.connection() as connection:
        return (await matching.totals(connection, entity)).count


async def store(database: Database, counts: Mapping[str, tuple[int, int]], threshold: float) -> Compared:
    """Keep a comparison, and one alert for each entity below the threshold."""
    log = logs.get("reconciler")
    matches = {name: match(*sides) for name, sides in counts.items()}
    new = await database.fetch(
        sql.load("reconciler/store", package="actors"),
        list(counts), [theirs for theirs, _ in counts.values()], [ours for _, ours in counts.values()],
        list(matches.values()), threshold,
    )  # fmt: skip
    for name, percentage in matches.items():
        source, local = counts[name]
        log.info("entity.compared", entity=name, source=source, local=local, match=round(percentage, 2))
    for row in new:
        log.warning("match.low", entity=row["cause"], match=round(matches[row["cause"]], 2))
    overall = sum(min(sides) for sides in counts.values()), sum(max(sides) for sides in counts.values())
    return Compared(match_percentage=match(*overall), entities=matches, alerts_created=len(new))


def match(one: int, other: int) -> float:
    """How much of the larger side the smaller one can match at best, in percent; two empty sides match."""
    return 100.0 * min(one, other) / max(one, other) if one or other else 100.0
