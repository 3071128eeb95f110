"""Payments received from customers, and credit notes given to them."""

from __future__ import annotations

from actors.sandbox.chance import Draws
from actors.sandbox.contacts import DINAR
from actors.sandbox.entity import DAY, END, Facts, Ground
from actors.sandbox.items import Items
from actors.sandbox.kinds import Kind
from actors.sandbox.lines import Line, Lines, read_document
from actors.sandbox.payments import Payments
from actors.sandbox.sales import CREDITED_EVERY, Invoices, blank_document, dated, totalled
from actors.sandbox.shapes import Document, Shapes, laid

INVENTORY_ONLY = {"is_paid_via_check": False, "check_details": {}}


class CustomerPayments(Payments):
    """Payments received; the n-th pays the n-th invoice. Its detail calls its stamp `updated_time`."""

    module = "customerpayments"
    party = "customer_id"
    documents = "invoices"
    document_id = "invoice_id"

    def shared(self, facts: Facts) -> Facts:
        customer = self._ground.facts("contacts", facts["contact"])
        invoice = self.paid(facts)
        unused = 0.0 if invoice else facts["amount"]
        return dated(self._ground, facts) | {
            "payment_id": facts["id"], "payment_number": facts["payment_number"],
            "payment_number_suffix": facts["payment_number"],
            "customer_id": customer["id"], "customer_name": customer["contact_name"], "amount": facts["amount"],
            "bcy_amount": facts["amount"], "unused_amount": unused, "bcy_unused_amount": unused, "currency_id": DINAR,
            "currency_code": "IQD", "currency_symbol": "IQD", "payment_mode": facts["payment_mode"],
            "payment_mode_formatted": facts["payment_mode"], "description": facts["description"],
            "reference_number": facts["reference_number"], "updated_time": self._ground.clock.stamp(facts["modified"]),
            "invoice_numbers": invoice["invoice_number"] if invoice else "", "payment_status": facts["status"],
            "invoices": [self.applied(facts, invoice)] if invoice else [],
        }  # fmt: skip

    def applied(self, facts: Facts, document: Facts) -> Document:
        return super().applied(facts, document) | {
            "invoice_number": document["invoice_number"], "invoice_id": document["id"],
            "invoice_payment_id": self.kind.part_id(facts["index"], 30), "apply_date": facts["date"],
        }  # fmt: skip

    def row(self, facts: Facts, api: str) -> Document:
        shape = self._shapes["row"] | INVENTORY_ONLY if api == "inventory" else self._shapes["row"]
        return laid(shape, self.shared(facts))


class CreditNotes:
    """Credit notes: the first belong to sales returns, the later ones are applied to an invoice."""

    def __init__(self, ground: Ground, kind: Kind, items: Items, invoices: Invoices) -> None:
        self.kind = kind
        self._ground = ground
        self._shapes = Shapes("creditnotes")
        self._lines = Lines(ground, items, kind)
        self._invoices = invoices

    def origin(self, index: int) -> int:
        """The index of the invoice that a seeded credit note credits."""
        return index * CREDITED_EVERY % max(1, self._ground.counts["invoices"])

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        invoice = self._invoices.generate(self.origin(index))
        draws = Draws(self._ground.seed, self.kind.code, index)
        first = invoice["lines"][0]
        created = min(END, invoice["created"] + draws.between(DAY, 30 * DAY))
        line = Line(first.item, 1.0, first.rate)
        refunded = index < self._ground.counts["salesreturns"] and draws.hit(50)
        facts.update(
            contact=invoice["contact"], lines=(line,), created=created, modified=min(END, created + draws.below(900)),
            date=self._ground.clock.date(created), origin=self.origin(index),
            total_refunded=line.total if refunded else 0.0, credits_used=invoice["credits_applied"],
        )  # fmt: skip
        return facts

    def blank(self, index: int) -> Facts:
        facts = blank_document(self._ground, self.kind, index)
        facts.update(creditnote_number=f"CN-{index + 1:05d}", credits_used=0.0, total_refunded=0.0, origin=-1)
        return facts

    def complete(self, facts: Facts) -> None:
        """Total, what is left of it, and the status."""
        totalled(facts)
        facts["balance"] = round(facts["total"] - facts["credits_used"] - facts["total_refunded"], 2)
        facts["status"] = facts["status"] or ("open" if facts["balance"] > 0 else "closed")

    def adopt(self, body: Document) -> Facts:
        keys = ("reference_number", "notes", "status", "date", "creditnote_number", "terms")
        return read_document(body, self._lines, keys, party="customer_id")

    def touched(self, facts: Facts) -> Facts:
        return {"reference_number": f"REF-{facts['index']}-{facts['modified'] % 100000}"}

    def _shared(self, facts: Facts) -> Facts:
        customer = self._ground.facts("contacts", facts["contact"])
        origin = self._ground.seeded("invoices", facts["origin"]) if facts["origin"] >= 0 else None
        return dated(self._ground, facts) | {
            "creditnote_id": facts["id"], "creditnote_number": facts["creditnote_number"], "status": facts["status"],
            "current_sub_status": facts["status"], "reference_number": facts["reference_number"],
            "issued_date": facts["date"],
            "total": facts["total"], "balance": facts["balance"], "sub_total": facts["sub_total"],
            "notes": facts["notes"],
            "customer_id": customer["id"], "customer_name": customer["contact_name"], "currency_id": DINAR,
            "currency_code": "IQD", "currency_symbol": "IQD", "currency_name_formatted": "IQD- Iraqi Dinar",
            "invoice_id": origin["id"] if origin else "", "total_credits_used": facts["credits_used"],
            "total_refunded_amount": facts["total_refunded"], "terms": facts["terms"],
        }  # fmt: skip

    def row(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["row"]
        row = laid(shape, self._shared(facts))
        applied = self._applied_to(facts)
        row |= {
            "salesperson_name": "Others", "salesperson_id": "-1",
            "applied_invoices": applied["invoice_number"] if applied else "",
        }  # fmt: skip
        return row

    def detail(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["detail"]
        detail = laid(shape, self._shared(facts))
        lines = self._lines.written(facts, self._shapes["line"])
        if facts["origin"] >= 0:
            for line in lines:
                line["invoice_id"] = detail["invoice_id"]
                line["invoice_item_id"] = self._ground.kind("invoices").part_id(facts["origin"], 20)
        detail["line_items"] = lines
        applied = self._applied_to(facts)
        detail["invoices_credited"] = [] if applied is None else [{
            "creditnote_id": facts["id"], "invoice_id": applied["id"],
            "creditnotes_invoice_id": self.kind.part_id(facts["index"], 30), "date": facts["date"],
            "invoice_number": applied["invoice_number"], "creditnotes_number": facts["creditnote_number"],
            "credited_amount": facts["credits_used"],
        }]  # fmt: skip
        return detail

    def _applied_to(self, facts: Facts) -> Facts | None:
        """The invoice that credits were used for."""
        used = facts["credits_used"] and facts["origin"] >= 0
        return self._ground.seeded("invoices", facts["origin"]) if used else None
