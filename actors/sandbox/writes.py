"""POST, PUT and DELETE: records are made, edited and deleted with the recorded statuses and messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import msgspec

from actors.sandbox.answers import Answer, Refused, failure, success, unknown_path
from actors.sandbox.desk import PAID_BY, Desk
from actors.sandbox.documents import Documents
from actors.sandbox.drawers import Drawers
from actors.sandbox.entity import Facts
from actors.sandbox.kinds import Kind
from actors.sandbox.options import ORGANIZATION_ID, Switches
from actors.sandbox.parts import Parts
from actors.sandbox.reads import Reads
from actors.sandbox.request import Call, multipart_part
from actors.sandbox.shapes import Document, number
from actors.sandbox.world import World

CREATED = {
    "contacts": "The contact has been added.", "items": "The item has been added.",
    "invoices": "The invoice has been created.",
    "salesorders": "Sales Order has been created.", "bills": "The bill has been created.",
    "creditnotes": "The credit note has been created.",
    "customerpayments": "The payment from the customer has been recorded",
    "vendorpayments": "The payment made to the vendor has been recorded",
}  # fmt: skip
SAVED = {
    "items": "Item details have been saved.", "contacts": "Contact information has been saved.",
    "invoices": "Invoice information has been updated.",
}  # fmt: skip
DELETED = {
    "items": "The item has been deleted.", "contacts": "The customer has been deleted.",
    "invoices": "The invoice has been deleted.",
    "bills": "The bill has been deleted.", "creditnotes": "The credit note has been deleted.",
    "customerpayments": "The payment has been deleted.", "vendorpayments": "The payment has been deleted.",
}  # fmt: skip
NEEDED = {
    "items": ("name",), "contacts": ("contact_name",), "invoices": ("customer_id", "line_items"),
    "salesorders": ("customer_id", "line_items"), "bills": ("vendor_id", "line_items"),
    "creditnotes": ("customer_id", "line_items"),
    "customerpayments": ("customer_id", "amount"), "vendorpayments": ("vendor_id", "amount"), "pricebooks": ("name",),
    "users": ("name", "email"), "locations": ("location_name",), "inventoryadjustments": ("line_items",),
    "salesreturns": ("line_items",),
}  # fmt: skip
# What follows from other things, whatever a body says; contact persons become facts of their contact.
WORKED_OUT = frozenset({
    "status", "line_items", "total", "sub_total", "balance", "payment_made", "created_time", "last_modified_time",
    "customer_name", "vendor_name", "currency_code", "contact_persons", "invoices", "bills", "pricebook_items",
    "locations", "warehouses", "stock_on_hand", "available_stock", "actual_available_stock",
})  # fmt: skip
NUMBER_OR_NOTHING = frozenset({"reorder_level", "percentage"})
STATUSES = {"active", "inactive", "mark_active", "mark_inactive"}


class Writes:
    """Answers every call that changes something below a product's prefix."""

    def __init__(
        self,
        world: World,
        desk: Desk,
        documents: Documents,
        *,
        reads: Reads,
        drawers: Drawers,
        parts: Parts,
        switches: Callable[[], Switches],
    ) -> None:
        self._world = world
        self._desk = desk
        self._documents = documents
        self._reads = reads
        self._drawers = drawers
        self._parts = parts
        self._switches = switches

    @property
    def _loud(self) -> bool:
        return self._switches().api_writes_fire_webhooks

    def answer(self, call: Call) -> Answer:
        """One POST, PUT or DELETE."""
        parts = call.parts
        if parts[:2] == ("settings", "locations"):
            parts = parts[1:]
        kind = self._world.catalogue.by_module.get(parts[0]) if parts else None
        if parts == ("organizations", ORGANIZATION_ID) and call.method == "PUT":
            return success({"organization": self._reads.organization}, "The organization has been updated.")
        if kind is None:
            return self._drawers.write(call)
        if len(parts) == 1:
            if call.method != "POST":
                raise Refused(
                    failure(405, 37, f"The HTTP method {call.method} is not allowed for the requested resource")
                )
            return self._create(call, kind)
        if not parts[1].isdecimal():
            return self._beside(call, kind, parts[1:])
        index = self._reads.found(kind, parts[1])
        if len(parts) > 2:  # noqa: PLR2004 - an action or a part of the record
            return self._act(call, kind, index, parts[2:])
        return self._delete(kind, index) if call.method == "DELETE" else self._save(call, kind, index)

    def _written(self, kind: Kind, index: int, api: str) -> Document:
        return {kind.singular: msgspec.Raw(self._documents.detail(kind.module, index, api))}

    def _adopted(self, kind: Kind, body: Document) -> Facts:
        """The facts that a body states; refuses ids and numbers that are none."""
        entity = self._world.entities[kind.module]
        blank = entity.blank(0)
        try:
            patch = {name: settled(name, value, blank.get(name)) for name, value in entity.adopt(body).items()}
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            raise Refused(failure(400, 4, "Invalid value passed.")) from None
        self._point_to_records(kind, patch)
        return patch

    def _point_to_records(self, kind: Kind, patch: Facts) -> None:
        """Refuse a body that names a contact, a document or an item that is not there."""
        world = self._world
        if "contact" in patch and not world.exists("contacts", patch["contact"]):
            raise Refused(failure(400, 2, "Invalid value passed for Contact ID"))
        if "applied" in patch and not world.exists(PAID_BY[kind.module], patch["applied"]):
            raise Refused(failure(400, 2, "Invalid value passed for Document ID"))
        if any(line.item >= 0 and not world.exists("items", line.item) for line in patch.get("lines", ())):
            raise Refused(failure(400, 2, "Invalid value passed for Item ID"))

    def _echoed(self, kind: Kind, body: Document, adopted: Facts, before: Document) -> Facts:
        """The keys of a body that no fact stands for, but that the documents have: they come back as they were sent."""
        kept = {
            key: value
            for key, value in body.items()
            if key not in adopted and key not in WORKED_OUT and key not in {kind.id_key, "customer_id", "vendor_id"}
        }
        return {"written": before | kept} if before or kept else {}

    def _create(self, call: Call, kind: Kind) -> Answer:
        body = call.document()
        for name in NEEDED[kind.module]:
            if not body.get(name):
                raise Refused(failure(400, 4, f"Invalid value passed for {name}"))
        patch = self._adopted(kind, body)
        patch |= self._echoed(kind, body, patch, {})
        changed = self._desk.create(kind.module, patch, blank=True, loud=self._loud)
        index = int(changed.id[10:])
        message = CREATED.get(kind.module, f"The {kind.label.lower()} has been added.")
        answer = success(self._written(kind, index, call.api), message, 201)
        prefix = "v3" if call.api == "books" else "v1"
        location = (b"location", f"/api/{prefix}/{kind.module}/{changed.id}".encode())
        return msgspec.structs.replace(answer, headers=(location,))

    def _save(self, call: Call, kind: Kind, index: int) -> Answer:
        body = call.document()
        patch = self._adopted(kind, body)
        patch |= self._echoed(kind, body, patch, self._world.facts(kind.module, index).get("written", {}))
        self._desk.change(kind.module, index, patch, loud=self._loud)
        message = SAVED.get(kind.module, f"The {kind.label.lower()} has been updated.")
        return success(self._written(kind, index, call.api), message)

    def _delete(self, kind: Kind, index: int) -> Answer:
        self._desk.delete(kind.module, index, loud=self._loud)
        return success({}, DELETED.get(kind.module, f"The {kind.label.lower()} has been deleted."))

    # --- actions

    def _act(self, call: Call, kind: Kind, index: int, action: tuple[str, ...]) -> Answer:
        if action[0] == "image" and kind.module == "items":
            return self._image(call, index)
        if action[0] in STATUSES:
            status = action[0].removeprefix("mark_")
            self._desk.change(kind.module, index, {"status": status}, loud=self._loud)
            subject = "variant" if kind.module == "items" and call.api == "inventory" else kind.label.lower()
            return success({}, f"The {subject} has been marked as {status}")
        if action[0] == "status" and len(action) > 1:
            return self._status(kind, index, action[1])
        return self._parts.write(call, kind.module, kind.record_id(index), action, kind.label.lower())

    def _beside(self, call: Call, kind: Kind, rest: tuple[str, ...]) -> Answer:
        """A write where an id is expected: a contact's person, or an action on several records."""
        if rest[0] != "contactpersons":
            return success({}, "The request has been accepted.")
        if len(rest) == 1:
            owner = str(call.document().get("contact_id") or "")
        else:
            seeded = kind.owner(rest[1])
            owner = kind.record_id(seeded) if seeded >= 0 else self._parts.owner(kind.module, rest[0], rest[1])
        self._reads.found(kind, owner)
        return self._parts.write(call, kind.module, owner, rest, kind.label.lower())

    def _status(self, kind: Kind, index: int, status: str) -> Answer:
        if kind.module not in {"invoices", "salesorders", "bills", "creditnotes"}:
            raise unknown_path()
        settled = {"sent": "", "confirmed": "", "open": "open", "delivered": "fulfilled"}.get(status, status)
        if status == "sent" and kind.module == "invoices":
            settled = "sent"
        self._desk.change(kind.module, index, {"status": settled}, loud=self._loud)
        return success({}, f"{kind.label} status has been changed to {status.capitalize()}.")

    def _image(self, call: Call, index: int) -> Answer:
        if call.method == "DELETE":
            self._reads.uploads.pop(index, None)
            self._desk.change("items", index, {"image_name": ""}, loud=self._loud)
            return success({}, "The Image has been deleted.")
        part = multipart_part(call.headers.get(b"content-type", b"").decode("latin-1"), call.body, "image")
        if part is None:
            raise Refused(failure(400, 4, "Invalid value passed for image"))
        self._reads.uploads[index] = (part.content_type, part.body)
        self._desk.change("items", index, {"image_name": part.file_name}, loud=self._loud)
        return success({}, "The image has been uploaded.")


def settled(name: str, value: Any, blank: object) -> Any:
    """A written value in the type of its fact: numbers sent as text become numbers, and the other way round.

    Raises ValueError or TypeError when it cannot be one.
    """
    if value is None:
        return blank
    if isinstance(blank, bool):
        return value in {True, "true"}
    if isinstance(blank, int | float):
        return type(blank)(number(value))
    if not isinstance(blank, str):
        return value
    if name in NUMBER_OR_NOTHING:
        return "" if value == "" else number(value)
    if isinstance(value, dict | list):
        raise TypeError(name)
    text = str(value)
    if name.endswith("date") and text:
        date.fromisoformat(text)
    return text
