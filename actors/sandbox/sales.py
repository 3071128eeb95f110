"""Sales orders and the invoices made from them."""

from __future__ import annotations

from actors.sandbox.chance import Draws
from actors.sandbox.contacts import DINAR, OWNER_ID
from actors.sandbox.entity import DAY, END, LAST_DAY, Facts, Ground, created_at
from actors.sandbox.items import Items
from actors.sandbox.kinds import Kind
from actors.sandbox.lines import Lines, added_up, read_document
from actors.sandbox.shapes import Document, Shapes, laid
from actors.sandbox.words import NOTES

SETTLED = 134
CREDITED_EVERY = 7  # the n-th credit note is of the invoice 7n
PATCHABLE = (
    "reference_number", "notes", "status", "salesperson_name", "date", "due_date", "shipment_date", "shipping_charge",
    "adjustment", "discount_total", "invoice_number", "salesorder_number", "terms",
)  # fmt: skip


def dated(ground: Ground, facts: Facts) -> Facts:
    """The keys of who made a document and when, which all documents share."""
    clock = ground.clock
    created = clock.stamp(facts["created"])
    return {
        "created_time": created, "last_modified_time": clock.stamp(facts["modified"]), "created_date": created[:10],
        "created_by": "Sample Owner", "created_by_name": "Sample Owner", "created_by_id": OWNER_ID,
        "last_modified_by_id": OWNER_ID, "date": facts["date"],
    }  # fmt: skip


def drawn_at(ground: Ground, kind: Kind, index: int) -> int:
    """When a seeded document was made whose first draw says so; told without the rest of it."""
    return created_at(ground, kind, index, Draws(ground.seed, kind.code, index).below(1000))


def totalled(facts: Facts) -> None:
    """Sub total and total from the lines and the charges."""
    facts["sub_total"] = added_up(facts["lines"])
    facts["total"] = round(
        facts["sub_total"] - facts["discount_total"] + facts["shipping_charge"] + facts["adjustment"], 2
    )


def blank_document(ground: Ground, kind: Kind, index: int) -> Facts:
    """A document of today, without lines."""
    now = int(ground.clock.now())
    facts: Facts = dict.fromkeys(PATCHABLE, "")
    facts.update(
        index=index, id=kind.record_id(index), created=now, modified=now, date=ground.clock.date(now), contact=0,
        shipping_charge=0.0, adjustment=0.0, discount_total=0.0, lines=(),
    )  # fmt: skip
    return facts


class SalesOrders:
    """Orders; the first three quarters of them are invoiced by the invoice of the same index."""

    def __init__(self, ground: Ground, kind: Kind, items: Items) -> None:
        self.kind = kind
        self._ground = ground
        self._shapes = Shapes("salesorders")
        self._lines = Lines(ground, items, kind)

    def invoiced(self, index: int) -> bool:
        """Whether the invoice of this index was made from this order."""
        return index < self._ground.counts["salesorders"] * 3 // 4

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        draws = Draws(self._ground.seed, self.kind.code, index)
        created = created_at(self._ground, self.kind, index, draws.below(1000))
        facts.update(
            contact=draws.below(max(1, self._ground.customers // 4)), lines=self._lines.drawn(draws), created=created,
            modified=created + draws.between(60, 4000), date=self._ground.clock.date(created), source="user",
            shipping_charge=float(draws.below(3) * 2500) if draws.hit(20) else 0.0, notes=draws.pick(NOTES),
            status="" if self.invoiced(index) else draws.pick(("open", "open", "draft", "void", "overdue")),
        )  # fmt: skip
        return facts

    def blank(self, index: int) -> Facts:
        facts = blank_document(self._ground, self.kind, index)
        facts["salesorder_number"] = f"SO-{index + 1:05d}"
        return facts

    def complete(self, facts: Facts) -> None:
        """Totals, and the statuses, which disagree by design."""
        totalled(facts)
        invoiced = bool(facts.get("source")) and self.invoiced(facts["index"])
        facts["invoice"] = self._ground.facts("invoices", facts["index"]) if invoiced else None
        if not facts["status"]:
            facts["status"] = "invoiced" if invoiced else "open"

    def adopt(self, body: Document) -> Facts:
        return read_document(body, self._lines, PATCHABLE, party="customer_id")

    def touched(self, facts: Facts) -> Facts:
        return {"reference_number": f"PO-{facts['index']}-{facts['modified'] % 100000}"}

    def _shared(self, facts: Facts) -> Facts:
        contact = self._ground.facts("contacts", facts["contact"])
        invoice, status = facts["invoice"], facts["status"]
        quantity = sum(line.quantity for line in facts["lines"])
        paid = (
            "unpaid"
            if invoice is None or not invoice["payment_made"]
            else "paid"
            if not invoice["balance"]
            else "partially_paid"
        )
        return dated(self._ground, facts) | {
            "salesorder_id": facts["id"], "salesorder_number": facts["salesorder_number"], "status": status,
            "reference_number": facts["reference_number"], "customer_id": contact["id"],
            "customer_name": contact["contact_name"],
            "company_name": contact["company_name"], "email": contact["email"], "current_sub_status": status,
            "shipment_date": facts["shipment_date"], "currency_id": DINAR, "currency_code": "IQD",
            "total": facts["total"],
            "bcy_total": facts["total"], "balance": invoice["balance"] if invoice else facts["total"],
            "quantity": quantity,
            "quantity_invoiced": quantity if invoice else 0.0,
            "total_invoiced_amount": invoice["total"] if invoice else 0.0,
            "order_status": status if status in {"draft", "void"} else "confirmed", "paid_status": paid,
            "invoiced_status": "invoiced" if invoice else "not_invoiced", "shipped_status": "pending",
            "salesperson_name": facts["salesperson_name"],
        }  # fmt: skip

    def row(self, facts: Facts, api: str) -> Document:
        shape = self._shapes["row"]
        row = laid(shape, self._shared(facts))
        if api == "books":
            for key in ("quantity_packed", "quantity_shipped"):
                del row[key]
        return row

    def detail(self, facts: Facts, _api: str) -> Document:
        shape, invoice = self._shapes["detail"], facts["invoice"]
        contact = self._ground.facts("contacts", facts["contact"])
        location = self._ground.facts("locations", 0)
        place = {"location_id": location["id"], "location_name": location["location_name"]}
        receivable, _, unused = self._ground.balances(facts["contact"])
        detail = laid(shape, self._shared(facts))
        lines = self._lines.written(facts, self._shapes["line"] | place)
        for line in lines:
            line["quantity_invoiced"] = line["quantity"] if invoice else 0.0
            line["is_invoiced"] = invoice is not None
        detail |= place | {
            "line_items": lines, "total_quantity": sum(line.quantity for line in facts["lines"]),
            "currency_symbol": "IQD",
            "sub_total": facts["sub_total"], "bcy_sub_total": facts["sub_total"],
            "sub_total_exclusive_of_discount": facts["sub_total"], "shipping_charge": facts["shipping_charge"],
            "bcy_shipping_charge": facts["shipping_charge"], "adjustment": facts["adjustment"],
            "bcy_adjustment": facts["adjustment"], "discount_total": facts["discount_total"],
            "bcy_discount_total": facts["discount_total"], "notes": facts["notes"], "terms": facts["terms"],
            "payment_terms": contact["payment_terms"], "payment_terms_label": contact["payment_terms_label"],
            "payment_terms_id": "5260000000000093081", "created_by_email": "owner@example.com",
            "invoices": [self._invoice(invoice)] if invoice else [],
            "contact": {"customer_balance": receivable, "credit_limit": 0.0, "unused_customer_credits": unused,
                        "is_credit_limit_migration_completed": True},
        }  # fmt: skip
        return detail | self._addresses(shape, contact)

    def _addresses(self, shape: Document, contact: Facts) -> Document:
        """Where the customer lives, and whom to write to."""
        parts, index = self._ground.kind("contacts"), contact["index"]
        lives = bool(contact["address"])
        return {
            "billing_address_id": parts.part_id(index, 12), "shipping_address_id": parts.part_id(index, 13),
            "billing_address": shape["billing_address"] | {
                "address": contact["address"], "city": contact["city"], "country": "Iraq" if lives else "",
                "country_code": "IQ" if lives else "", "phone": contact["phone"],
            },
            "contact_persons": [parts.part_id(index, 11)] if contact["first_name"] else [],
        }  # fmt: skip

    def _invoice(self, invoice: Facts) -> Document:
        return {key: invoice.get(key, "") for key in self._shapes["invoice"]} | {"invoice_id": invoice["id"]}


class Invoices:
    """Invoices; balance and status follow from what was paid and credited."""

    def __init__(self, ground: Ground, kind: Kind, items: Items, orders: SalesOrders) -> None:
        self.kind = kind
        self._ground = ground
        self._shapes = Shapes("invoices")
        self._lines = Lines(ground, items, kind)
        self._orders = orders

    def created(self, index: int) -> int:
        """When the seeded invoice was made: after its order, if it has one."""
        draws = Draws(self._ground.seed, self.kind.code, index)
        if self._orders.invoiced(index):
            return drawn_at(self._ground, self._orders.kind, index) + draws.between(300, DAY)
        return drawn_at(self._ground, self.kind, index)

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        draws = Draws(self._ground.seed, self.kind.code, index)
        if self._orders.invoiced(index):
            order = self._orders.generate(index)
            created = order["created"] + draws.between(300, DAY)
            facts.update({key: order[key] for key in ("contact", "lines", "shipping_charge")})
            facts["reference_number"] = order["salesorder_number"]
        else:
            created = created_at(self._ground, self.kind, index, draws.below(1000))
            facts.update(contact=draws.below(max(1, self._ground.customers // 4)), lines=self._lines.drawn(draws))
        days = draws.pick((0, 15, 30))
        facts.update(
            created=created, modified=created + draws.below(3600), date=self._ground.clock.date(created),
            source="user",
            due_date=self._ground.clock.date(created + days * DAY), notes=draws.pick(NOTES),
        )  # fmt: skip
        self._settle(facts, draws)
        return facts

    def _settle(self, facts: Facts, draws: Draws) -> None:
        """The first invoices are paid by the payment of their index; others are open, drafts, void or credited."""
        index = facts["index"]
        if index < self._ground.counts["customerpayments"]:
            facts["payment_made"], facts["modified"] = self.settlement(facts)
            facts["last_payment_date"] = self._ground.clock.date(facts["modified"])
        elif draws.hit(8):
            facts["status"] = "draft"
        elif draws.hit(3):
            facts["status"] = "void"
        if self._credited(index) and not facts["status"]:
            left = round(added_up(facts["lines"]) + facts["shipping_charge"] - facts["payment_made"], 2)
            facts["credits_applied"] = min(left, facts["lines"][0].rate)

    def _credited(self, index: int) -> bool:
        """Whether the seeded credit note of an invoice, its seventh part, was used to settle it."""
        counts = self._ground.counts
        return index % CREDITED_EVERY == 0 and counts["salesreturns"] <= index // CREDITED_EVERY < counts["creditnotes"]

    def settlement(self, facts: Facts) -> tuple[float, int]:
        """What the payment of this index pays of a seeded invoice, and when."""
        draws = Draws(self._ground.seed, SETTLED, facts["index"])
        total = round(added_up(facts["lines"]) + facts["shipping_charge"], 2)
        amount = total if draws.hit(70) else max(1.0, float(int(total) * draws.between(10, 80) // 100))
        return min(amount, total), min(END, facts["created"] + draws.between(3600, 20 * DAY))

    def blank(self, index: int) -> Facts:
        facts = blank_document(self._ground, self.kind, index)
        facts.update(
            invoice_number=f"INV-{index + 1:06d}", payment_made=0.0, credits_applied=0.0, last_payment_date="",
            due_date=facts["date"],
        )  # fmt: skip
        return facts

    def complete(self, facts: Facts) -> None:
        """Total, balance, and a status where none was set by hand: late beats partly paid."""
        totalled(facts)
        facts["balance"] = round(facts["total"] - facts["payment_made"] - facts["credits_applied"], 2)
        if not facts["status"]:
            if facts["balance"] <= 0:
                facts["status"] = "paid"
            elif facts["due_date"] < LAST_DAY:
                facts["status"] = "overdue"
            else:
                facts["status"] = "partially_paid" if facts["payment_made"] else "sent"

    def adopt(self, body: Document) -> Facts:
        return read_document(body, self._lines, (*PATCHABLE, "payment_made"), party="customer_id")

    def touched(self, facts: Facts) -> Facts:
        return {"reference_number": f"REF-{facts['index']}-{facts['modified'] % 100000}"}

    def _shared(self, facts: Facts) -> Facts:
        contact = self._ground.facts("contacts", facts["contact"])
        total = facts["total"]
        return dated(self._ground, facts) | {
            "invoice_id": facts["id"], "invoice_number": facts["invoice_number"], "status": facts["status"],
            "current_sub_status": facts["status"], "customer_id": contact["id"],
            "customer_name": contact["contact_name"],
            "company_name": contact["company_name"], "email": contact["email"], "phone": contact["phone"],
            "country": "Iraq" if contact["address"] else "", "reference_number": facts["reference_number"],
            "due_date": facts["due_date"], "issued_date": facts["date"], "total": total, "bcy_total": total,
            "balance": facts["balance"], "payment_made": facts["payment_made"],
            "credits_applied": facts["credits_applied"],
            "sub_total": facts["sub_total"], "bcy_sub_total": facts["sub_total"],
            "shipping_charge": facts["shipping_charge"],
            "shipping_charge_exclusive_of_tax": facts["shipping_charge"],
            "bcy_shipping_charge": facts["shipping_charge"],
            "adjustment": facts["adjustment"], "bcy_adjustment": facts["adjustment"],
            "discount_total": facts["discount_total"], "bcy_discount_total": facts["discount_total"],
            "updated_time": self._ground.clock.stamp(facts["modified"]),
            "last_payment_date": facts["last_payment_date"],
            "currency_id": DINAR, "currency_code": "IQD", "currency_symbol": "IQD", "notes": facts["notes"],
            "currency_name_formatted": "IQD- Iraqi Dinar", "salesperson_name": facts["salesperson_name"],
            "payment_terms": contact["payment_terms"], "payment_terms_label": contact["payment_terms_label"],
        }  # fmt: skip

    def _address(self, shape: Document, contact: Facts) -> Document:
        plain: Document = shape["billing_address"]
        address = plain | {
            "address": contact["address"], "city": contact["city"], "phone": contact["phone"],
            "country": "Iraq" if contact["address"] else "",
        }  # fmt: skip
        if "street" in address:
            address |= {"street": contact["address"], "country_code": "IQ" if contact["address"] else ""}
        return address

    def row(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["row"]
        row = laid(shape, self._shared(facts))
        row["billing_address"] = self._address(shape, self._ground.facts("contacts", facts["contact"]))
        row["due_days"] = f"Due on {facts['due_date']}" if facts["balance"] else ""
        row["invoice_url"] = f"https://zohosecurepay.example/books/levantdemo/secure?CInvoiceID=2-{facts['index']} "
        return row

    def detail(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["detail"]
        receivable, _, unused = self._ground.balances(facts["contact"])
        detail = laid(shape, self._shared(facts))
        detail["line_items"] = lines = self._lines.written(facts, self._shapes["line"])
        detail["billing_address"] = self._address(shape, self._ground.facts("contacts", facts["contact"]))
        detail["contact"] = shape["contact"] | {"customer_balance": receivable, "unused_customer_credits": unused}
        if facts.get("source") and self._orders.invoiced(facts["index"]):
            order = self._ground.seeded("salesorders", facts["index"])
            for place, line in enumerate(lines):
                line["salesorder_item_id"] = self._ground.kind("salesorders").part_id(facts["index"], 20 + place)
            detail |= {"salesorder_id": order["id"], "salesorder_number": order["salesorder_number"], "salesorders": [{
                "salesorder_id": order["id"], "salesorder_number": order["salesorder_number"], "reference_number": "",
                "salesorder_order_status": "invoiced", "total": facts["total"], "sub_total": facts["sub_total"],
                "date": order["date"], "shipment_date": "",
            }]}  # fmt: skip
        return detail
