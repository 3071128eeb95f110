"""Inventory adjustments and sales returns: the documents around stock."""

from __future__ import annotations

from actors.sandbox.chance import Draws
from actors.sandbox.entity import DAY, END, Facts, Ground, created_at
from actors.sandbox.items import SERVICE_EVERY, Items
from actors.sandbox.kinds import Kind
from actors.sandbox.lines import Line, Lines, added_up, read_document
from actors.sandbox.receipts import CreditNotes
from actors.sandbox.sales import SalesOrders, blank_document, dated
from actors.sandbox.shapes import Document, Shapes, laid, number
from actors.sandbox.words import REASONS, RETURN_REASONS

ADJUSTMENT_KEYS = ("reference_number", "description", "reason", "date", "status", "adjustment_type")
RETURN_KEYS = ("reason", "date", "salesreturn_status", "receive_status", "refund_status")


class Adjustments:
    """Counts and write-offs; a line's quantity may be negative and its worth is at purchase rate."""

    def __init__(self, ground: Ground, kind: Kind, items: Items) -> None:
        self.kind = kind
        self._ground = ground
        self._items = items
        self._shapes = Shapes("inventoryadjustments")
        self._lines = Lines(ground, items, kind)

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        draws = Draws(self._ground.seed, self.kind.code, index)
        created = created_at(self._ground, self.kind, index, draws.below(1000))
        lines = []
        for _ in range(draws.between(1, 3)):
            item = draws.below(max(1, self._ground.counts["items"] // SERVICE_EVERY)) * SERVICE_EVERY
            lines.append(Line(item, float(draws.between(-6, 6) or 1), self._items.rates(item)[1]))
        facts.update(
            created=created, modified=created, lines=tuple(lines), date=self._ground.clock.date(created),
            reason=draws.pick(REASONS), description="Year-end count" if draws.hit(30) else "", location=draws.below(2),
        )  # fmt: skip
        return facts

    def blank(self, index: int) -> Facts:
        facts = blank_document(self._ground, self.kind, index)
        facts.update(
            reference_number=f"REF-IA-{index + 1:05d}", reason=REASONS[0], description="", adjustment_type="quantity",
            status="adjusted", location=0,
        )  # fmt: skip
        return facts

    def complete(self, facts: Facts) -> None:
        """The worth of what was adjusted."""
        facts["total"] = added_up(facts["lines"])

    def adopt(self, body: Document) -> Facts:
        patch: Facts = {key: body[key] for key in ADJUSTMENT_KEYS if key in body}
        if isinstance(body.get("line_items"), list):
            patch["lines"] = tuple(self._line(entry) for entry in body["line_items"])
        return patch

    def _line(self, entry: Document) -> Line:
        item = self._ground.kind("items").index(str(entry["item_id"]))
        return Line(
            item, number(entry.get("quantity_adjusted") or 0), self._ground.facts("items", item)["purchase_rate"]
        )

    def touched(self, facts: Facts) -> Facts:
        return {"description": f"recounted {facts['modified'] % 100000}"}

    def _shared(self, facts: Facts) -> Facts:
        location = self._ground.facts("locations", facts["location"])
        shared = dated(self._ground, facts)
        shared |= {key: facts[key] for key in (*ADJUSTMENT_KEYS, "total")}
        shared |= {
            "inventory_adjustment_id": facts["id"], "reason_id": "5260000000000037100", "location_id": location["id"],
            "location_name": location["location_name"], "last_modified_by_name": "Sample Owner",
        }  # fmt: skip
        return shared

    def row(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["row"]
        return laid(shape, self._shared(facts))

    def detail(self, facts: Facts, _api: str) -> Document:
        shape, shared = self._shapes["detail"], self._shared(facts)
        detail = laid(shape, shared)
        lines = self._lines.written(facts, self._shapes["line"])
        for written, line in zip(lines, facts["lines"], strict=True):
            written |= {
                "quantity_adjusted": line.quantity, "location_id": detail["location_id"],
                "location_name": detail["location_name"], "adjustment_account_id": "5260000000000034003",
                "adjustment_account_name": "Cost of Goods Sold",
            }  # fmt: skip
        detail["line_items"] = lines
        return detail


class SalesReturns:
    """Goods that came back: the n-th is of the sales order 7n, credited by the n-th credit note."""

    def __init__(
        self, ground: Ground, kind: Kind, items: Items, orders: SalesOrders, credit_notes: CreditNotes
    ) -> None:
        self.kind = kind
        self._ground = ground
        self._shapes = Shapes("salesreturns")
        self._lines = Lines(ground, items, kind)
        self._orders = orders
        self._credit_notes = credit_notes

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        draws = Draws(self._ground.seed, self.kind.code, index)
        origin = index * 7 % max(1, self._ground.counts["salesorders"])
        order = self._orders.generate(origin)
        first = order["lines"][0]
        created = min(END, order["created"] + draws.between(2 * DAY, 30 * DAY))
        facts.update(
            contact=order["contact"], origin=origin, lines=(Line(first.item, 1.0, first.rate),), created=created,
            modified=min(END, created + draws.below(3600)), date=self._ground.clock.date(created),
            reason=draws.pick(RETURN_REASONS), receive_status="received" if draws.hit(70) else "not_received",
            source="user",
        )  # fmt: skip
        return facts

    def blank(self, index: int) -> Facts:
        facts = blank_document(self._ground, self.kind, index)
        facts.update(
            salesreturn_number=f"RMA-{index + 1:05d}", reason="", salesreturn_status="approved",
            receive_status="not_received", refund_status="", origin=-1,
        )  # fmt: skip
        return facts

    def complete(self, facts: Facts) -> None:
        """How many came back, and whether the money went back."""
        facts["quantity"] = sum(line.quantity for line in facts["lines"])
        credited = bool(facts.get("source")) and facts["index"] < self._ground.counts["salesreturns"]
        facts["credit"] = self._ground.facts("creditnotes", facts["index"]) if credited else None
        if not facts["refund_status"]:
            facts["refund_status"] = "refunded" if credited and facts["credit"]["total_refunded"] else "not_refunded"

    def adopt(self, body: Document) -> Facts:
        patch = read_document(body, self._lines, RETURN_KEYS, party="customer_id")
        if body.get("salesorder_id"):
            patch["origin"] = self._ground.kind("salesorders").index(str(body["salesorder_id"]))
            patch["contact"] = self._ground.facts("salesorders", patch["origin"])["contact"]
        return patch

    def touched(self, facts: Facts) -> Facts:
        received = facts["receive_status"] == "received"
        return {"receive_status": "partially_received" if received else "received"}

    def _shared(self, facts: Facts) -> Facts:
        customer = self._ground.facts("contacts", facts["contact"])
        order = self._ground.seeded("salesorders", facts["origin"]) if facts["origin"] >= 0 else None
        location = self._ground.facts("locations", 0)
        shared = dated(self._ground, facts)
        shared |= {key: facts[key] for key in (*RETURN_KEYS, "quantity", "salesreturn_number")}
        shared |= {
            "salesreturn_id": facts["id"], "salesorder_id": order["id"] if order else "",
            "location_id": location["id"],
            "salesorder_number": order["salesorder_number"] if order else "",
            "location_name": location["location_name"],
            "customer_id": customer["id"], "customer_name": customer["contact_name"],
            "refunded_amount": facts["credit"]["total_refunded"] if facts["credit"] else 0.0,
        }  # fmt: skip
        return shared

    def row(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["row"]
        return laid(shape, self._shared(facts))

    def detail(self, facts: Facts, _api: str) -> Document:
        shape, shared, credit = self._shapes["detail"], self._shared(facts), facts["credit"]
        detail = laid(shape, shared)
        place = {key: shared[key] for key in ("location_id", "location_name")}
        detail["line_items"] = lines = self._lines.written(facts, self._shapes["line"] | place)
        if facts["origin"] >= 0:
            lines[0]["salesorder_item_id"] = self._ground.kind("salesorders").part_id(facts["origin"], 20)
        detail["salesreturnreceives"] = self._receives(facts, lines)
        detail["creditnotes"] = [] if credit is None else [self._shapes["creditnote"] | {
            "creditnote_id": credit["id"], "creditnote_number": credit["creditnote_number"],
            "status": credit["status"],
            "date": credit["date"], "total": credit["total"],
        }]  # fmt: skip
        return detail

    def _receives(self, facts: Facts, lines: list[Document]) -> list[Document]:
        if facts["receive_status"] != "received":
            return []
        keys = ("line_item_id", "item_id", "name", "description", "unit", "quantity")
        return [self._shapes["receive"] | {
            "receive_id": self.kind.part_id(facts["index"], 40), "receive_number": f"RR-{facts['index'] + 1:05d}",
            "date": facts["date"], "line_items": [{key: line[key] for key in keys} for line in lines],
        }]  # fmt: skip
