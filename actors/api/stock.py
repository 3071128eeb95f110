"""Stock: pulling all of it or that of a few items, and how the last pulls of it went."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api import audit
from actors.api.authentication import Caller
from actors.api.endpoints import Because, Endpoint, Reason, answer, parameters, read
from actors.api.following import Patience
from actors.api.pulls import Outcome, Pulls, Wish, outcome
from actors.api.services import Services
from tds_runtime import runs, sql
from tds_runtime.mailbox import CORRELATION
from tds_runtime.problem import Refusal
from tds_runtime.queue import WEBHOOK, Change

PATH = "/api/bff/tds/sync/stock"
PRODUCT = "product"
MOST = 200
"""Items of one request: each is a call of its own out of the day's budget."""

ItemId = Annotated[str, Meta(pattern=r"^\d{1,32}$")]


class Items(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which items are asked for again, by their ids at the source, and why."""

    item_ids: Annotated[tuple[ItemId, ...], Meta(min_length=1, max_length=MOST)]
    reason: Reason = "by hand"


class Asked(Struct, frozen=True):
    """How many tasks that is; `coalesced` of them met one that waited already."""

    enqueued: int
    coalesced: int


class Stock(Struct, frozen=True, kw_only=True):
    """Of 24 hours, with the newest run; `success_rate` is in percent of the items."""

    last_run: Outcome | None
    runs_24h: int
    completed_24h: int
    failed_24h: int
    items_24h: int
    applied_24h: int
    failures_24h: int
    success_rate: float


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Asking and reading."""
    stock = _Stock(services)
    return (
        Endpoint(
            method="POST",
            path=PATH,
            role="operator",
            handler=stock.all,
            summary="Pull all stock",
            body=Because,
            query=Patience,
            result=Outcome,
            also={202: Outcome},
        ),
        Endpoint(
            method="POST",
            path=f"{PATH}/specific",
            role="operator",
            handler=stock.specific,
            summary="Ask for a few items again",
            body=Items,
            result=Asked,
            status=202,
            refuses=(404,),
        ),
        Endpoint(
            method="GET",
            path=f"{PATH}/stats",
            role="viewer",
            handler=stock.stats,
            summary="Stock of a day",
            result=Stock,
        ),
    )


class _Stock:
    def __init__(self, services: Services) -> None:
        self._database, self._queue, self._entities = services.database, services.queue, services.entities
        self._pulls = Pulls(services)

    async def all(self, request: Request, caller: Caller) -> Response:
        wish = Wish(reason=read(request, Because).reason)
        return await self._pulls.begin(request, caller, (PRODUCT, "stock"), wish, parameters(request, Patience))

    async def specific(self, request: Request, caller: Caller) -> Response:
        wanted = read(request, Items)
        product = self._entities.get(PRODUCT)
        if product is None:
            raise Refusal(404, "There are no products here.")
        changes = [_asked(item, product.sources[0].name, caller) for item in wanted.item_ids]
        async with self._database.transaction() as connection:
            enqueued = await self._queue.enqueue(connection, changes)
            detail = {"item_ids": wanted.item_ids}
            await audit.note(connection, caller, "stock.request", reason=wanted.reason, entity=PRODUCT, detail=detail)
        return answer(Asked(enqueued.accepted, enqueued.coalesced), 202)

    async def stats(self, _request: Request, _caller: Caller) -> Response:
        row = await self._database.fetchrow(sql.load("api/stock", package="actors"))
        assert row is not None
        newest = await runs.recent(self._database, kind="stock", limit=1)
        items, failures = row["items"], row["failures"]
        day = Stock(
            last_run=outcome(newest[0], await runs.children(self._database, newest[0].id)) if newest else None,
            runs_24h=row["runs"],
            completed_24h=row["completed"],
            failed_24h=row["failed"],
            items_24h=items,
            applied_24h=row["applied"],
            failures_24h=failures,
            success_rate=round(100 * (items - failures) / items, 2) if items else 100.0,
        )
        return answer(day)


def _asked(item: str, variant: str, caller: Caller) -> Change:
    return Change(
        entity_type=PRODUCT,
        source_entity_id=item,
        operation="fetch",
        variant=variant,
        priority=WEBHOOK,
        correlation_id=CORRELATION.get(),
        reason=f"stock asked for by {caller.name}",
    )
