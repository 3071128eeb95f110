"""The local tables by themselves: orphans, duplicates, integrity, and products as a whole."""

from __future__ import annotations

from functools import partial

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors import reports
from actors.api.authentication import Caller
from actors.api.endpoints import LONGEST_PAGE, Endpoint, answer, number, text
from actors.api.services import Services
from actors.reports import Result
from actors.zoho import validating
from actors.zoho.validating import Kind, Page, WrongPosition
from tds_runtime.problem import Refusal

PATH = "/api/bff/tds/data-validation"
PRODUCT = "product"


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
            method="GET", path=f"{PATH}/{kind}", role="viewer", handler=partial(validation.of_kind, kind), summary=kind
        )
        for kind in validating.KINDS
    )
    products = Endpoint(
        method="GET", path=f"{PATH}/products", role="viewer", handler=validation.products, summary="Valid products"
    )
    return (products, *kinds)


class _Validation:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def of_kind(self, kind: Kind, request: Request, _caller: Caller) -> Response:
        entity = text(request, "entity_type") or ""
        if entity and entity not in self._services.entities:
            raise Refusal(404, "There is no such entity.", errors=self._services.entities.names)
        return answer(await self._look(kind, request, entity, text(request, "after") or ""))

    async def products(self, request: Request, _caller: Caller) -> Response:
        if PRODUCT not in self._services.entities:
            raise Refusal(404, "There are no products here.")
        found = {kind: await self._look(kind, request, PRODUCT) for kind in validating.KINDS}
        whole = Products(
            entity=PRODUCT,
            valid=not any(page.items for page in found.values()),
            reconciliation=await reports.latest(self._services.database, PRODUCT),
            integrity=found["integrity"],
            orphans=found["orphans"],
            duplicates=found["duplicates"],
        )
        return answer(whole)

    async def _look(self, kind: Kind, request: Request, entity: str, position: str = "") -> Page:
        limit = number(request, "limit", self._services.options.page, most=LONGEST_PAGE)
        database, entities = self._services.database, self._services.entities
        try:
            return await validating.look(database, entities, kind, entity=entity, position=position, limit=limit)
        except WrongPosition as error:
            raise Refusal(422, "after is not a position that an earlier answer gave.") from error
