"""The local tables by themselves: orphans, duplicates, integrity, and products as a whole."""

from __future__ import annotations

from functools import partial

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors import reports
from actors.api.authentication import Caller
from actors.api.endpoints import Endpoint, Limit, answer, parameters
from actors.api.services import Services
from actors.reports import Result
from actors.zoho import validating
from actors.zoho.validating import Kind, Page, WrongPosition
from tds_runtime.problem import Refusal

PATH = "/api/bff/tds/data-validation"
PRODUCT = "product"
_SUMMARIES: dict[Kind, str] = {
    "integrity": "Records with values that cannot be right",
    "orphans": "Records whose parent is not there",
    "duplicates": "Records that say the same of themselves",
}


class Bound(Struct, frozen=True, kw_only=True):
    """How many rows are looked at."""

    limit: Limit | None = None


class Look(Bound, frozen=True, kw_only=True):
    """Which rows: of one entity, behind the `next` of an earlier answer."""

    entity_type: str = ""
    after: str = ""


class Products(Struct, frozen=True, kw_only=True):
    """Products against the source as they were compared last (None before the first time), and by themselves now."""

    entity: str
    valid: bool
    reconciliation: Result | None
    integrity: Page
    orphans: Page
    duplicates: Page


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Reading only; each look reads a bounded number of rows and says in `next` where the following one goes on."""
    validation = _Validation(services)
    kinds = tuple(
        Endpoint(
            method="GET",
            path=f"{PATH}/{kind}",
            role="viewer",
            handler=partial(validation.of_kind, kind),
            summary=_SUMMARIES[kind],
            query=Look,
            result=Page,
            refuses=(404,),
        )
        for kind in validating.KINDS
    )
    products = Endpoint(
        method="GET",
        path=f"{PATH}/products",
        role="viewer",
        handler=validation.products,
        summary="Products, by themselves and against the source",
        query=Bound,
        result=Products,
        refuses=(404,),
    )
    return (products, *kinds)


class _Validation:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def of_kind(self, kind: Kind, request: Request, _caller: Caller) -> Response:
        wanted = parameters(request, Look)
        if wanted.entity_type and wanted.entity_type not in self._services.entities:
            raise Refusal(404, "There is no such entity.", errors=self._services.entities.names)
        return answer(await self._look(kind, wanted))

    async def products(self, request: Request, _caller: Caller) -> Response:
        if PRODUCT not in self._services.entities:
            raise Refusal(404, "There are no products here.")
        wanted = Look(entity_type=PRODUCT, limit=parameters(request, Bound).limit)
        found = {kind: await self._look(kind, wanted) for kind in validating.KINDS}
        whole = Products(
            entity=PRODUCT,
            valid=not any(page.items for page in found.values()),
            reconciliation=await reports.latest(self._services.database, PRODUCT),
            integrity=found["integrity"],
            orphans=found["orphans"],
            duplicates=found["duplicates"],
        )
        return answer(whole)

    async def _look(self, kind: Kind, wanted: Look) -> Page:
        limit = wanted.limit or self._services.options.page
        database, entities = self._services.database, self._services.entities
        try:
            return await validating.look(
                database, entities, kind, entity=wanted.entity_type, position=wanted.after, limit=limit
            )
        except WrongPosition as error:
            raise Refusal(422, "after is not a position that an earlier answer gave.") from error
