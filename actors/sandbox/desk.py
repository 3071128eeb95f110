"""What somebody does in the product's screens: creates, edits, pays, deletes; workflow rules hear of each."""

from __future__ import annotations

from collections.abc import Callable

from actors.sandbox.entity import Facts
from actors.sandbox.shapes import Document
from actors.sandbox.world import Changed, World

Hear = Callable[[str, int, str], None]
PAYMENTS = {"invoices": "customerpayments", "bills": "vendorpayments"}
PAID_BY = {payment: document for document, payment in PAYMENTS.items()}


class Desk:
    """Changes of records together with what they bring about elsewhere."""

    def __init__(self, world: World, hear: Hear) -> None:
        self._world = world
        self._hear = hear

    def create(self, module: str, patch: Facts, *, blank: bool, loud: bool) -> Changed:
        """Make a record; a payment settles what it is applied to, an adjustment moves stock."""
        changed = self._world.create(module, patch, blank=blank)
        index = int(changed.id[10:])
        facts = self._world.facts(module, index)
        if module in PAID_BY and facts["applied"] >= 0:
            self._settle(PAID_BY[module], facts["applied"], facts["amount"], loud=loud)
        if module == "inventoryadjustments":
            for line in facts["lines"]:
                self._world.move(line.item, facts["location"], line.quantity)
        return self._told(module, index, "created", changed, loud=loud)

    def change(
        self, module: str, index: int, patch: Facts, *, loud: bool, extra: Document | None = None, stamp: str = "now"
    ) -> Changed:
        """Edit a record."""
        changed = self._world.change(module, index, patch, extra=extra, stamp=stamp)
        return self._told(module, index, "edited", changed, loud=loud)

    def delete(self, module: str, index: int, *, loud: bool) -> Changed:
        """Delete a record; a deleted payment is owed again."""
        facts = self._world.facts(module, index)
        changed = self._world.delete(module, index)
        applied = facts.get("applied", -1)
        if module in PAID_BY and applied >= 0 and self._world.exists(PAID_BY[module], applied):
            self._settle(PAID_BY[module], applied, -facts["amount"], loud=loud)
        return self._told(module, index, "deleted", changed, loud=loud)

    def pay(self, module: str, index: int, amount: float | None, *, loud: bool) -> tuple[Changed, Changed]:
        """Pay an invoice or a bill: the document's balance and stamp move, the contact's stamp does not."""
        facts = self._world.facts(module, index)
        paid = {"amount": facts["balance"] if amount is None else amount, "applied": index, "contact": facts["contact"]}
        if "currency" in facts:
            paid["currency"] = facts["currency"]
        payment = self.create(PAYMENTS[module], paid, blank=True, loud=loud)
        after = self._world.facts(module, index)
        stamp = self._world.clock.stamp(after["modified"])
        entity = self._world.kind(module).entity
        document = Changed(
            entity=entity, id=after["id"], version=self._world.version(module, index), last_modified_time=stamp
        )
        return payment, document

    def _settle(self, module: str, index: int, amount: float, *, loud: bool) -> None:
        facts = self._world.facts(module, index)
        patch: Facts = {"payment_made": round(facts["payment_made"] + amount, 2)}
        if facts["status"] not in {"draft", "void"}:
            patch["status"] = ""  # worked out anew from the balance
        if module == "invoices":
            patch["last_payment_date"] = self._world.clock.today()
        stamp = "now" if self._world.switches.payment_bumps_document else "keep"
        self.change(module, index, patch, loud=loud, stamp=stamp)

    def _told(self, module: str, index: int, event: str, changed: Changed, *, loud: bool) -> Changed:
        if loud:
            self._hear(module, index, event)
        return changed
