"""Bills of vendors and the payments made for them."""

from __future__ import annotations

from actors.sandbox.chance import Draws
from actors.sandbox.contacts import DINAR, DOLLAR, DOLLAR_RATE
from actors.sandbox.entity import DAY, END, LAST_DAY, Facts, Ground, created_at
from actors.sandbox.items import Items
from actors.sandbox.kinds import Kind
from actors.sandbox.lines import Line, Lines, added_up, read_document
from actors.sandbox.payments import Payments
from actors.sandbox.sales import blank_document, dated, totalled
from actors.sandbox.shapes import Document, Shapes, laid

SETTLED = 135
PATCHABLE = ("reference_number", "notes", "status", "date", "due_date", "bill_number", "adjustment", "terms")


def money(currency: str) -> Facts:
    """The keys of a document's currency."""
    dollars = currency == "USD"
    return {
        "currency_id": DOLLAR if dollars else DINAR, "currency_code": currency,
        "currency_symbol": "$" if dollars else "IQD",
        "exchange_rate": DOLLAR_RATE if dollars else 1.0,
    }  # fmt: skip


class Bills:
    """What vendors charge; in dollars when the vendor is."""

    def __init__(self, ground: Ground, kind: Kind, items: Items) -> None:
        self.kind = kind
        self._ground = ground
        self._shapes = Shapes("bills")
        self._lines = Lines(ground, items, kind)

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        draws = Draws(self._ground.seed, self.kind.code, index)
        created = created_at(self._ground, self.kind, index, draws.below(1000))
        contact = self._ground.customers + draws.below(max(1, self._ground.vendors))
        currency = self._ground.seeded("contacts", contact)["currency"]
        lines = self._lines.drawn(draws, most=4, purchase=True)
        if currency == "USD":
            lines = tuple(Line(line.item, line.quantity * 10, max(0.5, line.rate // 1310)) for line in lines)
        facts.update(
            contact=contact, currency=currency, lines=lines, created=created, modified=created + draws.below(3600),
            source="user",
            date=self._ground.clock.date(created), due_date=self._ground.clock.date(created + 30 * DAY),
        )  # fmt: skip
        if index < self._ground.counts["vendorpayments"]:
            facts["payment_made"], facts["modified"] = self.settlement(facts)
        return facts

    def settlement(self, facts: Facts) -> tuple[float, int]:
        """What the vendor payment of this index pays of a seeded bill, and when."""
        draws = Draws(self._ground.seed, SETTLED, facts["index"])
        total = added_up(facts["lines"])
        amount = total if draws.hit(60) else max(0.5, float(int(total) * draws.between(10, 80) // 100))
        return min(amount, total), min(END, facts["created"] + draws.between(3600, 25 * DAY))

    def blank(self, index: int) -> Facts:
        facts = blank_document(self._ground, self.kind, index)
        facts.update(
            bill_number=f"BILL-{index + 1:04d}", payment_made=0.0, currency="IQD", contact=self._ground.customers,
            due_date=facts["date"],
        )  # fmt: skip
        return facts

    def complete(self, facts: Facts) -> None:
        """Total, balance and status."""
        totalled(facts)
        facts["balance"] = round(facts["total"] - facts["payment_made"], 2)
        if not facts["status"]:
            late = facts["due_date"] < LAST_DAY
            unpaid = "partially_paid" if facts["payment_made"] else "overdue" if late else "open"
            facts["status"] = unpaid if facts["balance"] > 0 else "paid"

    def adopt(self, body: Document) -> Facts:
        return read_document(body, self._lines, (*PATCHABLE, "payment_made"), party="vendor_id")

    def touched(self, facts: Facts) -> Facts:
        return {"reference_number": f"REF-{facts['index']}-{facts['modified'] % 100000}"}

    def _shared(self, facts: Facts) -> Facts:
        vendor = self._ground.facts("contacts", facts["contact"])
        return dated(self._ground, facts) | money(facts["currency"]) | {
            "bill_id": facts["id"], "bill_number": facts["bill_number"], "status": facts["status"],
            "vendor_id": vendor["id"],
            "vendor_name": vendor["contact_name"], "current_sub_status": facts["status"], "total": facts["total"],
            "balance": facts["balance"], "balance_due": facts["balance"], "due_date": facts["due_date"],
            "reference_number": facts["reference_number"], "sub_total": facts["sub_total"],
            "adjustment": facts["adjustment"],
            "payment_made": facts["payment_made"], "notes": facts["notes"], "last_modified_by": "Sample Owner",
            "is_opening_balance": facts["id"], "created_time_formatted": self._ground.clock.pretty(facts["created"]),
            "last_modified_time_formatted": self._ground.clock.pretty(facts["modified"]), "terms": facts["terms"],
        }  # fmt: skip

    def row(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["row"]
        row = laid(shape, self._shared(facts))
        row["due_days"] = f"Due on {facts['due_date']}" if facts["balance"] else ""
        return row

    def detail(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["detail"]
        detail = laid(shape, self._shared(facts))
        rate = DOLLAR_RATE if facts["currency"] == "USD" else 1.0
        detail["line_items"] = self._lines.written(facts, self._shapes["line"], rate=rate)
        for line in detail["line_items"]:
            line["sales_rate"] = ""  # a bill's lines have none
        detail |= {"payment_terms": 30, "payment_terms_label": "Net 30"}
        return detail


class VendorPayments(Payments):
    """Payments made; the n-th pays the n-th bill."""

    module = "vendorpayments"
    party = "vendor_id"
    documents = "bills"
    document_id = "bill_id"

    def first_contact(self) -> int:
        """Contacts begin with the customers."""
        return self._ground.customers

    def shared(self, facts: Facts) -> Facts:
        vendor = self._ground.facts("contacts", facts["contact"])
        rate = DOLLAR_RATE if facts["currency"] == "USD" else 1.0
        bill = self.paid(facts)
        return dated(self._ground, facts) | money(facts["currency"]) | {
            "payment_id": facts["id"], "payment_number": facts["payment_number"],
            "payment_number_suffix": facts["payment_number"],
            "vendor_id": vendor["id"], "vendor_name": vendor["contact_name"], "amount": facts["amount"],
            "bcy_amount": round(facts["amount"] * rate, 2), "payment_mode": facts["payment_mode"],
            "description": facts["description"], "reference_number": facts["reference_number"],
            "bill_numbers": bill["bill_number"] if bill else "", "bills": [self.applied(facts, bill)] if bill else [],
        }  # fmt: skip

    def applied(self, facts: Facts, document: Facts) -> Document:
        return super().applied(facts, document) | {
            "bill_number": document["bill_number"], "bill_id": document["id"],
            "bill_payment_id": self.kind.part_id(facts["index"], 30),
        }  # fmt: skip
