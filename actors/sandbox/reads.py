"""GET calls: lists, details, images, bulk details, reports and the small lists."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from actors.sandbox.answers import Answer, Refused, failure, invalid, json_answer, missing, success, unknown_path
from actors.sandbox.chance import mixed
from actors.sandbox.desk import PAYMENTS
from actors.sandbox.documents import Documents
from actors.sandbox.drawers import Drawers
from actors.sandbox.kinds import Kind
from actors.sandbox.listing import Listing
from actors.sandbox.options import ORGANIZATION_ID, Switches
from actors.sandbox.paper import PRINTED, printed, wanted_form
from actors.sandbox.parts import NAMES as PART_NAMES
from actors.sandbox.parts import Parts
from actors.sandbox.people import Organization
from actors.sandbox.pictures import picture
from actors.sandbox.request import Call, whole_number
from actors.sandbox.shapes import Document, Shapes
from actors.sandbox.world import World

BULK = 200
CONTACT_PATHS = {"customers": "customer", "vendors": "vendor"}


class Reads:
    """Answers every GET below a product's prefix."""

    def __init__(
        self,
        world: World,
        documents: Documents,
        listing: Listing,
        drawers: Drawers,
        parts: Parts,
        *,
        edition: str,
        switches: Callable[[], Switches],
    ) -> None:
        self._world = world
        self._documents = documents
        self._listing = listing
        self._drawers = drawers
        self._parts = parts
        self._switches = switches
        self._organization = Organization(edition)
        self._summary = Shapes("inventorysummary")["row"]
        self.uploads: dict[int, tuple[bytes, bytes]] = {}
        self._special: dict[str, Callable[[Call], Answer]] = {
            "organizations": self._organizations, "itemdetails": self._bulk, "branches": self._branches,
            "settings/warehouses": self._warehouses, "reports/inventorysummary": self._inventory_summary,
            "reports/inventoryvaluation": self._inventory_valuation, "settings/locations": self._locations,
            "locations": self._locations,
        }  # fmt: skip

    @property
    def organization(self) -> Document:
        """The organisation's detail."""
        return self._organization.detail

    def answer(self, call: Call, *, shift: int = 0) -> Answer:
        """One GET; `shift` makes a list lie about its page."""
        parts = call.parts
        kind = self._world.catalogue.by_module.get(parts[0]) if parts else None
        if kind is not None and kind.sort_column:
            return self._record(call, kind) if len(parts) > 1 else self._list(call, kind, shift)
        if parts and parts[0] in CONTACT_PATHS:
            return self._contacts(call, shift)
        for depth in (2, 1):
            special = self._special.get("/".join(parts[:depth]))
            if special is not None:
                return special(call)
        return self._drawers.get(call)

    # --- lists and records

    def _list(self, call: Call, kind: Kind, shift: int) -> Answer:
        return self._listing.answer(kind, call.api, self._listing.understand(kind, call.api, call.query), shift=shift)

    def _contacts(self, call: Call, shift: int) -> Answer:
        kind = self._world.kind("contacts")
        if len(call.parts) > 1:
            return self._record(call, kind)
        call.query["contact_type"] = CONTACT_PATHS[call.parts[0]]
        return self._list(call, kind, shift)

    def found(self, kind: Kind, record_id: str) -> int:
        """The index of a living record by its id; refuses with 404 / 1002 otherwise."""
        index = self._world.catalogue.index(kind, record_id)
        if index < 0 or not self._world.exists(kind.module, index):
            raise missing(kind.label)
        return index

    def _record(self, call: Call, kind: Kind) -> Answer:
        name = call.parts[1]
        if not name.isdecimal() and (found := self._beside(call, kind)) is not None:
            return found
        index = 0 if kind.module == "users" and name == "me" else self.found(kind, name)
        if len(call.parts) == 2:  # noqa: PLR2004 - module and id
            if kind.module in PRINTED and (form := wanted_form(call)):
                return printed(self._documents.document(kind.module, index, call.api, "detail"), form)
            body = self._documents.detail(kind.module, index, call.api)
            return Answer(200, b"".join((b'{"code":0,"message":"success","%b":' % kind.singular.encode(), body, b"}")))
        if call.parts[2] == "image" and kind.module == "items":
            return self.image(index)
        return self._part(call, kind, index)

    def _beside(self, call: Call, kind: Kind) -> Answer | None:
        """What stands where an id is expected: templates, papers of several records, parts of whichever record."""
        name = call.parts[1]
        if name == "templates":
            return success({"templates": self._drawers.rows("templates")})
        if name in {"pdf", "print"} and kind.module in PRINTED:
            return printed({}, "pdf")
        if name == "contactpersons" and len(call.parts) > 2 and kind.owner(call.parts[2]) >= 0:  # noqa: PLR2004 - a person's id
            index = self.found(kind, kind.record_id(kind.owner(call.parts[2])))
            person = self._documents.document(kind.module, index, call.api, "detail")["contact_persons"]
            return success({"contact_person": person[0]}) if person else None
        if name in {"batches", "serialnumbers"}:
            return self._drawers.get(call)
        if name == "transactions" and len(call.parts) > 2:  # noqa: PLR2004 - of which module
            return success({call.parts[2]: []})
        return self._parts.everywhere(kind.module, name, "".join(call.parts[2:3])) if name in PART_NAMES else None

    def _part(self, call: Call, kind: Kind, index: int) -> Answer:
        """A part of a record: from its detail, from what was written, or an empty list."""
        document = self._documents.document(kind.module, index, call.api, "detail")
        if call.parts[2] == "payments" and kind.module in PAYMENTS:
            document["payments"] = self._settlements(kind.module, index)
        if call.parts[2] == "address" and kind.module == "contacts":
            document["addresses"] = [document["billing_address"], document["shipping_address"]]
        return self._parts.read(kind.module, kind.record_id(index), call.parts[2:], document)

    def _settlements(self, module: str, index: int) -> list[Document]:
        """The payments of an invoice or a bill: the seeded one has its index, the others were made later."""
        world, kind = self._world, self._world.kind(PAYMENTS[module])
        seeded = world.counts[kind.module]
        later = (number for number in world.living(kind.module) if number >= seeded)
        rows = []
        for number in (*((index,) if index < seeded and world.exists(kind.module, index) else ()), *later):
            facts = world.facts(kind.module, number)
            if facts["applied"] == index:
                rows.append({
                    "payment_id": facts["id"], "payment_number": facts["payment_number"], "date": facts["date"],
                    "payment_mode": facts["payment_mode"], "description": facts["description"],
                    "reference_number": facts["reference_number"], "exchange_rate": 1.0, "amount": facts["amount"],
                    f"{module[:-1]}_payment_id": kind.part_id(number, 1),
                    f"{module[:-1]}_id": world.kind(module).record_id(index), "is_single_invoice_payment": True,
                })  # fmt: skip
        return rows

    def image(self, index: int) -> Answer:
        """The image's bytes; refuses where there is none (the code is an open point)."""
        if index in self.uploads:
            content_type, body = self.uploads[index]
            return Answer(200, body, (), content_type)
        name = self._world.facts("items", index)["image_name"]
        if not name:
            switches = self._switches()
            raise Refused(failure(switches.missing_image_status, switches.missing_image_code, "Image does not exist."))
        colour = mixed(self._world.seed, 99, index) ^ sum(name.encode())
        return Answer(
            200,
            picture(colour & 0xFFFFFF),
            ((b"content-disposition", f'inline; filename="{name}"'.encode()),),
            b"image/png",
        )

    # --- the special ones

    def _organizations(self, call: Call) -> Answer:
        if len(call.parts) == 1:
            answer = success({"organizations": [self._organization.row]})
            return msgspec.structs.replace(answer, headers=((b"allow", b"OPTIONS, POST, GET"),))
        if call.parts[1] != ORGANIZATION_ID:
            raise missing("Organization")
        return success({"organization": self._organization.detail})

    def _bulk(self, call: Call) -> Answer:
        ids = [text for text in call.query.get("item_ids", "").split(",") if text]
        if not ids or len(ids) > BULK:
            raise invalid("item_ids")
        kind, items = self._world.kind("items"), []
        for text in ids:
            index = self._world.catalogue.index(kind, text)
            if index < 0 or not self._world.exists("items", index):
                raise Refused(failure(404, 1002, "Resource does not exist"))
            items.append(self._world.items.bulk(self._world.facts("items", index)))
        return success({"items": items})

    def _locations(self, call: Call) -> Answer:
        kind = self._world.kind("locations")
        name = call.parts[-1]
        if name != "locations":
            index = self.found(kind, name)
            return success({"location": self._documents.document("locations", index, call.api, "detail")})
        rows = b",".join(self._listing.everything(kind, call.api))
        return Answer(200, b'{"code":0,"message":"success","locations":[' + rows + b"]}")

    def _places(self) -> list[Document]:
        return [self._world.facts("locations", index) for index in self._world.living("locations")]

    def _branches(self, _call: Call) -> Answer:
        if not self._switches().branches_enabled:
            raise Refused(failure(400, 110817, "This feature is not enabled for your organization."))
        return success({"branches": [self._world.locations.branch(facts) for facts in self._places()]})

    def _warehouses(self, call: Call) -> Answer:
        if call.api != "inventory":
            raise unknown_path()
        return success({"warehouses": [self._world.locations.warehouse(facts) for facts in self._places()]})

    def _inventory_rows(self) -> list[Document]:
        rows = []
        for index in self._world.living("items"):
            facts = self._world.facts("items", index)
            if facts["item_type"] == "inventory":
                on_hand = sum(level for _, level, _ in self._world.items.stock(index))
                committed = sum(part for _, _, part in self._world.items.stock(index))
                rows.append(self._summary | {
                    "item_id": facts["id"], "item_name": facts["name"], "sku": facts["sku"], "unit": facts["unit"],
                    "status": facts["status"], "category_name": facts["category_name"], "quantity_available": on_hand,
                    "reorder_level": facts["reorder_level"], "quantity_available_for_sale": on_hand - committed,
                    "quantity_demanded": committed, "quantity_purchased": 0.0, "quantity_sold": 0.0,
                    "asset_value": round(on_hand * facts["purchase_rate"], 2),
                })  # fmt: skip
        return rows

    def _report(self, call: Call, name: str, rows: list[Document], report: str) -> Answer:
        page, per_page = whole_number(call.query, "page", 1), min(200, whole_number(call.query, "per_page", 200))
        part = rows[(page - 1) * per_page : page * per_page]
        context = {
            "page": page,
            "per_page": per_page,
            "has_more_page": page * per_page < len(rows),
            "report_name": report,
        }
        return json_answer({"code": 0, "message": "success", name: part, "page_context": context})

    def _inventory_summary(self, call: Call) -> Answer:
        rows = [{key: value for key, value in row.items() if key != "asset_value"} for row in self._inventory_rows()]
        return self._report(call, "inventory", rows, "Inventory Summary")

    def _inventory_valuation(self, call: Call) -> Answer:
        return self._report(call, "inventory_valuation", self._inventory_rows(), "Inventory Valuation Summary")
