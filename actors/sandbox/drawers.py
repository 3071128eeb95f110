"""Modules that hold only what clients put into them: estimates, journals, taxes, workflows and some seventy more."""

from __future__ import annotations

from collections.abc import Callable

from actors.sandbox.answers import Answer, missing, success, unknown_path
from actors.sandbox.clock import Clock
from actors.sandbox.request import Call
from actors.sandbox.shapes import Document

# module: (plural key, singular key, id key); the id key "" follows from the singular
NAMES: dict[str, tuple[str, str, str]] = {
    "chartofaccounts": ("chartofaccounts", "chart_of_account", "account_id"),
    "itemgroups": ("itemgroups", "item_group", "group_id"),
    "compositeitems": ("composite_items", "composite_item", ""),
    "transferorders": ("transfer_orders", "transfer_order", ""),
    "purchaseorders": ("purchaseorders", "purchaseorder", ""),
    "shipmentorders": ("shipmentorders", "shipmentorder", "shipment_id"),
    "currencies": ("currencies", "currency", ""), "taxes": ("taxes", "tax", ""),
    "taxauthorities": ("tax_authorities", "tax_authority", ""),
    "taxexemptions": ("tax_exemptions", "tax_exemption", ""), "taxgroups": ("tax_groups", "tax_group", ""),
    "vendorcredits": ("vendorcredits", "vendor_credit", ""),
    "bankaccounts": ("bankaccounts", "bankaccount", "account_id"),
    "banktransactions": ("banktransactions", "banktransaction", "transaction_id"), "bankrules": ("rules", "rule", ""),
    "recurringinvoices": ("recurring_invoices", "recurring_invoice", ""),
    "recurringbills": ("recurring_bills", "recurring_bill", ""),
    "recurringexpenses": ("recurring_expenses", "recurring_expense", ""),
    "timeentries": ("time_entries", "time_entry", ""),
    "employees": ("employees", "employee", ""), "creditnodes": ("creditnodes", "creditnode", ""),
    "salespersons": ("data", "salesperson", "salesperson_id"), "categories": ("categories", "category", ""),
    "salesreturnreceives": ("salesreturnreceives", "salesreturnreceive", "receive_id"),
    "fields": ("fields", "field", ""),
    "basecurrencyadjustment": ("base_currency_adjustments", "base_currency_adjustment", ""),
    "reportingtags": ("reporting_tags", "reporting_tag", "tag_id"), "webhooks": ("webhooks", "webhook", ""),
    "workflows": ("workflows", "workflow", ""), "custommodules": ("custommodules", "custommodule", "module_id"),
}  # fmt: skip
PLAIN = frozenset({
    "estimates", "expenses", "journals", "projects", "tasks", "packages", "purchasereceives", "retainerinvoices",
    "salesreceipts",
    "deliverychallans", "documents", "customerdebitnotes", "customviews", "fixedassets", "fixedassettypes", "brands",
    "bundles",
    "templates", "emailtemplates", "custombuttons", "preferences", "openingbalances", "crm", "contactpersons",
    "autonumbers",
    "inventoryreasons", "units", "purchase_receives", "cm",
})  # fmt: skip
SEEDED: dict[str, tuple[Document, ...]] = {
    "currencies": (
        {"currency_id": "5260000000000000097", "currency_code": "IQD", "currency_name": "IQD- Iraqi Dinar",
         "currency_symbol": "IQD", "price_precision": 2, "currency_format": "###,##0.00", "is_base_currency": True,
         "exchange_rate": 0.0, "effective_date": ""},
        {"currency_id": "5260000000000000098", "currency_code": "USD", "currency_name": "USD- United States Dollar",
         "currency_symbol": "$", "price_precision": 2, "currency_format": "1,234,567.89", "is_base_currency": False,
         "exchange_rate": 1310.0, "effective_date": ""},
    ),
    "categories": (
        {"category_id": "-1", "name": "ROOT", "parent_category_id": "", "url": "", "has_active_items": False},
        {"category_id": "5260000000000070001", "name": "Accessories", "parent_category_id": "-1", "url": "",
         "has_active_items": True},
    ),
}  # fmt: skip
FOLDERS = frozenset({"settings"})
UNPAGED = frozenset({"taxexemptions", "brands", "currencies", "webhooks", "workflows"})


class Drawers:
    """Records by module, as they were written; `on_write` hears of every module that changed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[str, dict[str, Document]] = {}
        self._made = 0
        self.on_write: list[Callable[[str], None]] = []
        for module, rows in SEEDED.items():
            self._kept[module] = {str(row[self._names(module)[2]]): dict(row) for row in rows}

    def rows(self, module: str) -> list[Document]:
        """What a module holds."""
        return list(self._kept.get(module, {}).values())

    def _names(self, module: str) -> tuple[str, str, str]:
        plural, singular, id_key = NAMES.get(module, (module, module.removesuffix("s"), ""))
        return plural, singular, id_key or f"{singular}_id"

    def _place(self, call: Call) -> tuple[str, tuple[str, ...]]:
        """The module and what follows it; refuses unknown modules with code 5."""
        parts = call.parts[1:] if call.parts and call.parts[0] in FOLDERS else call.parts
        if len(parts) > 1 and parts[0] == "taxes" and parts[1] in {"taxauthorities", "taxexemptions", "taxgroup"}:
            parts = ("taxgroups" if parts[1] == "taxgroup" else parts[1], *parts[2:])
        if not parts or (parts[0] not in NAMES and parts[0] not in PLAIN):
            raise unknown_path()
        return parts[0], parts[1:]

    def get(self, call: Call) -> Answer:
        """A list, a record, or the empty part of a record."""
        module, rest = self._place(call)
        plural, singular, _ = self._names(module)
        if not rest or not rest[0].isdigit():
            rows = self.rows(module) if not rest else []
            if module == "categories" and call.query.get("include_root_category") == "false":
                rows = rows[1:]
            context = {} if module in UNPAGED else {"page_context": self._context(module)}
            return success({plural if not rest else rest[-1]: rows, **context})
        record = self._kept.get(module, {}).get(rest[0])
        if record is None:
            raise missing()
        return success({singular: record} if len(rest) == 1 else {rest[1]: record.get(rest[1], [])})

    def _context(self, module: str) -> Document:
        return {
            "page": 1, "per_page": 200, "has_more_page": False, "report_name": module.title(),
            "applied_filter": "Status.All",
            "custom_fields": [], "sort_column": "created_time", "sort_order": "D",
        }  # fmt: skip

    def write(self, call: Call) -> Answer:
        """Create, update, delete, or an action on a record, which is acknowledged and does nothing."""
        module, rest = self._place(call)
        _, singular, id_key = self._names(module)
        label = singular.replace("_", " ")
        if call.method == "POST" and (not rest or not rest[0].isdigit()):
            return (
                self._create(call, module, singular, id_key)
                if not rest
                else success({}, f"The {label} has been saved.")
            )
        if not rest:
            self._kept.setdefault(module, {})["0"] = call.document()
            return success({}, f"The {label} has been updated.")
        record = self._kept.get(module, {}).get(rest[0])
        if record is None:
            raise missing()
        if len(rest) > 1:
            record |= {"status": rest[-1]} if rest[-1] in {"active", "inactive"} else {}
        elif call.method == "DELETE":
            del self._kept[module][rest[0]]
        else:
            record |= call.document() | {"last_modified_time": self._clock.stamp(self._clock.now())}
        self._tell(module)
        done = "deleted" if call.method == "DELETE" else "updated"
        return success({singular: record}, f"The {label} has been {done}.")

    def _create(self, call: Call, module: str, singular: str, id_key: str) -> Answer:
        self._made += 1
        record_id, now = f"5260818{self._made:012d}", self._clock.stamp(self._clock.now())
        record = {id_key: record_id, **call.document(), "created_time": now, "last_modified_time": now}
        self._kept.setdefault(module, {})[record_id] = record
        self._tell(module)
        return success({singular: record}, f"The {singular.replace('_', ' ')} has been added.", 201)

    def _tell(self, module: str) -> None:
        for listener in self.on_write:
            listener(module)
