"""Control calls about records: edit, create, delete, move stock, pay, and tell the present truth."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import anyio
import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from actors.sandbox.clock import parse_stamp
from actors.sandbox.entity import Facts
from actors.sandbox.kinds import Kind
from actors.sandbox.stage import Stage
from actors.sandbox.world import Changed

BLOCK = 200
BLANK = {"customerpayments", "vendorpayments"}
READ_BY_ENTITIES = frozenset({
    "line_items", "customer_id", "vendor_id", "custom_fields", "billing_address", "contact_persons", "address",
    "pricebook_items", "invoices", "bills", "salesorder_id",
})  # fmt: skip


class Wrong(Exception):
    """The control call asks for something that is not there or cannot be."""


class Chosen(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which records: by id, the first so many, or so many at random."""

    entity: str
    ids: list[str] | None = None
    count: int | None = None
    random: int | None = None
    set: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    stamp: str = "now"
    webhooks: bool | None = None


class Move(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """So much more (or less) of an item at a location."""

    id: str
    quantity: float
    location_id: str | None = None


class Moves(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stock moves, given or random."""

    moves: list[Move] = []
    random: int = 0
    webhooks: bool | None = None


class Payment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is paid; without an amount, all of it."""

    invoice_id: str | None = None
    bill_id: str | None = None
    amount: float | None = None
    webhooks: bool | None = None


def json_response(document: Any, status: int = 200) -> Response:
    """Any document as a control answer."""
    return Response(msgspec.json.encode(document), status, media_type="application/json")


class Records:
    """The control calls that read and change records."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.routes = [
            Route("/sandbox/counts", self.counts),
            Route("/sandbox/edit", self.edit, methods=["POST"]),
            Route("/sandbox/create", self.create, methods=["POST"]),
            Route("/sandbox/delete", self.delete, methods=["POST"]),
            Route("/sandbox/stock", self.stock, methods=["POST"]),
            Route("/sandbox/pay", self.pay, methods=["POST"]),
            Route("/sandbox/truth/{entity}", self.truth),
            Route("/sandbox/record/{entity}/{id}", self.record),
        ]

    # --- choosing

    def kind(self, name: str) -> Kind:
        """The kind of that name."""
        kind = self._stage.world.catalogue.named(name)
        if kind is None:
            raise Wrong(f"there is no entity {name!r}")
        return kind

    def index(self, kind: Kind, record_id: str) -> int:
        """The index of a living record."""
        index = self._stage.world.catalogue.index(kind, record_id)
        if not self._stage.world.exists(kind.module, index):
            raise Wrong(f"there is no {kind.singular} {record_id}")
        return index

    def living(self, name: str, contact_type: str = "") -> list[int]:
        """All living indexes; `customer` and `vendor` name halves of the contacts."""
        kind = self.kind(name)
        found = self._stage.world.living(kind.module)
        half = contact_type or {
            "customer": "customer",
            "customers": "customer",
            "vendor": "vendor",
            "vendors": "vendor",
        }.get(name, "")
        if kind.module != "contacts" or not half:
            return list(found)
        return [index for index in found if self._stage.world.contact_type(index) == half]

    def chosen(self, name: str, *, ids: list[str] | None, count: int | None, some: int | None) -> list[int]:
        """The indexes that a call means."""
        kind = self.kind(name)
        if ids is not None:
            return [self.index(kind, record_id) for record_id in ids]
        living = self.living(name)
        if some is not None:
            return self._stage.random.sample(living, min(some, len(living)))
        if count is None:
            raise Wrong('which records? give "ids", "count" or "random"')
        return living[:count]

    def _loud(self, asked: bool | None) -> bool:
        return self._stage.switches.control_fires_webhooks if asked is None else asked

    def _patch(self, kind: Kind, index: int | None, body: dict[str, Any]) -> tuple[Facts, dict[str, Any]]:
        """The facts that `set` states, and the keys that are no facts: those go into the documents as they are."""
        world = self._stage.world
        facts = world.facts(kind.module, index) if index is not None else world.entities[kind.module].blank(0)
        patch = world.entities[kind.module].adopt(body)
        for key in ("status", "payment_made", "salesperson_name", "contact_type", "pricebook_items"):
            if key in body and key in facts:
                patch[key] = body[key]
        known = READ_BY_ENTITIES | set(patch)
        return patch, {key: value for key, value in body.items() if key not in known}

    # --- calls

    async def counts(self, _request: Request) -> Response:
        world = self._stage.world
        counts = {kind.module: world.count(kind.module) for kind in world.catalogue.kinds}
        return json_response(
            counts | {"customers": len(self.living("customer")), "vendors": len(self.living("vendor"))}
        )

    async def edit(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=Chosen)
        kind, stage = self.kind(asked.entity), self._stage
        stamp = asked.stamp
        if stamp not in {"now", "next", "keep"}:
            seconds = parse_stamp(stamp)
            if seconds is None:
                raise Wrong(f"{stamp!r} is neither now, next, keep nor a time")
            stamp = str(seconds)
        changed = []
        for index in self.chosen(asked.entity, ids=asked.ids, count=asked.count, some=asked.random):
            if asked.set or asked.extra:
                patch, rest = self._patch(kind, index, asked.set)
            else:
                patch, rest = stage.world.touch(kind.module, index), {}
            loud = self._loud(asked.webhooks)
            changed.append(
                stage.desk.change(kind.module, index, patch, loud=loud, extra=rest | asked.extra, stamp=stamp)
            )
        return json_response({"records": changed})

    async def create(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=Chosen)
        kind = self.kind(asked.entity)
        changed = []
        for _ in range(asked.count or 1):
            patch, rest = self._patch(kind, None, asked.set)
            if kind.module == "contacts":
                patch.setdefault("contact_type", "vendor" if asked.entity.startswith("vendor") else "customer")
            blank = kind.module in BLANK
            if blank:
                patch.setdefault("amount", 1000.0)
            made = self._stage.desk.create(kind.module, patch, blank=blank, loud=self._loud(asked.webhooks))
            if rest or asked.extra:
                index = int(made.id[10:])
                made = self._stage.world.change(kind.module, index, {}, extra=rest | asked.extra, stamp="keep")
            changed.append(made)
        return json_response({"records": changed})

    async def delete(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=Chosen)
        kind, loud = self.kind(asked.entity), self._loud(asked.webhooks)
        chosen = self.chosen(asked.entity, ids=asked.ids, count=asked.count, some=asked.random)
        return json_response({"records": [self._stage.desk.delete(kind.module, index, loud=loud) for index in chosen]})

    async def stock(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=Moves)
        world, kind, locations = self._stage.world, self.kind("items"), self.kind("locations")
        moves = [
            (
                self.index(kind, move.id),
                self.index(locations, move.location_id) if move.location_id else 0,
                move.quantity,
            )
            for move in asked.moves
        ]
        tracked = [index for index in world.living("items") if world.items.tracked(index)] if asked.random else []
        for index in self._stage.random.sample(tracked, min(asked.random, len(tracked))):
            moves += [(index, 0, float(self._stage.random.choice((-3, -2, -1, 1, 2, 5))))]
        return json_response({"records": [self._moved(*move, loud=self._loud(asked.webhooks)) for move in moves]})

    def _moved(self, index: int, location: int, quantity: float, *, loud: bool) -> dict[str, Any]:
        world = self._stage.world
        changed = world.move(index, location, quantity)
        if loud:
            self._stage.workflows.heard("items", index, "edited")
        on_hand = sum(level for _, level, _ in world.items.stock(index))
        return msgspec.structs.asdict(changed) | {"stock_on_hand": on_hand}

    async def pay(self, request: Request) -> Response:
        asked = msgspec.json.decode(await request.body(), type=Payment)
        module, record_id = ("invoices", asked.invoice_id) if asked.invoice_id else ("bills", asked.bill_id or "")
        index = self.index(self.kind(module), record_id)
        payment, document = self._stage.desk.pay(module, index, asked.amount, loud=self._loud(asked.webhooks))
        facts = self._stage.world.facts(module, index)
        return json_response(
            {"payment": payment, "document": document, "balance": facts["balance"], "status": facts["status"]}
        )

    # --- the truth

    async def truth(self, request: Request) -> Response:
        name, asked = request.path_params["entity"], request.query_params
        view: Literal["list", "detail", "ids"] = msgspec.convert(
            asked.get("view", "list"), Literal["list", "detail", "ids"]
        )
        living = self.living(name, asked.get("contact_type", ""))
        lines = self._lines(self.kind(name), living, view, asked.get("api", "books"))
        return StreamingResponse(lines, media_type="application/x-ndjson")

    async def _lines(self, kind: Kind, living: list[int], view: str, api: str) -> AsyncIterator[bytes]:
        for start in range(0, len(living), BLOCK):
            block = [self._line(kind, index, view, api) for index in living[start : start + BLOCK]]
            yield b"\n".join(block) + b"\n"
            await anyio.lowlevel.checkpoint()

    def _line(self, kind: Kind, index: int, view: str, api: str) -> bytes:
        stage = self._stage
        if view == "ids":
            facts = stage.world.facts(kind.module, index)
            stamp = stage.clock.stamp(facts["modified"])
            version = stage.world.version(kind.module, index)
            entity = stage.workflows.entity_of(kind.module, index)
            return msgspec.json.encode(
                Changed(entity=entity, id=facts["id"], version=version, last_modified_time=stamp)
            )
        write = stage.documents.row if view == "list" else stage.documents.detail
        return write(kind.module, index, api)

    async def record(self, request: Request) -> Response:
        kind, asked, stage = self.kind(request.path_params["entity"]), request.query_params, self._stage
        index = self.index(kind, request.path_params["id"])
        past = stage.world.past(kind.module, index, int(asked["version"])) if "version" in asked else None
        if past is None and asked.get("version", str(version := stage.world.version(kind.module, index))) != str(
            version
        ):
            raise Wrong(f"version {asked['version']} is not kept")
        if asked.get("view") == "webhook":
            return Response(stage.documents.webhook(kind.module, index, past), media_type="application/json")
        form = "row" if asked.get("view", "detail") == "list" else "detail"
        return json_response(stage.documents.document(kind.module, index, asked.get("api", "books"), form, past))
