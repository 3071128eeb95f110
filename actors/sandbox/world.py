"""The organisation's data: generated from (seed, kind, index) when asked for, under an overlay of what was changed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial

from msgspec import Struct, field

from actors.sandbox.clock import Clock
from actors.sandbox.contacts import Contacts
from actors.sandbox.entity import Entity, Facts
from actors.sandbox.items import Items
from actors.sandbox.kinds import CUSTOMERS, VENDORS, Catalogue, Kind
from actors.sandbox.ledger import COLUMNS, Ledger
from actors.sandbox.options import Options, Switches
from actors.sandbox.orders import Key, SortedIndex
from actors.sandbox.people import Locations, Users
from actors.sandbox.pricing import PriceLists
from actors.sandbox.purchases import Bills, VendorPayments
from actors.sandbox.receipts import CreditNotes, CustomerPayments
from actors.sandbox.sales import Invoices, SalesOrders, drawn_at
from actors.sandbox.shapes import Document
from actors.sandbox.stockroom import Adjustments, SalesReturns

KEPT_VERSIONS = 16
MEMORY = 4096


class Past(Struct, frozen=True):
    """How a record was before a change; enough to write the old document again."""

    version: int
    modified: int
    patch: Facts
    extra: Document
    blank: bool


class Edit(Struct):
    """What was changed of one record since it was generated; `version` counts from 1."""

    modified: int
    patch: Facts = field(default_factory=dict)
    extra: Document = field(default_factory=dict)
    blank: bool = False
    version: int = 1
    history: list[Past] = field(default_factory=list)


class Changed(Struct, frozen=True, kw_only=True):
    """What a change did: which record, its version now, and the stamp it bears."""

    entity: str
    id: str
    version: int
    last_modified_time: str


class World:
    """Everything the organisation has; all reading and changing of records goes through here."""

    def __init__(self, options: Options, clock: Clock, switches: Callable[[], Switches]) -> None:
        self.seed = options.seed
        self.clock = clock
        self._switches = switches
        self.catalogue = Catalogue()
        self.customers = max(1, round(CUSTOMERS * options.scale))
        self.vendors = max(1, round(VENDORS * options.scale))
        self.counts = {
            k.module: max(1, round(k.count * options.scale)) if k.scales else k.count for k in self.catalogue.kinds
        }
        self.counts["contacts"] = self.customers + self.vendors
        self.items, self.locations = Items(self, self.kind("items")), Locations(self, self.kind("locations"))
        self.contacts = Contacts(self, self.kind("contacts"))
        self._cheap: dict[tuple[str, str], Callable[[int], Key]] = {
            ("items", "name"): self.items.name, ("contacts", "contact_name"): self.contacts.name,
        }  # fmt: skip
        self.entities = self._entities()
        for module in ("salesorders", "bills"):
            self._cheap[module, "created_time"] = partial(drawn_at, self, self.kind(module))
        self._next = dict(self.counts)
        self._edits: defaultdict[str, dict[int, Edit]] = defaultdict(dict)
        self._deleted: defaultdict[str, set[int]] = defaultdict(set)
        self._moves: dict[tuple[int, int], float] = {}
        self._orders: dict[tuple[str, str], SortedIndex] = {}
        self._ledger: Ledger | None = None
        self._known: dict[tuple[str, int], Facts] = {}
        self.on_change: list[Callable[[str, int], None]] = []

    def _entities(self) -> dict[str, Entity]:
        kind, items = self.kind, self.items
        orders = SalesOrders(self, kind("salesorders"), items)
        invoices = Invoices(self, kind("invoices"), items, orders)
        bills = Bills(self, kind("bills"), items)
        credit_notes = CreditNotes(self, kind("creditnotes"), items, invoices)
        self._cheap["invoices", "created_time"] = invoices.created
        return {
            "items": items, "contacts": self.contacts, "invoices": invoices, "salesorders": orders,
            "bills": bills, "creditnotes": credit_notes,
            "customerpayments": CustomerPayments(self, kind("customerpayments"), invoices),
            "vendorpayments": VendorPayments(self, kind("vendorpayments"), bills),
            "inventoryadjustments": Adjustments(self, kind("inventoryadjustments"), items),
            "salesreturns": SalesReturns(self, kind("salesreturns"), items, orders, credit_notes),
            "pricebooks": PriceLists(self, kind("pricebooks"), items), "users": Users(self, kind("users")),
            "locations": self.locations,
        }  # fmt: skip

    @property
    def switches(self) -> Switches:
        """The open points as they are set now."""
        return self._switches()

    # --- reading

    def kind(self, module: str) -> Kind:
        """The catalogue's line about a module."""
        return self.catalogue.by_module[module]

    def exists(self, module: str, index: int) -> bool:
        """Whether that record was made and not deleted."""
        return 0 <= index < self._next[module] and index not in self._deleted[module]

    def living(self, module: str) -> Iterator[int]:
        """The indexes of all records that are there, in id order."""
        deleted = self._deleted[module]
        return (index for index in range(self._next[module]) if index not in deleted)

    def count(self, module: str) -> int:
        """How many records are there."""
        return self._next[module] - len(self._deleted[module])

    def seeded(self, module: str, index: int) -> Facts:
        """The record as generated."""
        return self.entities[module].generate(index)

    def facts(self, module: str, index: int, past: Past | None = None) -> Facts:
        """The record as it is, or as it was at a past version; not to be written into."""
        if past is not None:
            return self._worked_out(module, index, past)
        known = self._known.get((module, index))
        if known is None:
            if len(self._known) >= MEMORY:
                self._known.clear()
            known = self._known[module, index] = self._worked_out(module, index, None)
        return known

    def _worked_out(self, module: str, index: int, past: Past | None) -> Facts:
        entity = self.entities[module]
        edit = past or self._edits[module].get(index)
        if edit is None:
            facts = entity.generate(index)
        else:
            facts = entity.blank(index) if edit.blank else entity.generate(index)
            facts.update(edit.patch)
            facts["modified"] = edit.modified
        entity.complete(facts)
        return facts

    def added(self, module: str, index: int) -> Document:
        """Keys that a test added to the record's documents verbatim."""
        edit = self._edits[module].get(index)
        return edit.extra if edit is not None else {}

    def version(self, module: str, index: int) -> int:
        """How often the record was changed, plus one."""
        edit = self._edits[module].get(index)
        return edit.version if edit is not None else 1

    def past(self, module: str, index: int, version: int) -> Past | None:
        """A former version, as long as it is kept; a negative one counts back from the present."""
        edit = self._edits[module].get(index)
        if edit is None:
            return None
        wanted = version if version > 0 else edit.version + version
        return next((past for past in edit.history if past.version == wanted), None)

    def balances(self, contact: int) -> tuple[float, float, float]:
        """Receivable, payable and unused credits of a contact."""
        return self._books().balances(contact)

    def moved(self, item: int, location: int) -> float:
        """What stock moves added to an item at a location."""
        return self._moves.get((item, location), 0.0)

    def order(self, module: str, column: str) -> SortedIndex:
        """All living records by one column."""
        found = self._orders.get((module, column))
        if found is None:
            found = self._orders[module, column] = SortedIndex(self._keys(module, column))
        return found

    def _keys(self, module: str, column: str) -> Iterator[tuple[Key, int]]:
        """Every living record's key; those of the large lists' own orders are told without the rest of the record."""
        cheap = self._cheap.get((module, column))
        edits = self._edits[module]
        for index in self.living(module):
            if cheap is not None and index not in edits:
                key = cheap(index)
                yield key.casefold() if isinstance(key, str) else key, index
            else:
                yield self.sort_key(self.facts(module, index), column), index

    def contact_type(self, index: int) -> str:
        """`customer` or `vendor`."""
        if index in self._edits["contacts"]:
            return str(self.facts("contacts", index)["contact_type"])
        return "customer" if index < self.customers else "vendor"

    def sort_key(self, facts: Facts, column: str) -> Key:
        """What a record is sorted by: seconds for times, numbers as they are, text without case."""
        name = {"created_time": "created", "last_modified_time": "modified"}.get(column, column)
        value = facts.get(name, "")
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        return str(value).casefold()

    # --- changing

    def create(self, module: str, patch: Facts, *, blank: bool) -> Changed:
        """Make a record: from the body alone, or generated with the patch laid over."""
        self._books()
        index = self._next[module]
        self._next[module] = index + 1
        now = int(self.clock.now())
        self._edits[module][index] = Edit(modified=now, patch={**patch, "created": now}, blank=blank, version=0)
        return self._settle(module, index, None)

    def change(
        self, module: str, index: int, patch: Facts, *, extra: Document | None = None, stamp: str = "now"
    ) -> Changed:
        """Lay a patch over a record; `stamp` is now, next (later than before), keep, or seconds as text."""
        self._books()
        before = self.facts(module, index)
        edit = self._edits[module].setdefault(index, Edit(modified=before["modified"]))
        past = Past(edit.version, edit.modified, edit.patch, edit.extra, edit.blank)
        edit.history = [*edit.history[-KEPT_VERSIONS + 1 :], past]
        edit.patch = edit.patch | patch
        edit.extra = edit.extra | (extra or {})
        edit.modified = self._stamp(stamp, before["modified"])
        return self._settle(module, index, before)

    def _stamp(self, stamp: str, before: int) -> int:
        now = int(self.clock.now())
        known = {"now": now, "next": max(now, before + 1), "keep": before}
        return known[stamp] if stamp in known else int(stamp)

    def delete(self, module: str, index: int) -> Changed:
        """Remove a record; nothing tells of it afterwards."""
        books = self._books()
        facts = self.facts(module, index)
        self._deleted[module].add(index)
        if module in COLUMNS:
            self._announce("contacts", books.book(module, facts, -1))
        for (name, _), order in self._orders.items():
            if name == module:
                order.drop(index)
        self._announce(module, index)
        return self._changed(module, index, facts)

    def move(self, item: int, location: int, quantity: float) -> Changed:
        """Add to an item's stock at a location; whether that bumps its stamp is a switch."""
        self._moves[item, location] = self.moved(item, location) + quantity
        if self.switches.stock_bumps_item:
            return self.change("items", item, {})
        self._announce("items", item)
        return self._changed("items", item, self.facts("items", item))

    def touch(self, module: str, index: int) -> Facts:
        """A patch that changes the record visibly."""
        facts = self.facts(module, index)
        return self.entities[module].touched(facts | {"modified": facts["modified"] + self.version(module, index)})

    def _settle(self, module: str, index: int, before: Facts | None) -> Changed:
        edit = self._edits[module][index]
        edit.version += 1
        self._known.clear()
        facts = self.facts(module, index)
        if module in COLUMNS:
            self._rebook(module, before, facts)
        for (name, column), order in self._orders.items():
            if name == module:
                order.put(index, self.sort_key(facts, column))
        self._announce(module, index)
        return self._changed(module, index, facts)

    def _rebook(self, module: str, before: Facts | None, facts: Facts) -> None:
        books = self._books()
        moved = {books.book(module, before, -1)} if before is not None else set()
        moved.add(books.book(module, facts, 1))
        for contact in moved:
            if self.switches.balance_bumps_contact and self.exists("contacts", contact):
                self.change("contacts", contact, {})
            self._announce("contacts", contact)

    def _changed(self, module: str, index: int, facts: Facts) -> Changed:
        kind = self.kind(module)
        entity = facts["contact_type"] if module == "contacts" else kind.entity
        stamp = self.clock.stamp(facts["modified"])
        return Changed(entity=entity, id=facts["id"], version=self.version(module, index), last_modified_time=stamp)

    def _announce(self, module: str, index: int) -> None:
        self._known.clear()
        for listener in self.on_change:
            listener(module, index)

    def _books(self) -> Ledger:
        """The ledger, added up when first needed and before anything changes."""
        if self._ledger is None:
            self._ledger = Ledger()
            for module in COLUMNS:
                self._ledger.open(module, (self.facts(module, index) for index in self.living(module)))
        return self._ledger
