"""Contacts: customers first, then vendors, in one list; their balances follow from the documents."""

from __future__ import annotations

from actors.sandbox.chance import Draws
from actors.sandbox.entity import DAY, END, Facts, Ground, created_at
from actors.sandbox.kinds import Kind
from actors.sandbox.shapes import Document, Shapes
from actors.sandbox.words import (
    CITIES,
    COMPANY_HEADS,
    COMPANY_TAILS,
    FIRST_NAMES,
    LAST_NAMES,
    STREETS,
    VENDOR_HEADS,
    VENDOR_TAILS,
)

DINAR, DOLLAR = "5260000000000000097", "5260000000000000098"
DOLLAR_RATE = 1310.0
NAMES = 120
OWNER_ID = "5260815040000000000"
PATCHABLE = (
    "contact_name", "company_name", "contact_type", "first_name", "last_name", "email", "phone", "mobile", "status",
    "notes", "website", "address", "city", "gst_no", "pricebook",
)  # fmt: skip
TERMS = ((0, "Due on Receipt"), (15, "Net 15"), (30, "Net 30"))


class Contacts:
    """Everybody the organisation trades with."""

    def __init__(self, ground: Ground, kind: Kind) -> None:
        self.kind = kind
        self._ground = ground
        self._shapes = Shapes("contacts")

    def name(self, index: int) -> str:
        """The seeded name."""
        draws = Draws(self._ground.seed, NAMES, index)
        vendor = index >= self._ground.customers
        heads, tails = (VENDOR_HEADS, VENDOR_TAILS) if vendor else (COMPANY_HEADS, COMPANY_TAILS)
        return f"{draws.pick(heads)} {draws.pick(tails)} {index}"

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        draws = Draws(self._ground.seed, self.kind.code, index)
        vendor = index >= self._ground.customers
        name = self.name(index)
        created = created_at(self._ground, self.kind, index, draws.below(1000))
        person = draws.hit(75)
        days, label = draws.pick(TERMS)
        facts.update(
            contact_name=name, contact_type="vendor" if vendor else "customer", created=created,
            modified=created if draws.hit(30) else min(END, created + draws.below(300 * DAY)),
            company_name=name if draws.hit(40) else f"{name} LLC",
            first_name=draws.pick(FIRST_NAMES) if person else "",
            last_name=draws.pick(LAST_NAMES) if person else "", email=f"buyer{index}@example.com" if person else "",
            phone=f"+964 770 {draws.below(1000):03d} {draws.below(10000):04d}" if draws.hit(80) else "",
            mobile=f"+964 780 {draws.below(1000):03d} {draws.below(10000):04d}" if draws.hit(50) else "",
            status="inactive" if draws.hit(4) else "active", address=f"{draws.pick(STREETS)} {draws.below(200)}",
            city=draws.pick(CITIES), payment_terms=days, payment_terms_label=label, source="user",
            currency="USD" if vendor and draws.hit(60) else "IQD",
            pricebook=draws.below(6) if not vendor and draws.hit(20) else "",
        )  # fmt: skip
        return facts

    def blank(self, index: int) -> Facts:
        facts: Facts = dict.fromkeys(PATCHABLE, "")
        now = int(self._ground.clock.now())
        facts.update(
            index=index, id=self.kind.record_id(index), created=now, modified=now, contact_type="customer",
            status="active",
            payment_terms=0, payment_terms_label="Due on Receipt", currency="IQD", source="api",
        )  # fmt: skip
        return facts

    def complete(self, facts: Facts) -> None:
        """A contact without a company is its own company."""
        facts["company_name"] = facts["company_name"] or facts["contact_name"]

    def adopt(self, body: Document) -> Facts:
        patch: Facts = {key: body[key] for key in (*PATCHABLE, "payment_terms", "payment_terms_label") if key in body}
        if patch.get("contact_type", "customer") not in {"customer", "vendor"}:
            raise ValueError("contact_type")
        billing = body.get("billing_address")
        if isinstance(billing, dict):
            patch |= {key: billing[key] for key in ("address", "city") if key in billing}
        for person in body.get("contact_persons") or ():
            patch |= {
                key: person[key] for key in ("first_name", "last_name", "email", "phone", "mobile") if key in person
            }
        return patch

    def touched(self, facts: Facts) -> Facts:
        digits = (int(str(facts["mobile"])[-4:]) + 1) % 10000 if facts["mobile"] else 1
        return {"mobile": f"+964 780 555 {digits:04d}"}

    # --- written

    def _money(self, facts: Facts) -> Facts:
        """Balances in the contact's currency and, as `_bcy`, in the organisation's."""
        receivable, payable, credits_left = self._ground.balances(facts["index"])
        rate = DOLLAR_RATE if facts["currency"] == "USD" else 1.0
        return {
            "outstanding_receivable_amount": round(receivable / rate, 2),
            "outstanding_receivable_amount_bcy": receivable,
            "outstanding_payable_amount": round(payable / rate, 2), "outstanding_payable_amount_bcy": payable,
            "unused_credits_receivable_amount": round(credits_left / rate, 2),
            "unused_credits_receivable_amount_bcy": credits_left,
        }  # fmt: skip

    def _shared(self, facts: Facts) -> Facts:
        shared = {key: facts[key] for key in PATCHABLE[:8]}
        clock = self._ground.clock
        shared |= self._money(facts)
        shared |= {
            "contact_id": facts["id"], "status": facts["status"], "source": facts["source"],
            "website": facts["website"],
            "payment_terms": facts["payment_terms"], "payment_terms_label": facts["payment_terms_label"],
            "payment_terms_id": "5260000000000093081", "currency_code": facts["currency"],
            "currency_id": DOLLAR if facts["currency"] == "USD" else DINAR,
            "created_time": clock.stamp(facts["created"]), "last_modified_time": clock.stamp(facts["modified"]),
        }  # fmt: skip
        return shared

    def row(self, facts: Facts, _api: str) -> Document:
        clock = self._ground.clock
        row = self._shapes["row"] | self._shared(facts)
        row["customer_name"] = row["vendor_name"] = facts["contact_name"]
        row["contact_type_formatted"] = "Vendors" if facts["contact_type"] == "vendor" else "Customer"
        row["created_time_formatted"] = clock.pretty_date(facts["created"])
        row["last_modified_time_formatted"] = clock.pretty_date(facts["modified"])
        return row

    def billing(self, facts: Facts) -> Document:
        """The billing address as a detail has it."""
        index = facts["index"]
        shape: Document = self._shapes["detail"]["billing_address"]
        return shape | {
            "address_id": self.kind.part_id(index, 12), "address": facts["address"], "city": facts["city"],
            "country": "Iraq" if facts["address"] else "", "country_code": "IQ" if facts["address"] else "",
            "phone": facts["phone"],
        }  # fmt: skip

    def _persons(self, facts: Facts) -> list[Document]:
        if not facts["first_name"]:
            return []
        known = {key: facts[key] for key in ("first_name", "last_name", "email", "phone", "mobile")}
        return [self._shapes["person"] | known | {"contact_person_id": self.kind.part_id(facts["index"], 11)}]

    def detail(self, facts: Facts, _api: str) -> Document:
        clock, index = self._ground.clock, facts["index"]
        shape = self._shapes["detail"]
        detail = shape | self._shared(facts)
        symbol = "$" if facts["currency"] == "USD" else "IQD"
        pricebook = facts["pricebook"]
        detail |= {
            "currency_symbol": symbol, "notes": facts["notes"], "billing_address": self.billing(facts),
            "shipping_address": shape["shipping_address"] | {"address_id": self.kind.part_id(index, 13)},
            "entity_address_id": self.kind.part_id(index, 15), "contact_persons": self._persons(facts),
            "primary_contact_id": self.kind.part_id(index, 11) if facts["first_name"] else "",
            "created_date": clock.pretty_date(facts["created"]), "created_by_name": "Sample Owner",
            "created_by_id": OWNER_ID, "last_modified_by_id": OWNER_ID,
            "is_bcy_only_contact": facts["currency"] == "IQD",
            "pricebook_id": self._ground.kind("pricebooks").record_id(pricebook) if pricebook != "" else "",
            "pricebook_name": self._ground.facts("pricebooks", pricebook)["name"] if pricebook != "" else "",
        }  # fmt: skip
        detail["customer_currency_summaries"] = [self._shapes["summary"] | {
            "currency_id": detail["currency_id"], "currency_code": facts["currency"], "currency_symbol": symbol,
            "price_precision": 2, "is_base_currency": facts["currency"] == "IQD",
            "currency_name_formatted": "USD- United States Dollar" if symbol == "$" else "IQD- Iraqi Dinar",
            "outstanding_receivable_amount": detail["outstanding_receivable_amount"],
            "unused_credits_receivable_amount": detail["unused_credits_receivable_amount"],
        }]  # fmt: skip
        return detail
