"""Price lists: a rate per item, a rate per quantity, or a percentage on everything."""

from __future__ import annotations

from actors.sandbox.chance import Draws
from actors.sandbox.contacts import DINAR
from actors.sandbox.entity import Facts, Ground, created_at
from actors.sandbox.items import Items
from actors.sandbox.kinds import Kind
from actors.sandbox.shapes import Document, Shapes, laid, number
from actors.sandbox.words import PRICE_LISTS

PATCHABLE = (
    "name", "description", "percentage", "pricing_scheme", "pricebook_type", "status", "rounding_type",
    "sales_or_purchase_type", "is_increase",
)  # fmt: skip
STEPS = (4, 5, 6, 7, 8, 9)  # every how-manieth item is on the n-th list: 2,2xx rows on all of them together


class PriceLists:
    """Price lists; the list row has a stamp but no items, the detail has items but no stamp."""

    def __init__(self, ground: Ground, kind: Kind, items: Items) -> None:
        self.kind = kind
        self._ground = ground
        self._items = items
        self._shapes = Shapes("pricebooks")

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        draws = Draws(self._ground.seed, self.kind.code, index)
        created = created_at(self._ground, self.kind, index, draws.below(1000))
        name, scheme, percentage, side, status = PRICE_LISTS[index % len(PRICE_LISTS)]
        facts.update(
            name=name, created=created, modified=created + draws.below(900_000), pricing_scheme=scheme, status=status,
            pricebook_type="per_item" if scheme else "fixed_percentage", percentage=abs(percentage) or "",
            is_increase=percentage > 0, sales_or_purchase_type=side,
        )  # fmt: skip
        return facts

    def blank(self, index: int) -> Facts:
        facts: Facts = dict.fromkeys(PATCHABLE, "")
        now = int(self._ground.clock.now())
        facts.update(
            index=index, id=self.kind.record_id(index), created=now, modified=now, status="active", is_increase=False,
            pricebook_type="per_item", pricing_scheme="unit", rounding_type="no_rounding",
            sales_or_purchase_type="sales",
            rates=None,
        )  # fmt: skip
        return facts

    def complete(self, _facts: Facts) -> None:
        """Nothing follows from a price list's facts."""

    def adopt(self, body: Document) -> Facts:
        patch: Facts = {key: body[key] for key in PATCHABLE if key in body}
        if isinstance(body.get("pricebook_items"), list):
            patch["rates"] = {
                self._ground.kind("items").index(str(row["item_id"])): number(row["pricebook_rate"])
                for row in body["pricebook_items"]
            }
        return patch

    def touched(self, facts: Facts) -> Facts:
        if facts["pricebook_type"] != "per_item" or not (rates := self.rates(facts)):
            return {"description": f"revised {facts['modified'] % 100000}"}
        first = min(rates)
        return {"description": f"revised {facts['modified'] % 100000}", "rates": rates | {first: rates[first] + 250.0}}

    def rates(self, facts: Facts) -> dict[int, float]:
        """Item index to rate, for lists that price single items."""
        if facts["rates"] is not None:
            found: dict[int, float] = facts["rates"]
            return found
        if facts["pricebook_type"] != "per_item" or facts["index"] >= self._ground.counts["pricebooks"]:
            return {}
        step = STEPS[facts["index"] % len(STEPS)]
        discount = 95 - facts["index"] % 4 * 5
        indexes = range(facts["index"] % step, self._ground.counts["items"], step)
        return {item: self._items.rates(item)[0] * discount / 100 for item in indexes}

    def _shared(self, facts: Facts) -> Facts:
        shared = {key: facts[key] for key in PATCHABLE}
        base = facts["pricebook_type"] == "fixed_percentage"
        shared |= {
            "pricebook_id": facts["id"], "currency_id": "" if base else DINAR, "currency_code": "" if base else "IQD",
            "pricebook_rate": facts["percentage"], "last_modified_time": self._ground.clock.stamp(facts["modified"]),
        }  # fmt: skip
        return shared

    def row(self, facts: Facts, _api: str) -> Document:
        return self._shapes["row"] | self._shared(facts)

    def detail(self, facts: Facts, _api: str) -> Document:
        shape = self._shapes["detail"]
        detail = laid(shape, self._shared(facts))
        volume = facts["pricing_scheme"] == "volume"
        detail["pricebook_items"] = [
            self._volume(facts, place, item, rate) if volume else self._unit(facts, place, item, rate)
            for place, (item, rate) in enumerate(self.rates(facts).items())
        ]
        return detail

    def _row_id(self, facts: Facts, place: int, bracket: int = 0) -> str:
        return self.kind.part_id(facts["index"] * 100_000 + place, bracket)

    def _unit(self, facts: Facts, place: int, item: int, rate: float) -> Document:
        return self._shapes["item"] | {
            "pricebook_item_id": self._row_id(facts, place), "item_id": self._ground.kind("items").record_id(item),
            "name": self._items.name(item), "can_be_sold": True, "can_be_purchased": True, "pricebook_rate": rate,
            "pricebook_discount": "",
        }  # fmt: skip

    def _volume(self, facts: Facts, place: int, item: int, rate: float) -> Document:
        brackets = [
            self._shapes["bracket"] | {
                "pricebook_item_id": self._row_id(facts, place, number + 1), "start_quantity": start,
                "end_quantity": end,
                "pricebook_discount": "", "pricebook_rate": round(rate * percent / 100, 2),
            }
            for number, (start, end, percent) in enumerate(((10.0, 19.0, 95), (20.0, "", 90)))
        ]  # fmt: skip
        return self._shapes["volume_item"] | {
            "item_id": self._ground.kind("items").record_id(item), "name": self._items.name(item), "can_be_sold": True,
            "can_be_purchased": True, "price_brackets": brackets,
        }  # fmt: skip
