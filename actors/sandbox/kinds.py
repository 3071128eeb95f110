"""The catalogue of what this Zoho keeps: one line of facts about each kind of record, from the entity table."""

from __future__ import annotations

from msgspec import Struct

CUSTOMERS, VENDORS = 2317, 186


class Kind(Struct, frozen=True, kw_only=True):
    """How one kind of record is named, listed, sorted and filtered; `code` is the middle of its ids."""

    module: str
    code: int
    count: int
    scales: bool = True
    plural: str
    singular: str
    id_key: str
    number_key: str = ""
    entity: str = ""
    report: str = ""
    applied_filter: str = "Status.All"
    sort_column: str = "created_time"
    sort_order: str = "D"
    sorts_modified: tuple[str, ...] = ()
    filters_modified: tuple[str, ...] = ()
    small: bool = False
    webhook_key: str = ""
    label: str
    scope: str
    inventory_only: bool = False

    def record_id(self, index: int) -> str:
        """The 19-digit id of the n-th record of this kind."""
        return f"5260815{self.code:03d}{index:09d}"

    def part_id(self, index: int, part: int) -> str:
        """The id of a part of that record: a line, an address, a person."""
        return f"5260816{self.code:03d}{index:07d}{part:02d}"

    def index(self, record_id: str) -> int:
        """The index of a record by its id, whether or not it exists; ValueError for what is no id of this kind."""
        if len(record_id) != 19 or not record_id.isdecimal() or record_id[:10] != f"5260815{self.code:03d}":  # noqa: PLR2004 - ids have 19 digits
            raise ValueError(record_id)
        return int(record_id[10:])

    def owner(self, part_id: str) -> int:
        """The index of the record that a part's id belongs to; -1 for any other text."""
        if len(part_id) != 19 or not part_id.isdigit() or part_id[:10] != f"5260816{self.code:03d}":  # noqa: PLR2004 - ids have 19 digits
            return -1
        return int(part_id[10:17])


BOTH = ("books", "inventory")
BOOKS = ("books",)
INVENTORY = ("inventory",)


def _contacts_to_orders() -> tuple[Kind, ...]:
    return (
        Kind(module="items", code=10, count=1312, plural="items", singular="item", id_key="item_id", entity="product",
             report="Items", sort_column="name", sort_order="A", sorts_modified=BOTH, filters_modified=INVENTORY,
             webhook_key="item", label="Item", scope="settings"),
        Kind(module="contacts", code=20, count=CUSTOMERS + VENDORS, plural="contacts", singular="contact",
             id_key="contact_id", entity="customer", report="Contacts", sort_column="contact_name", sort_order="A",
             sorts_modified=BOTH, filters_modified=INVENTORY, webhook_key="contact", label="Contact",
             scope="contacts"),
        Kind(module="invoices", code=31, count=1200, plural="invoices", singular="invoice", id_key="invoice_id",
             number_key="invoice_number", entity="invoice", report="Invoices", sorts_modified=INVENTORY,
             filters_modified=BOTH, webhook_key="invoice", label="Invoice", scope="invoices"),
        Kind(module="salesorders", code=30, count=800, plural="salesorders", singular="salesorder",
             id_key="salesorder_id", number_key="salesorder_number", entity="sales_order", report="Sales Orders",
             sorts_modified=INVENTORY, filters_modified=BOTH, webhook_key="salesorder", label="Sales Order",
             scope="salesorders"),
        Kind(module="bills", code=32, count=250, plural="bills", singular="bill", id_key="bill_id",
             number_key="bill_number", entity="bill", report="Bills", sorts_modified=INVENTORY, filters_modified=BOTH,
             webhook_key="bill", label="Bill", scope="bills"),
        Kind(module="creditnotes", code=33, count=120, plural="creditnotes", singular="creditnote",
             id_key="creditnote_id", number_key="creditnote_number", entity="credit_note", report="Credit Notes",
             sorts_modified=INVENTORY, filters_modified=INVENTORY, webhook_key="creditnote", label="Credit Note",
             scope="creditnotes"),
    )  # fmt: skip


def _payments_to_people() -> tuple[Kind, ...]:
    return (
        Kind(module="customerpayments", code=34, count=700, plural="customerpayments", singular="payment",
             id_key="payment_id", number_key="payment_number", entity="payment", report="Payments Received",
             applied_filter="PaymentMode.All", sort_column="date", webhook_key="payment", label="Payment",
             scope="customerpayments"),
        Kind(module="vendorpayments", code=35, count=150, plural="vendorpayments", singular="vendorpayment",
             id_key="payment_id", number_key="payment_number", entity="vendor_payment", report="Payments Made",
             applied_filter="PaymentMode.All", sort_column="date", filters_modified=BOTH, webhook_key="vendorpayment",
             label="Payment", scope="vendorpayments"),
        Kind(module="inventoryadjustments", code=37, count=100, plural="inventory_adjustments",
             singular="inventory_adjustment", id_key="inventory_adjustment_id", number_key="reference_number",
             entity="stock_adjustment", report="Inventory Adjustments", applied_filter="", sort_column="date",
             small=True, webhook_key="inventory_adjustment", label="Inventory Adjustment",
             scope="inventoryadjustments"),
        Kind(module="salesreturns", code=36, count=80, plural="salesreturns", singular="salesreturn",
             id_key="salesreturn_id", number_key="salesreturn_number", entity="sales_return", report="Sales Returns",
             sort_column="date", small=True, webhook_key="salesreturn", label="Sales Return", scope="salesreturns"),
        Kind(module="pricebooks", code=60, count=12, scales=False, plural="pricebooks", singular="pricebook",
             id_key="pricebook_id", entity="price_list", report="Price Lists", applied_filter="", sort_column="name",
             sort_order="A", small=True, label="Price List", scope="settings"),
        Kind(module="users", code=40, count=25, scales=False, plural="users", singular="user", id_key="user_id",
             entity="user", report="Users", sort_column="name", sort_order="A", label="User", scope="settings"),
        Kind(module="locations", code=50, count=6, scales=False, plural="locations", singular="location",
             id_key="location_id", entity="branch", sort_column="", label="Location", scope="settings"),
    )  # fmt: skip


class Catalogue:
    """All kinds, found by module, by the project's name for the entity, or by the code inside an id."""

    def __init__(self) -> None:
        self.kinds = (*_contacts_to_orders(), *_payments_to_people())
        self.by_module = {kind.module: kind for kind in self.kinds}
        self._by_code = {kind.code: kind for kind in self.kinds}
        self._aliases = self.by_module | {kind.entity: kind for kind in self.kinds}
        for alias, module in (("vendor", "contacts"), ("customers", "contacts"), ("vendors", "contacts"),
                              ("contact", "contacts"), ("branches", "locations"), ("item", "items"),
                              ("customer_payment", "customerpayments"), ("stock", "items")):  # fmt: skip
            self._aliases[alias] = self.by_module[module]

    def named(self, name: str) -> Kind | None:
        """The kind that a module or an entity name means."""
        return self._aliases.get(name)

    def located(self, record_id: str) -> tuple[Kind, int] | None:
        """Kind and index of an id this sandbox made; None for any other text."""
        if len(record_id) != 19 or not record_id.isdigit() or not record_id.startswith("5260815"):  # noqa: PLR2004 - ids have 19 digits
            return None
        kind = self._by_code.get(int(record_id[7:10]))
        return (kind, int(record_id[10:])) if kind is not None else None

    def index(self, kind: Kind, record_id: str) -> int:
        """The index inside one kind, or -1."""
        found = self.located(record_id)
        return found[1] if found is not None and found[0] is kind else -1
