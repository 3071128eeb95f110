"""The modules beside the organisation's main records: what their answers are called, and what they hold at first."""

from __future__ import annotations

from actors.sandbox.shapes import Document, Shapes

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
    "vendorcredits": ("vendor_credits", "vendor_credit", ""),
    "bankaccounts": ("bankaccounts", "bankaccount", "account_id"),
    "banktransactions": ("banktransactions", "banktransaction", "transaction_id"), "bankrules": ("rules", "rule", ""),
    "recurringinvoices": ("recurring_invoices", "recurring_invoice", ""),
    "recurringbills": ("recurring_bills", "recurring_bill", ""),
    "recurringexpenses": ("recurring_expenses", "recurring_expense", ""),
    "timeentries": ("time_entries", "time_entry", ""),
    "employees": ("employees", "employee", ""), "fixedassettypes": ("fixed_asset_types", "fixed_asset_type", ""),
    "serialnumbers": ("serial_numbers", "serial_number", ""), "creditnodes": ("creditnodes", "creditnode", ""),
    "salespersons": ("data", "salesperson", "salesperson_id"), "categories": ("categories", "category", ""),
    "salesreturnreceives": ("salesreturnreceives", "salesreturnreceive", "receive_id"),
    "purchasereceives": ("purchasereceives", "purchasereceive", "receive_id"),
    "fields": ("fields", "field", ""),
    "basecurrencyadjustment": ("base_currency_adjustments", "data", "base_currency_adjustment_id"),
    "reportingtags": ("reporting_tags", "reporting_tag", "tag_id"), "webhooks": ("webhooks", "webhook", ""),
    "workflows": ("workflows", "workflow", ""), "custommodules": ("custommodules", "custommodule", "module_id"),
    "autoreminders": ("autoreminders", "autoreminder", ""),
    "manualreminders": ("manualreminders", "manualreminder", ""),
    "paymentterms": ("payment_terms", "payment_term", "payment_terms_id"),
}  # fmt: skip
PLAIN = frozenset({
    "estimates", "expenses", "journals", "projects", "tasks", "packages", "retainerinvoices", "salesreceipts",
    "deliverychallans", "documents", "customerdebitnotes", "customviews", "fixedassets", "brands",
    "bundles", "templates", "emailtemplates", "custombuttons", "crm", "autonumbers", "inventoryreasons", "units",
    "purchase_receives", "cm", "picklists", "putaways", "moveorders", "stockcounts", "batches",
    "storagelocations", "storagezones", "unitgroups",
})  # fmt: skip
# What a path that is spelt below another module means.
PLACES: dict[tuple[str, str], tuple[str, ...]] = {
    ("bankaccounts", "rules"): ("bankrules",),
    ("projects", "timeentries"): ("timeentries",), ("banktransactions", "uncategorized"): ("banktransactions",),
    ("items", "batches"): ("batches",), ("items", "serialnumbers"): ("serialnumbers",),
    ("taxes", "taxauthorities"): ("taxauthorities",), ("taxes", "taxexemptions"): ("taxexemptions",),
    ("taxes", "taxgroup"): ("taxgroups",),
}  # fmt: skip
FOLDERS = frozenset({"settings"})
UNPAGED = frozenset({"taxexemptions", "brands", "webhooks", "workflows"})
FILTERS_MODIFIED = frozenset({
    "purchaseorders", "journals", "estimates", "vendorcredits", "chartofaccounts", "categories",
})  # fmt: skip
REPORTS = {
    "estimates": "Quotes", "purchaseorders": "Purchase Orders", "expenses": "Expenses", "journals": "Journals",
    "chartofaccounts": "Chart of Accounts", "taxes": "Taxes", "vendorcredits": "Vendor Credits",
    "bankaccounts": "Bank Accounts", "banktransactions": "Bank Transactions", "projects": "Projects",
    "timeentries": "Time Entries", "recurringinvoices": "Recurring Invoices", "recurringbills": "Recurring Bills",
    "recurringexpenses": "Recurring Expenses", "retainerinvoices": "Retainer Invoices", "itemgroups": "Item Groups",
    "compositeitems": "Composite Items", "packages": "Packages", "transferorders": "Transfer Orders",
    "shipmentorders": "Shipment Orders", "purchasereceives": "Purchase Receives", "categories": "Categories",
}  # fmt: skip
# module: (key of its number, what the numbers begin with)
NUMBERS = {
    "estimates": ("estimate_number", "QT-"), "purchaseorders": ("purchaseorder_number", "PO-"),
    "vendorcredits": ("vendor_credit_number", "VC-"), "retainerinvoices": ("retainerinvoice_number", "RET-"),
    "packages": ("package_number", "PKG-"), "transferorders": ("transfer_order_number", "TO-"),
    "journals": ("entry_number", "J-"), "deliverychallans": ("deliverychallan_number", "DC-"),
    "salesreceipts": ("sales_receipt_number", "SR-"), "shipmentorders": ("shipment_number", "SHP-"),
    "purchasereceives": ("receive_number", "PR-"),
}  # fmt: skip
DRAFTS = frozenset({
    "estimates", "purchaseorders", "vendorcredits", "retainerinvoices", "journals", "deliverychallans", "salesreceipts",
})  # fmt: skip


def named(module: str) -> tuple[str, str, str]:
    """Plural, singular and id key of a module's answers."""
    plural, singular, id_key = NAMES.get(module, (module, module.removesuffix("s"), ""))
    return plural, singular, id_key or f"{singular}_id"


def known(module: str) -> bool:
    """Whether the API has a module of that name."""
    return module in NAMES or module in PLAIN


def seeds(edition: str) -> dict[str, list[Document]]:
    """What the modules hold at first: currencies, accounts, taxes and the like, which every organisation has."""
    shapes = Shapes("modules")
    rows = dict(shapes["seeded"])
    if edition == "in":
        rows |= shapes["seeded_in"]
    return rows


def single_pages() -> dict[str, Document]:
    """The settings pages that are one document rather than a list, by what follows `/settings/`."""
    return Shapes("modules")["single_pages"]
