"""Line items: how a document's lines are drawn, read from a written body, added up and written."""

from __future__ import annotations

from msgspec import Struct

from actors.sandbox.chance import Draws
from actors.sandbox.entity import Facts, Ground
from actors.sandbox.items import Items
from actors.sandbox.kinds import Kind
from actors.sandbox.shapes import Document, number


class Line(Struct, frozen=True):
    """So many of an item at a price; `item` is -1 for a line without one, which then brings its own name."""

    item: int
    quantity: float
    rate: float
    name: str = ""

    @property
    def total(self) -> float:
        return round(self.quantity * self.rate, 2)


class Lines:
    """Makes and writes the lines of one kind of document."""

    def __init__(self, ground: Ground, items: Items, kind: Kind) -> None:
        self._ground = ground
        self._items = items
        self._kind = kind

    def drawn(self, draws: Draws, *, most: int = 5, purchase: bool = False) -> tuple[Line, ...]:
        """Between one and `most` lines of seeded items at their seeded price."""
        found = []
        for _ in range(draws.between(1, most)):
            item = draws.below(self._ground.counts["items"])
            sale, cost = self._items.rates(item)
            found.append(Line(item, float(draws.between(1, 12)), (cost or sale) if purchase else sale))
        return tuple(found)

    def read(self, body: list[Document]) -> tuple[Line, ...]:
        """The lines that somebody wrote; a rate left out is the item's own."""
        return tuple(self._line(entry) for entry in body)

    def _line(self, entry: Document) -> Line:
        item = self._ground.kind("items").index(str(entry["item_id"])) if entry.get("item_id") else -1
        rate = entry.get("rate")
        if rate is None:
            rate = self._ground.facts("items", item)["rate"] if item >= 0 else 0.0
        return Line(item, number(entry.get("quantity") or 1), number(rate or 0), str(entry.get("name") or ""))

    def contact(self, contact_id: str) -> int:
        """The index of a contact by its id; ValueError for an id that is none."""
        return self._ground.kind("contacts").index(contact_id)

    def written(self, facts: Facts, shape: Document, *, rate: float = 1.0) -> list[Document]:
        """The keys that every document's lines share, over the shape of this document's lines."""
        return [
            shape | {key: value for key, value in self._shared(facts, line, place, rate).items() if key in shape}
            for place, line in enumerate(facts["lines"])
        ]

    def _shared(self, facts: Facts, line: Line, place: int, rate: float) -> Facts:
        tracked = line.item >= 0 and self._items.tracked(line.item)
        name = line.name or (self._items.name(line.item) if line.item >= 0 else "")
        item_id = self._ground.kind("items").record_id(line.item) if line.item >= 0 else ""
        kind = "goods" if tracked else "service"
        total = line.total
        return {
            "line_item_id": self._kind.part_id(facts["index"], 20 + place), "item_id": item_id, "variant_id": item_id,
            "item_order": place + 1, "name": name, "group_name": name, "quantity": line.quantity, "rate": line.rate,
            "bcy_rate": round(line.rate * rate, 2), "sales_rate": line.rate, "item_total": total,
            "item_sub_total": total,
            "unit": self._items.unit(line.item) if line.item >= 0 else "",
            "sku": f"SKU-{line.item:05d}" if tracked else "",
            "item_type": "inventory" if tracked else "sales", "product_type": kind, "line_item_type": kind,
            "product_id": self._ground.kind("items").part_id(line.item, 4) if line.item >= 0 else "",
            "is_returnable": line.item % 3 == 0, "is_fulfillable": int(tracked),
        }  # fmt: skip


def added_up(lines: tuple[Line, ...]) -> float:
    """The sum of the lines, to the cent."""
    return round(sum(line.total for line in lines), 2)


def read_document(body: Document, lines: Lines, keys: tuple[str, ...], *, party: str) -> Facts:
    """The facts that a written sales or purchase document states, whatever its kind."""
    patch: Facts = {key: body[key] for key in keys if key in body}
    for key in ("shipping_charge", "adjustment", "discount_total"):
        if key in patch:
            patch[key] = number(patch[key] or 0)
    if isinstance(body.get("line_items"), list):
        patch["lines"] = lines.read(body["line_items"])
    if body.get(party):
        patch["contact"] = lines.contact(str(body[party]))
    return patch
