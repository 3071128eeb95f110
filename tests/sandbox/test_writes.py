import json
from pathlib import Path
from typing import Any

import pytest
from fixtures.sandbox import Sandbox

MESSAGES = json.loads((Path(__file__).parents[1] / "samples" / "write_messages.json").read_text("utf-8"))


def body_of(sandbox: Sandbox, module: str) -> dict[str, Any]:
    """The least that a record of this module is made from."""
    customer = sandbox.get("/books/v3/customers", per_page=1).json()["contacts"][0]["contact_id"]
    vendor = sandbox.get("/books/v3/vendors", per_page=1).json()["contacts"][0]["contact_id"]
    items = sandbox.get("/books/v3/items", per_page=2).json()["items"]
    lines = [{"item_id": item["item_id"], "quantity": 2, "rate": 1000.5} for item in items]
    return {
        "contacts": {"contact_name": "Nisa & Sons", "contact_type": "customer"},
        "items": {"name": "Lamp “Noor”", "rate": 12.5, "sku": "L-1"},
        "invoices": {"customer_id": customer, "line_items": lines, "shipping_charge": 10},
        "salesorders": {"customer_id": customer, "line_items": lines},
        "bills": {"vendor_id": vendor, "line_items": lines, "bill_number": "B-77"},
        "creditnotes": {"customer_id": customer, "line_items": lines},
        "customerpayments": {"customer_id": customer, "amount": 50.0},
        "vendorpayments": {"vendor_id": vendor, "amount": 70.0},
    }[module]


SINGULAR = {
    "contacts": ("contact", "contact_id"), "items": ("item", "item_id"), "invoices": ("invoice", "invoice_id"),
    "salesorders": ("salesorder", "salesorder_id"), "bills": ("bill", "bill_id"),
    "creditnotes": ("creditnote", "creditnote_id"), "customerpayments": ("payment", "payment_id"),
    "vendorpayments": ("vendorpayment", "payment_id"),
}  # fmt: skip


@pytest.mark.parametrize("module", SINGULAR)
def test_create_read_delete(sandbox: Sandbox, module: str):
    """Fact 30: create is 201 with a Location and the exact message, delete is 200 with its own."""
    singular, id_key = SINGULAR[module]
    body = body_of(sandbox, module)
    made = sandbox.call("POST", f"/books/v3/{module}", json=body)
    document = made.json()[singular]
    assert [made.status_code, made.json()["message"]] == MESSAGES[f"POST {module}"]
    assert made.headers["location"] == f"/api/v3/{module}/{document[id_key]}"
    assert sandbox.get(made.headers["location"]).json()[singular] == document
    assert document[id_key] in {row[id_key] for row in sandbox.rows(f"/books/v3/{module}", module)}
    gone = sandbox.call("DELETE", f"/books/v3/{module}/{document[id_key]}")
    message = MESSAGES.get(f"DELETE {module}", [200, "The sales order has been deleted."])
    assert [gone.status_code, gone.json()["message"]] == message


@pytest.mark.parametrize("module", ["items", "contacts", "invoices"])
def test_update(sandbox: Sandbox, module: str):
    """Fact 30: an update is 200 with the exact message, and shows with a newer stamp."""
    singular, id_key = SINGULAR[module]
    row = sandbox.get(f"/books/v3/{module}", per_page=1).json()[module][0]
    change = {"items": {"rate": 777.25}, "contacts": {"phone": "1"}, "invoices": {"reference_number": "R"}}[module]
    answer = sandbox.call("PUT", f"/books/v3/{module}/{row[id_key]}", json=change)
    assert [answer.status_code, answer.json()["message"]] == MESSAGES[f"PUT {module}"]
    after = sandbox.get(f"/books/v3/{module}/{row[id_key]}").json()[singular]
    assert after["last_modified_time"] > row["last_modified_time"]
    assert change.items() <= after.items()


@pytest.mark.parametrize("form", ["data", "multipart", "params"])
def test_json_in_a_field(sandbox: Sandbox, form: str):
    """Fact 30: the document may be raw JSON or stand in a field named JSONString."""
    text = json.dumps({"name": "Kabel ü", "rate": 3.5})
    if form == "data":
        answer = sandbox.call("POST", "/inventory/v1/items", data={"JSONString": text})
    elif form == "multipart":
        answer = sandbox.call("POST", "/inventory/v1/items", files={"JSONString": (None, text)})
    else:
        answer = sandbox.call("POST", "/inventory/v1/items", params={"JSONString": text})
    assert (answer.status_code, answer.json()["item"]["name"]) == (201, "Kabel ü")
    assert answer.headers["location"].startswith("/api/v1/items/")


def test_totals_of_a_written_invoice(sandbox: Sandbox):
    """A created invoice is added up, owed by its customer, and settled by a payment applied to it."""
    body = body_of(sandbox, "invoices")
    before = sandbox.get(f"/books/v3/contacts/{body['customer_id']}").json()["contact"]
    invoice = sandbox.call("POST", "/books/v3/invoices", json=body).json()["invoice"]
    assert (invoice["sub_total"], invoice["total"], invoice["balance"]) == (4002.0, 4012.0, 4012.0)
    after = sandbox.get(f"/books/v3/contacts/{body['customer_id']}").json()["contact"]
    assert after["outstanding_receivable_amount"] == before["outstanding_receivable_amount"] + 4012.0
    payment = {"customer_id": body["customer_id"], "amount": 4012.0, "invoices": [
        {"invoice_id": invoice["invoice_id"], "amount_applied": 4012.0},
    ]}  # fmt: skip
    made = sandbox.call("POST", "/books/v3/customerpayments", json=payment).json()["payment"]
    assert sandbox.get(f"/books/v3/invoices/{invoice['invoice_id']}").json()["invoice"]["status"] == "paid"
    sandbox.call("DELETE", f"/books/v3/customerpayments/{made['payment_id']}")
    reopened = sandbox.get(f"/books/v3/invoices/{invoice['invoice_id']}").json()["invoice"]
    assert (reopened["balance"], reopened["payment_made"]) == (4012.0, 0.0)


def test_statuses_and_activation(sandbox: Sandbox):
    """Status calls answer their recorded messages and change the status."""
    invoice = sandbox.call("POST", "/books/v3/invoices", json=body_of(sandbox, "invoices")).json()["invoice"]
    path = f"/books/v3/invoices/{invoice['invoice_id']}"
    for status in ("sent", "void"):
        answer = sandbox.call("POST", f"{path}/status/{status}")
        assert [answer.status_code, answer.json()["message"]] == MESSAGES[f"POST invoices/{{id}}/status/{status}"]
        assert sandbox.get(path).json()["invoice"]["status"] == status
    item = sandbox.get("/inventory/v1/items", per_page=1).json()["items"][0]["item_id"]
    assert sandbox.call("POST", f"/inventory/v1/items/{item}/inactive").status_code == 200
    answer = sandbox.call("POST", f"/inventory/v1/items/{item}/active")
    assert [answer.status_code, answer.json()["message"]] == MESSAGES["POST items/{id}/active (Inventory)"]


def test_adjustment_moves_stock(sandbox: Sandbox):
    """An inventory adjustment changes the stock of its items."""
    row = next(row for row in sandbox.get("/inventory/v1/items").json()["items"] if row["track_inventory"])
    body = {"reason": "Damaged goods", "line_items": [{"item_id": row["item_id"], "quantity_adjusted": -4}]}
    answer = sandbox.call("POST", "/inventory/v1/inventoryadjustments", json=body)
    assert answer.status_code == 201
    assert answer.json()["inventory_adjustment"]["line_items"][0]["quantity_adjusted"] == -4.0
    after = sandbox.get(f"/inventory/v1/items/{row['item_id']}").json()["item"]
    assert after["stock_on_hand"] == row["stock_on_hand"] - 4


def test_image_upload_and_removal(sandbox: Sandbox):
    """An uploaded image is served as it came, until it is deleted."""
    item = sandbox.get("/books/v3/items", per_page=1).json()["items"][0]["item_id"]
    path = f"/inventory/v1/items/{item}/image"
    sandbox.call("POST", path, files={"image": ("a.gif", b"GIF89a\x00\r\n--x", "image/gif")})
    answer = sandbox.get(path)
    assert (answer.content, answer.headers["content-type"]) == (b"GIF89a\x00\r\n--x", "image/gif")
    sandbox.call("DELETE", path)
    assert sandbox.get(path).status_code == 404


@pytest.mark.parametrize("path", ["/books/v3/nonsense", "/inventory/v1/warehouses", "/books/v3", "/", "/crm/v2/Leads"])
def test_unknown_path_is_code_5(sandbox: Sandbox, path: str):
    """Fact 31: an unknown path is 404 code 5 with its own text."""
    answer = sandbox.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, 5)
    assert answer.json()["message"].startswith("We couldnt find any resource")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/books/v3/invoices/5260815031000999999", "Invoice does not exist."),
        ("/books/v3/contacts/1", "Contact does not exist."),
        ("/books/v3/contacts/abc", "Contact does not exist."),
        ("/books/v3/estimates/5260815031000999999", "Resource does not exist."),
    ],
)
def test_missing_record_is_code_1002(sandbox: Sandbox, path: str, message: str):
    """Fact 31: a missing record is 404 code 1002, whatever the id looks like."""
    answer = sandbox.get(path)
    assert (answer.status_code, answer.json()) == (404, {"code": 1002, "message": message})


def test_organisations(sandbox: Sandbox):
    """Fact 32: another organisation is 400 code 6041; without one the default is used."""
    wrong = sandbox.get("/books/v3/items", organization_id="60000000000")
    assert (wrong.status_code, wrong.json()["code"]) == (400, 6041)
    assert wrong.json()["message"].endswith("CompanyID/CompanyName:60000000000.")
    assert sandbox.get("/books/v3/items", organization_id="").json()["items"]


def test_deleted_records_vanish(sandbox: Sandbox):
    """Fact 35: a deleted record is gone from lists and details, and nothing tells of it."""
    row = sandbox.get("/books/v3/bills", per_page=1).json()["bills"][0]
    sandbox.call("DELETE", f"/books/v3/bills/{row['bill_id']}")
    assert row["bill_id"] not in {other["bill_id"] for other in sandbox.rows("/books/v3/bills", "bills")}
    assert sandbox.get(f"/books/v3/bills/{row['bill_id']}").json()["code"] == 1002
    recent = sandbox.get("/books/v3/bills", last_modified_time="2026-01-20T12:00:00+0300").json()["bills"]
    assert recent == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/books/v3/items", b"{", 400),
        ("POST", "/books/v3/items", b"[1]", 400),
        ("POST", "/books/v3/items", b"{}", 400),
        ("POST", "/books/v3/invoices", b'{"customer_id": "5260815020000999999", "line_items": [{}]}', 400),
        ("POST", "/books/v3/invoices", b'{"customer_id": "x", "line_items": "y"}', 400),
        ("PUT", "/books/v3/items", b"{}", 405),
        ("PATCH", "/books/v3/items", b"{}", 405),
        ("PUT", "/books/v3/items/5260815010000999999", b"{}", 404),
    ],
)
def test_refused_writes(sandbox: Sandbox, method: str, path: str, body: bytes, status: int):
    """A malformed or senseless write is refused with an envelope, never with a server error."""
    answer = sandbox.call(method, path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["code"] > 0


def test_drawers_keep_what_is_put_into_them(sandbox: Sandbox):
    """Modules without data of their own hold what clients write."""
    made = sandbox.call("POST", "/books/v3/estimates", json={"customer_id": "1"}).json()["estimate"]
    path = f"/books/v3/estimates/{made['estimate_id']}"
    assert sandbox.get("/books/v3/estimates").json()["estimates"] == [made]
    assert sandbox.call("PUT", path, json={"notes": "n"}).json()["estimate"]["notes"] == "n"
    assert sandbox.call("POST", f"{path}/status/sent").status_code == 200
    assert sandbox.call("DELETE", path).status_code == 200
    assert sandbox.get(path).status_code == 404
