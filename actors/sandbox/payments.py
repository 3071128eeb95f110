"""What payments received and payments made have in common: the n-th of them settles the n-th document."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

from actors.sandbox.entity import Facts, Ground
from actors.sandbox.kinds import Kind
from actors.sandbox.shapes import Document, Shapes, laid, number
from actors.sandbox.words import PAYMENT_MODES

PATCHABLE = ("amount", "date", "description", "reference_number", "payment_mode")


class Settled(Protocol):
    """The documents that payments settle."""

    def generate(self, index: int) -> Facts:
        """The seeded document of that index."""

    def settlement(self, facts: Facts) -> tuple[float, int]:
        """What the payment of this index pays of a seeded document, and when."""


class Payments(ABC):
    """Payments of one direction; a subclass names the keys of its party and of its documents, and writes them."""

    module: ClassVar[str]
    party: ClassVar[str]
    documents: ClassVar[str]
    document_id: ClassVar[str]

    def __init__(self, ground: Ground, kind: Kind, settled: Settled) -> None:
        self.kind = kind
        self._ground = ground
        self._shapes = Shapes(self.module)
        self._settled = settled

    def first_contact(self) -> int:
        """The index of the contact that a payment without one belongs to."""
        return 0

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        document = self._settled.generate(index)
        amount, at = self._settled.settlement(document)
        facts.update(
            amount=amount, created=at, modified=at, date=self._ground.clock.date(at), contact=document["contact"],
            currency=document.get("currency", "IQD"), applied=index,
            payment_mode=PAYMENT_MODES[index % len(PAYMENT_MODES)],
        )  # fmt: skip
        return facts

    def blank(self, index: int) -> Facts:
        now = int(self._ground.clock.now())
        return {
            "index": index, "id": self.kind.record_id(index), "created": now, "modified": now, "amount": 0.0,
            "description": "", "date": self._ground.clock.date(now), "contact": self.first_contact(),
            "currency": "IQD", "applied": -1, "payment_mode": "cash", "reference_number": "",
            "payment_number": str(index + 1), "status": "paid",
        }  # fmt: skip

    def complete(self, _facts: Facts) -> None:  # noqa: B027 - not left out, but true of payments of both directions
        """Nothing follows from a payment's facts."""

    def adopt(self, body: Document) -> Facts:
        patch: Facts = {key: body[key] for key in PATCHABLE if key in body}
        if "amount" in patch:
            patch["amount"] = number(patch["amount"])
        if body.get(self.party):
            patch["contact"] = self._ground.kind("contacts").index(str(body[self.party]))
        if body.get(self.documents):
            patch["applied"] = self._ground.kind(self.documents).index(str(body[self.documents][0][self.document_id]))
        return patch

    def touched(self, facts: Facts) -> Facts:
        return {"description": f"checked {facts['modified'] % 100000}"}

    def paid(self, facts: Facts) -> Facts | None:
        """The document that this payment settles, as it is now."""
        return self._ground.facts(self.documents, facts["applied"]) if facts["applied"] >= 0 else None

    @abstractmethod
    def shared(self, facts: Facts) -> Facts:
        """The keys that list row and detail have."""

    def applied(self, facts: Facts, document: Facts) -> Document:
        """The part of a payment that names what it settles."""
        return self._shapes["applied"] | {
            "amount_applied": facts["amount"], "total": document["total"], "balance": document["balance"],
            "date": document["date"], "due_date": document["due_date"],
        }  # fmt: skip

    def row(self, facts: Facts, _api: str) -> Document:
        return laid(self._shapes["row"], self.shared(facts))

    def detail(self, facts: Facts, _api: str) -> Document:
        return laid(self._shapes["detail"], self.shared(facts))
