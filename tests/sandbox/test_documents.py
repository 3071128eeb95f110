import json
import zlib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from fixtures.sandbox import Sandbox

SAMPLES = Path(__file__).parents[1] / "samples"
STOCK = {"stock_on_hand", "available_stock", "actual_available_stock"}
# path, list key, detail key, id key, list sample, detail sample
ENTITIES = [
    ("/books/v3/items", "items", "item", "item_id", "items_list_books", "item_detail_inventory"),
    ("/inventory/v1/items", "items", "item", "item_id", "items_list_inventory", "item_detail_inventory"),
    ("/books/v3/contacts", "contacts", "contact", "contact_id", "contacts_list", "contact_detail"),
    ("/books/v3/invoices", "invoices", "invoice", "invoice_id", "invoices_list", "invoice_detail"),
    ("/inventory/v1/salesorders", "salesorders", "salesorder", "salesorder_id", "salesorders_list",
     "salesorder_detail"),
    ("/books/v3/bills", "bills", "bill", "bill_id", "bills_list", "bill_detail"),
    ("/books/v3/creditnotes", "creditnotes", "creditnote", "creditnote_id", "creditnotes_list", "creditnote_detail"),
    ("/books/v3/customerpayments", "customerpayments", "payment", "payment_id", "customerpayments_list",
     "customerpayment_detail"),
    ("/books/v3/vendorpayments", "vendorpayments", "vendorpayment", "payment_id", "vendorpayments_list",
     "vendorpayment_detail"),
    ("/inventory/v1/inventoryadjustments", "inventory_adjustments", "inventory_adjustment", "inventory_adjustment_id",
     "inventoryadjustments_list", "inventoryadjustment_detail"),
    ("/inventory/v1/salesreturns", "salesreturns", "salesreturn", "salesreturn_id", "salesreturns_list",
     "salesreturn_detail"),
    ("/books/v3/pricebooks", "pricebooks", "pricebook", "pricebook_id", "pricebooks_list", "pricebook_detail_per_item"),
    ("/books/v3/users", "users", "user", "user_id", "users_list", "user_detail"),
]  # fmt: skip


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))


def plain_keys(document: dict[str, Any]) -> set[str]:
    return {key for key in document if not key.startswith("cf_")}


def differences(document: Any, reference: Any, path: str = "") -> list[str]:
    """Where a document's keys differ from its reference's, down to the first element of each list."""
    if isinstance(reference, list) and isinstance(document, list):
        return differences(document[0], reference[0], f"{path}[]") if document and reference else []
    if not isinstance(reference, dict) or not isinstance(document, dict) or path.endswith("custom_field_hash"):
        return []
    mine, theirs = plain_keys(document), plain_keys(reference)
    found = [f"{path}.{key}" for key in sorted(mine ^ theirs)]
    for key in mine & theirs:
        found += differences(document[key], reference[key], f"{path}.{key}")
    return found


@pytest.mark.parametrize("entity", ENTITIES, ids=[entity[0] for entity in ENTITIES])
def test_documents_have_the_recorded_keys(sandbox: Sandbox, entity: tuple[str, ...]):
    """Facts 20 and 21: list rows and details follow the samples key for key, parts included; rows have no lines."""
    path, plural, singular, id_key, rows, detail = entity
    recorded = sample(rows)[plural][-1] if plural == "items" else sample(rows)[plural][0]
    found = [row for row in sandbox.get(path).json()[plural] if plural != "items" or row["track_inventory"]]
    assert differences(found[0], recorded) == []
    assert not any("line_items" in row for row in found)
    document = sandbox.get(f"{path}/{found[0][id_key]}").json()[singular]
    assert differences(document, sample(detail)[singular]) == []


def test_keys_come_in_the_recorded_order(sandbox: Sandbox):
    """A document's keys stand where the recorded ones stand."""
    row = sandbox.get("/books/v3/invoices", per_page=1).json()["invoices"][0]
    assert list(row) == list(sample("invoices_list")["invoices"][0])
    detail = sandbox.get(f"/books/v3/invoices/{row['invoice_id']}").json()["invoice"]
    assert list(detail) == list(sample("invoice_detail")["invoice"])


def test_small_lists_follow_their_samples(sandbox: Sandbox):
    """Locations, branches, warehouses and organisations have the recorded keys."""
    for path, key, name in (
        ("/books/v3/locations", "locations", "locations_list"),
        ("/books/v3/branches", "branches", "branches_list"),
        ("/inventory/v1/settings/warehouses", "warehouses", "warehouses_list"),
        ("/books/v3/organizations", "organizations", "organizations_list"),
        ("/inventory/v1/reports/inventorysummary", "inventory", "report_inventorysummary"),
    ):
        assert differences(sandbox.get(path).json()[key], sample(name)[key]) == [], path
    organization = sandbox.get(f"/books/v3/organizations/{sandbox.announced.organization_id}").json()["organization"]
    assert differences(organization, sample("organization_detail")["organization"]) == []
    assert organization["fiscal_year_start_month"] == "january"


def test_stock_keys_only_on_tracked_items(sandbox: Sandbox):
    """Fact 21: services have no stock keys; stock by location is only in the detail and in the bulk call."""
    rows = sandbox.rows("/inventory/v1/items", "items")
    tracked = [row for row in rows if row["track_inventory"]]
    services = [row for row in rows if not row["track_inventory"]]
    assert tracked
    assert services
    assert all(row.keys() >= STOCK for row in tracked)
    assert not any(row.keys() & (STOCK | {"reorder_level"}) for row in services)
    assert not any("locations" in row for row in rows)
    detail = sandbox.get(f"/inventory/v1/items/{services[0]['item_id']}").json()["item"]
    assert not detail.keys() & (STOCK | {"locations", "reorder_level"})


def test_stock_by_location_or_by_warehouse(sandbox: Sandbox):
    """Fact 21: the organisation has `locations[]` or, by switch, the legacy `warehouses[]`; they add up."""
    row = next(row for row in sandbox.get("/inventory/v1/items").json()["items"] if row["track_inventory"])
    path = f"/inventory/v1/items/{row['item_id']}"
    item = sandbox.get(path).json()["item"]
    assert sum(place["location_stock_on_hand"] for place in item["locations"]) == row["stock_on_hand"]
    sandbox.switch(stock_places="warehouses")
    legacy = sandbox.get(path).json()["item"]
    assert "locations" not in legacy
    reference = sample("item_detail_inventory_legacy_warehouses")["item"]["warehouses"]
    assert differences(legacy["warehouses"], reference) == []
    assert sum(place["warehouse_stock_on_hand"] for place in legacy["warehouses"]) == row["stock_on_hand"]


def test_itemdetails_in_bulk(sandbox: Sandbox):
    """Fact 22: a hundred ids in one call; one dead id fails the whole call."""
    ids = [row["item_id"] for row in sandbox.get("/books/v3/items", per_page=100).json()["items"]]
    for prefix in ("/books/v3", "/inventory/v1"):
        items = sandbox.get(f"{prefix}/itemdetails", item_ids=",".join(ids)).json()["items"]
        assert [item["item_id"] for item in items] == ids
        tracked = next(item for item in items if item["item_type"] == "inventory")
        assert differences(tracked, sample("itemdetails_bulk")["items"][0]) == []
        sandbox_dead = sandbox.get(f"{prefix}/itemdetails", item_ids=",".join([*ids[:5], "5260815010000999999"]))
        assert (sandbox_dead.status_code, sandbox_dead.json()["code"]) == (404, 1002)


def test_images(sandbox: Sandbox):
    """Fact 23: an image is bytes with a content type; without one the status and code are open points."""
    rows = sandbox.get("/books/v3/items").json()["items"]
    pictured = next(row for row in rows if row["image_document_id"])
    answer = sandbox.get(f"/inventory/v1/items/{pictured['item_id']}/image")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG\r\n\x1a\n")
    at = answer.content.index(b"IDAT")
    size = int.from_bytes(answer.content[at - 4 : at])
    assert len(zlib.decompress(answer.content[at + 4 : at + 4 + size])) == 16 * (1 + 16 * 3)
    bare = next(row for row in rows if not row["image_document_id"])
    assert bare["image_name"] == ""
    path = f"/inventory/v1/items/{bare['item_id']}/image"
    assert sandbox.get(path).status_code == 404
    sandbox.switch(missing_image_status=400, missing_image_code=5)
    assert (sandbox.get(path).status_code, sandbox.get(path).json()["code"]) == (400, 5)


def test_price_lists(sandbox: Sandbox):
    """Fact 24: a price list's row has a stamp and no items, its detail has items and no stamp."""
    rows = sandbox.get("/books/v3/pricebooks").json()["pricebooks"]
    assert len(rows) == 12
    assert all("last_modified_time" in row and "pricebook_items" not in row for row in rows)
    details = [sandbox.get(f"/inventory/v1/pricebooks/{row['pricebook_id']}").json()["pricebook"] for row in rows]
    assert not any("last_modified_time" in detail for detail in details)
    assert sum(len(detail["pricebook_items"]) for detail in details) > 2000
    percentage = [detail for detail in details if detail["pricebook_type"] == "fixed_percentage"]
    assert [(detail["percentage"], detail["currency_id"], detail["pricebook_items"]) for detail in percentage] == [
        (10.0, "", []), (15.0, "", []),
    ]  # fmt: skip
    volume = next(detail for detail in details if detail["pricing_scheme"] == "volume")
    assert differences(volume, sample("pricebook_detail_volume")["pricebook"]) == []
    assert volume["pricebook_items"][0]["price_brackets"][-1]["end_quantity"] == ""


def test_customer_payment_detail_has_updated_time(sandbox: Sandbox):
    """Fact 25: a payment received says updated_time in its detail and last_modified_time in its row."""
    row = sandbox.get("/books/v3/customerpayments", per_page=1).json()["customerpayments"][0]
    detail = sandbox.get(f"/books/v3/customerpayments/{row['payment_id']}").json()["payment"]
    assert "last_modified_time" not in detail
    assert detail["updated_time"] == row["last_modified_time"]


@pytest.mark.parametrize(
    ("module", "key", "id_key", "party"),
    [("invoices", "invoice", "invoice_id", "customer"), ("bills", "bill", "bill_id", "vendor")],
)  # fmt: skip
def test_payments_move_documents_and_not_contacts(sandbox: Sandbox, module: str, key: str, id_key: str, party: str):
    """Facts 26 and 27: a payment bumps the document's stamp, balance and status; the contact's balance moves alone."""
    row = next(row for row in sandbox.get(f"/books/v3/{module}").json()[module] if row["balance"] > 0)
    contact_path = f"/books/v3/contacts/{row[f'{party}_id']}"
    before = sandbox.get(contact_path).json()["contact"]
    paid = sandbox.control("POST", "/pay", **{id_key: row[id_key]})
    assert (paid["balance"], paid["status"]) == (0.0, "paid")
    after = sandbox.get(f"/books/v3/{module}/{row[id_key]}").json()[key]
    assert (after["balance"], after["status"], after["payment_made"]) == (0.0, "paid", row["total"])
    assert after["last_modified_time"] > row["last_modified_time"]
    contact = sandbox.get(contact_path).json()["contact"]
    amount = "outstanding_receivable_amount" if party == "customer" else "outstanding_payable_amount"
    assert round(before[amount] - contact[amount], 2) == row["balance"]
    assert contact["last_modified_time"] == before["last_modified_time"]


def test_bumping_by_payment_and_balance_are_switches(sandbox: Sandbox):
    """Facts 26 and 27: both ways can be tried."""
    sandbox.switch(payment_bumps_document=False, balance_bumps_contact=True)
    row = next(row for row in sandbox.get("/books/v3/invoices").json()["invoices"] if row["balance"] > 0)
    before = sandbox.get(f"/books/v3/contacts/{row['customer_id']}").json()["contact"]["last_modified_time"]
    sandbox.control("POST", "/pay", invoice_id=row["invoice_id"], amount=1.0)
    after = sandbox.get(f"/books/v3/invoices/{row['invoice_id']}").json()["invoice"]
    assert (after["last_modified_time"], after["balance"]) == (row["last_modified_time"], row["balance"] - 1.0)
    contact = sandbox.get(f"/books/v3/contacts/{row['customer_id']}").json()["contact"]
    assert contact["last_modified_time"] > before


@pytest.mark.parametrize("bumps", [False, True])
def test_stock_moves_and_the_stamp(sandbox: Sandbox, bumps: bool):
    """Fact 28: a stock move leaves the item's stamp alone, unless the switch says otherwise."""
    sandbox.switch(stock_bumps_item=bumps)
    row = next(row for row in sandbox.get("/inventory/v1/items").json()["items"] if row["track_inventory"])
    moved = sandbox.control("POST", "/stock", moves=[{"id": row["item_id"], "quantity": 7}])["records"]
    after = sandbox.get(f"/inventory/v1/items/{row['item_id']}").json()["item"]
    assert after["stock_on_hand"] == row["stock_on_hand"] + 7 == moved[0]["stock_on_hand"]
    assert (after["last_modified_time"] > row["last_modified_time"]) is bumps


def test_times_are_local_with_a_plain_offset(sandbox: Sandbox):
    """Fact 29: times carry the organisation's offset without a colon."""
    rows = sandbox.get("/books/v3/contacts").json()["contacts"]
    assert all(row["last_modified_time"].endswith("+0300") and len(row["created_time"]) == 24 for row in rows)


def test_totals_add_up(sandbox: Sandbox):
    """Sums are consistent to the cent: lines, charges, total, payments, balance."""
    for module, key, id_key in (("invoices", "invoice", "invoice_id"), ("bills", "bill", "bill_id")):
        for row in sandbox.get(f"/books/v3/{module}", per_page=50).json()[module]:
            text = sandbox.get(f"/books/v3/{module}/{row[id_key]}").text
            detail = json.loads(text, parse_float=Decimal)[key]
            lines = sum(line["item_total"] for line in detail["line_items"])
            assert all(line["item_total"] == line["quantity"] * line["rate"] for line in detail["line_items"])
            charges = detail.get("shipping_charge", 0) + detail["adjustment"] - detail["discount_total"]
            assert (detail["sub_total"], detail["total"]) == (lines, lines + charges)
            assert detail["balance"] == detail["total"] - detail["payment_made"]


def test_receivables_are_the_sum_of_open_invoices(sandbox: Sandbox):
    """A customer's balance is what its invoices leave open."""
    owed: dict[str, float] = {}
    for row in sandbox.rows("/books/v3/invoices", "invoices"):
        if row["status"] not in {"draft", "void"}:
            owed[row["customer_id"]] = round(owed.get(row["customer_id"], 0.0) + row["balance"], 2)
    contacts = sandbox.rows("/books/v3/customers", "contacts")
    assert {row["contact_id"]: row["outstanding_receivable_amount"] for row in contacts} == {
        row["contact_id"]: owed.get(row["contact_id"], 0.0) for row in contacts
    }


def test_references_point_to_records(sandbox: Sandbox):
    """Documents name customers, items, orders and invoices that exist."""
    contacts = {row["contact_id"] for row in sandbox.rows("/books/v3/contacts", "contacts")}
    items = {row["item_id"] for row in sandbox.rows("/books/v3/items", "items")}
    orders = {row["salesorder_id"] for row in sandbox.rows("/books/v3/salesorders", "salesorders")}
    invoices = sandbox.truth("invoice", "detail")
    assert {invoice["customer_id"] for invoice in invoices} <= contacts
    assert {line["item_id"] for invoice in invoices for line in invoice["line_items"]} <= items
    assert {invoice["salesorder_id"] for invoice in invoices if invoice["salesorder_id"]} <= orders
    numbers = {invoice["invoice_id"] for invoice in invoices}
    payments = sandbox.truth("payment", "detail")
    assert {applied["invoice_id"] for payment in payments for applied in payment["invoices"]} <= numbers
    assert {bill["vendor_id"] for bill in sandbox.truth("bill")} <= contacts


def test_the_same_seed_gives_the_same_data(sandbox: Sandbox, start_sandbox: Callable[..., Any]):
    """Two sandboxes of one seed agree byte for byte, another seed differs, and scale multiplies."""
    path = "/sandbox/truth/invoice?view=detail"
    with start_sandbox("--no-limits") as same, start_sandbox("--no-limits", "--seed", "2", "--scale", "0.5") as other:
        assert same.http.get(path).content == sandbox.http.get(path).content
        assert other.http.get(path).content != sandbox.http.get(path).content
        counts = other.control("GET", "/counts")
        assert (counts["items"], counts["invoices"], counts["users"]) == (656, 600, 25)


def test_india_edition_adds_its_keys(start_sandbox: Callable[..., Any]):
    """Fact 43: the India edition's keys are there behind a switch, and only there."""
    with start_sandbox("--no-limits", "--edition", "in", "--scale", "0.05") as india:
        item = india.get("/books/v3/items").json()["items"][0]
        contact = india.get("/books/v3/contacts").json()["contacts"][0]
        invoice = india.truth("invoice", "detail")[0]
        tax = india.get("/books/v3/settings/taxes").json()["taxes"][0]
        order = india.truth("sales_order", "detail")[0]
        bill = india.truth("bill")[0]
    assert {"hsn_or_sac", "item_tax_preferences"} <= item.keys()
    assert {"gst_no", "gst_treatment", "place_of_contact"} <= contact.keys()
    assert {"place_of_supply", "gst_no", "gst_treatment"} <= invoice.keys() & order.keys()
    assert {"source_of_supply", "destination_of_supply", "gst_no"} <= bill.keys()
    assert all("hsn_or_sac" in line for line in (*invoice["line_items"], *order["line_items"]))
    assert [rate["tax_specification"] for rate in item["item_tax_preferences"]] == ["intra", "inter"]
    assert (tax["tax_name"], tax["tax_specification"]) == ("GST18", "intra")


def test_other_editions_have_no_indian_keys(sandbox: Sandbox):
    """Fact 43: without the switch none of these keys is there."""
    rows = [sandbox.truth(entity, "detail")[0] for entity in ("product", "customer", "invoice", "bill", "payment")]
    found = {key for row in rows for key in row} | set(rows[2]["line_items"][0])
    assert not [key for key in found if "gst" in key or key in {"hsn_or_sac", "place_of_supply", "place_of_contact"}]
