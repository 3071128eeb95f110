"""Items: products with prices and stock by location, and services without any."""

from __future__ import annotations

from actors.sandbox.chance import Draws, mixed
from actors.sandbox.entity import DAY, END, Facts, Ground, created_at
from actors.sandbox.kinds import Kind
from actors.sandbox.shapes import Document, Shapes, number
from actors.sandbox.words import BRANDS, CATEGORIES, NOUNS, SERVICES, SOURCES, UNITS

PRICES, NAMES, STOCKS = 110, 111, 112
SERVICE_EVERY, SERVICE_AT, PICTURE_EVERY = 16, 7, 8
BUSY_PLACES = 2
STOCK_KEYS = ("stock_on_hand", "available_stock", "actual_available_stock")
TRACKED_ONLY = frozenset({
    *STOCK_KEYS, "reorder_level", "initial_stock", "initial_stock_rate", "asset_value", "committed_stock",
    "actual_committed_stock", "available_for_sale_stock", "actual_available_for_sale_stock", "locations", "warehouses",
})  # fmt: skip
PATCHABLE = (
    "name", "sku", "rate", "purchase_rate", "status", "description", "unit", "brand", "category_name", "reorder_level",
    "upc", "source", "vendor_name", "cf_name_ar", "product_type", "item_type", "image_name", "hsn_or_sac",
)  # fmt: skip


class Items:
    """The catalogue of goods and services."""

    def __init__(self, ground: Ground, kind: Kind) -> None:
        self.kind = kind
        self._ground = ground
        self._shapes = Shapes("items")
        names = ("row_books", "row_inventory", "detail", "bulk")
        self._untracked = {name: self._shapes.without(name, TRACKED_ONLY) for name in names}

    # --- generated

    def tracked(self, index: int) -> bool:
        """Every sixteenth item is a service, without stock."""
        return index % SERVICE_EVERY != SERVICE_AT

    def rates(self, index: int) -> tuple[float, float]:
        """Sales and purchase rate: multiples of a quarter, so that sums are exact."""
        draws = Draws(self._ground.seed, PRICES, index)
        rate = draws.between(4, 2400) * 250.0 + (0.5 if draws.hit(3) else 0.0)
        return rate, (draws.between(40, 80) * int(rate) // 100) * 1.0 if self.tracked(index) else 0.0

    def name(self, index: int) -> str:
        """The seeded name; line items keep it when the item is renamed later."""
        draws = Draws(self._ground.seed, NAMES, index)
        if not self.tracked(index):
            return f"{draws.pick(SERVICES)} {index}"
        latin, arabic = draws.pick(NOUNS)
        noun = arabic if draws.hit(12) else latin
        return f"{draws.pick(BRANDS)} {noun} {chr(65 + draws.below(26))}{index:04d}"

    def unit(self, index: int) -> str:
        """The unit of measure; services have none."""
        return Draws(self._ground.seed, NAMES, index).pick(UNITS) if self.tracked(index) else ""

    def generate(self, index: int) -> Facts:
        facts = self.blank(index)
        draws = Draws(self._ground.seed, self.kind.code, index)
        rate, purchase_rate = self.rates(index)
        tracked = self.tracked(index)
        created = created_at(self._ground, self.kind, index, draws.below(1000))
        modified = created if draws.hit(30) else min(END, created + draws.below(200 * DAY))
        pictured = tracked and index % PICTURE_EVERY == 0
        facts.update(
            name=self.name(index), rate=rate, purchase_rate=purchase_rate, unit=self.unit(index), created=created,
            modified=modified, sku=f"SKU-{index:05d}" if tracked else "", brand=draws.pick(BRANDS) if tracked else "",
            category_name=draws.pick(CATEGORIES) if tracked else "", source=draws.pick(SOURCES),
            status="inactive" if draws.hit(6) else "active",
            description="" if draws.hit(60) else f"{facts['id'][-4:]} — 2.4 GHz, «أصلي»",
            reorder_level=float(draws.between(1, 20)) if tracked and draws.hit(70) else "",
            upc=f"62910{index:08d}" if tracked and draws.hit(50) else "",
            image_name=f"item-{index}.png" if pictured else "",
            cf_name_ar=f"{NOUNS[draws.below(len(NOUNS))][1]} {index}" if draws.hit(40) else "",
            vendor=draws.below(max(1, self._ground.vendors)) if tracked and draws.hit(60) else -1,
            item_type="inventory" if tracked else "sales", product_type="goods" if tracked else "service",
        )  # fmt: skip
        return facts

    def blank(self, index: int) -> Facts:
        facts: Facts = dict.fromkeys(PATCHABLE, "")
        now = int(self._ground.clock.now())
        facts.update(
            index=index, id=self.kind.record_id(index), created=now, modified=now, rate=0.0, purchase_rate=0.0,
            status="active", source="api", vendor=-1, item_type="sales", product_type="goods", extra_image=None,
        )  # fmt: skip
        return facts

    def complete(self, facts: Facts) -> None:
        """Name the vendor."""
        if facts["vendor"] >= 0 and not facts["vendor_name"]:
            contact = self._ground.customers + facts["vendor"]
            facts["vendor_name"] = self._ground.facts("contacts", contact)["contact_name"]

    def adopt(self, body: Document) -> Facts:
        patch: Facts = {key: body[key] for key in PATCHABLE if key in body}
        for key in ("rate", "purchase_rate"):
            if key in patch:
                patch[key] = number(patch[key] or 0)
        if body.get("custom_fields"):
            patch["cf_name_ar"] = str(body["custom_fields"][0].get("value", ""))
        return patch

    def touched(self, facts: Facts) -> Facts:
        return {"rate": facts["rate"] + 250.0}

    # --- stock

    def stock(self, index: int) -> list[tuple[int, float, float]]:
        """By location: index of the location, accounting stock, committed stock (may leave less than nothing)."""
        bits = mixed(self._ground.seed, STOCKS, index)
        levels = []
        for place in range(self._ground.counts["locations"]):
            busy = place < BUSY_PLACES
            base = float(bits & 63) if busy or not bits & 192 else 0.0
            levels.append((place, base + self._ground.moved(index, place), float(bits >> 8 & 3) if busy else 0.0))
            bits >>= 10
        return levels

    def _stock_totals(self, index: int) -> Facts:
        levels = self.stock(index)
        on_hand = sum(level for _, level, _ in levels)
        free = on_hand - sum(committed for _, _, committed in levels)
        return {"stock_on_hand": on_hand, "available_stock": on_hand, "actual_available_stock": free}

    def _stock_places(self, index: int) -> tuple[str, list[Document]]:
        style = self._ground.switches.stock_places
        prefix = style[:-1]
        places = []
        for place, level, committed in self.stock(index):
            location = self._ground.facts("locations", place)
            free = level - committed
            places.append(self._shapes[prefix] | {
                f"{prefix}_id": location["id"], f"{prefix}_name": location["location_name"],
                "status": location["status"], "is_primary": place == 0, f"{prefix}_stock_on_hand": level,
                f"{prefix}_available_stock": level, f"{prefix}_actual_available_stock": free,
                f"{prefix}_actual_committed_stock": committed, f"{prefix}_available_for_sale_stock": level,
                f"{prefix}_actual_available_for_sale_stock": free,
            })  # fmt: skip
        return style, places

    # --- written

    def _shared(self, facts: Facts) -> Facts:
        pictured = bool(facts["image_name"])
        sold_only = facts["item_type"] == "sales"
        return {
            "item_id": facts["id"], "name": facts["name"], "sku": facts["sku"], "unit": facts["unit"],
            "status": facts["status"], "source": facts["source"], "description": facts["description"],
            "rate": facts["rate"], "purchase_rate": facts["purchase_rate"], "item_type": facts["item_type"],
            "product_type": facts["product_type"], "image_name": facts["image_name"],
            "image_type": "png" if pictured else "", "vendor_name": facts["vendor_name"],
            "account_id": "5260000000000000388", "account_name": "Sales", "can_be_purchased": not sold_only,
            "purchase_account_id": "" if sold_only else "5260000000000034003",
            "purchase_account_name": "" if sold_only else "Cost of Goods Sold",
            "track_inventory": facts["item_type"] == "inventory",
            "created_time": self._ground.clock.stamp(facts["created"]),
            "last_modified_time": self._ground.clock.stamp(facts["modified"]),
        }  # fmt: skip

    def _shape(self, name: str, facts: Facts) -> Document:
        return self._shapes[name] if facts["item_type"] == "inventory" else self._untracked[name]

    def row(self, facts: Facts, api: str) -> Document:
        row = self._shape(f"row_{api}", facts) | self._shared(facts)
        row["item_name"] = facts["name"]
        row["image_document_id"] = self.kind.part_id(facts["index"], 90) if facts["image_name"] else ""
        if facts["item_type"] == "inventory":
            row |= self._stock_totals(facts["index"])
            row["reorder_level"] = facts["reorder_level"]
        if api == "inventory":
            row |= self._group(facts)
            row["upc"] = facts["upc"]
        if facts["cf_name_ar"]:
            row["cf_name_ar"] = row["cf_name_ar_unformatted"] = facts["cf_name_ar"]
        return row

    def _group(self, facts: Facts) -> Facts:
        category = facts["category_name"]
        return {
            "group_id": self.kind.part_id(facts["index"], 4), "group_name": facts["name"], "brand": facts["brand"],
            "category_name": category,
            "category_id": f"52600000000000700{len(category):02d}" if category else "",
        }  # fmt: skip

    def _custom_fields(self, facts: Facts) -> list[Document]:
        if not facts["cf_name_ar"]:
            return []
        value = facts["cf_name_ar"]
        return [self._shapes["custom_field"] | {"value": value, "value_formatted": value}]

    def _placed(self, facts: Facts) -> Facts:
        """What only items with stock have, down to each location."""
        if facts["item_type"] != "inventory":
            return {}
        totals = self._stock_totals(facts["index"])
        style, places = self._stock_places(facts["index"])
        return {**totals, "reorder_level": facts["reorder_level"], style: places}

    def detail(self, facts: Facts, _api: str) -> Document:
        index, rate = facts["index"], facts["rate"]
        detail = self._shape("detail", facts) | self._shared(facts) | self._group(facts) | self._placed(facts)
        if "available_stock" in detail:
            free = detail["actual_available_stock"]
            detail |= {
                "actual_committed_stock": detail["available_stock"] - free,
                "available_for_sale_stock": detail["available_stock"],
                "actual_available_for_sale_stock": free, "inventory_account_id": "5260000000000034001",
                "inventory_account_name": "Inventory Asset",
            }  # fmt: skip
        value = facts["cf_name_ar"]
        return detail | {
            "upc": facts["upc"], "pricebook_rate": rate, "sales_rate": rate,
            "unit_id": "5260000000000034046" if facts["unit"] else "",
            "default_price_brackets": [{"start_quantity": 1.0, "end_quantity": 1.0, "pricebook_rate": rate}],
            "vendor_id": self._vendor_id(facts), "custom_fields": self._custom_fields(facts),
            "custom_field_hash": {"cf_name_ar": value, "cf_name_ar_unformatted": value} if value else {},
            "is_returnable": index % 3 == 0,
        }  # fmt: skip

    def _vendor_id(self, facts: Facts) -> str:
        if facts["vendor"] < 0:
            return ""
        return self._ground.kind("contacts").record_id(self._ground.customers + facts["vendor"])

    def bulk(self, facts: Facts) -> Document:
        """The `/itemdetails` form: fewer keys than a detail, but stock by location."""
        shape = self._shape("bulk", facts)
        full = shape | self._shared(facts) | self._placed(facts)
        full |= {
            "upc": facts["upc"], "pricebook_rate": facts["rate"], "vendor_id": self._vendor_id(facts),
            "custom_fields": self._custom_fields(facts),
        }  # fmt: skip
        return {key: value for key, value in full.items() if key in shape or key in TRACKED_ONLY}
