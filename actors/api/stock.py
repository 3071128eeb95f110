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
    database, queue, pulls = services.database, services.queue, Pulls(services)

    async def all_(request: Request, caller: Caller) -> Response:
        wish = Wish(reason=read(request, Because).reason)
        return await pulls.begin(request, caller, (PRODUCT, "stock"), wish, parameters(request, Patience))

    async def specific(request: Request, caller: Caller) -> Response:
        wanted = read(request, Items)
        product = services.entities.get(PRODUCT)
        if product is None:
            raise Refusal(404, "There are no products here.")
        changes = [
            Change(
                entity_type=PRODUCT,
                source_entity_id=item,
                operation="fetch",
                variant=product.sources[0].name,
                priority=WEBHOOK,
                correlation_id=CORRELATION.get(),
                reason=f"stock asked for by {caller.name}",
            )
            for item in wanted.item_ids
        ]
        async with database.transaction() as connection:
            enqueued = await queue.enqueue(connection, changes)
            detail = {"item_ids": wanted.item_ids}
            await audit.note(connection, caller, "stock.request", reason=wanted.reason, entity=PRODUCT, detail=detail)
        return answer(Asked(enqueued.accepted, enqueued.coalesced), 202)

    async def stats(_request: Request, _caller: Caller) -> Response:
        row = await database.fetchrow(sql.load("api/stock", package="actors"))
        assert row is not None
        newest = await runs.recent(database, kind="stock", limit=1)
        items, failures = row["items"], row["failures"]
        return answer(
            Stock(
                last_run=outcome(newest[0], await runs.children(database, newest[0].id)) if newest else None,
                runs_24h=row["runs"],
                completed_24h=row["completed"],
                failed_24h=row["failed"],
                items_24h=items,
                applied_24h=row["applied"],
                failures_24h=failures,
                success_rate=round(100 * (items - failures) / items, 2) if items else 100.0,
            )
        )

    return (
        Endpoint(
            method="POST",
            path=PATH,
            role="operator",
            handler=all_,
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
            handler=specific,
            summary="Ask for a few items again",
            body=Items,
            result=Asked,
            status=202,
            refuses=(404,),
        ),
        Endpoint(
            method="GET", path=f"{PATH}/stats", role="viewer", handler=stats, summary="Stock of a day", result=Stock
        ),
    )
