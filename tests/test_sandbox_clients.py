"""Calls as clients in the field make them: each test sends the raw requests that somebody's client was seen to send."""

import base64
import json
from typing import Any

import pytest
from fixtures.sandbox import Sandbox
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# module: (list key, detail key): what the published API description says, or what live-tested clients read
MODULES = {
    "settings/currencies": ("currencies", "currency"), "settings/taxes": ("taxes", "tax"),
    "settings/taxauthorities": ("tax_authorities", "tax_authority"),
    "settings/taxexemptions": ("tax_exemptions", "tax_exemption"), "itemgroups": ("itemgroups", "item_group"),
    "compositeitems": ("composite_items", "composite_item"), "packages": ("packages", "package"),
    "transferorders": ("transfer_orders", "transfer_order"), "categories": ("categories", "category"),
    "estimates": ("estimates", "estimate"), "purchaseorders": ("purchaseorders", "purchaseorder"),
    "expenses": ("expenses", "expense"), "journals": ("journals", "journal"),
    "chartofaccounts": ("chartofaccounts", "chart_of_account"), "vendorcredits": ("vendor_credits", "vendor_credit"),
    "bankaccounts": ("bankaccounts", "bankaccount"), "banktransactions": ("banktransactions", "banktransaction"),
    "bankaccounts/rules": ("rules", "rule"), "projects": ("projects", "project"),
    "projects/timeentries": ("time_entries", "time_entry"),
    "recurringinvoices": ("recurring_invoices", "recurring_invoice"),
    "recurringexpenses": ("recurring_expenses", "recurring_expense"),
    "recurringbills": ("recurring_bills", "recurring_bill"),
    "retainerinvoices": ("retainerinvoices", "retainerinvoice"),
    "purchasereceives": ("purchasereceives", "purchasereceive"), "shipmentorders": ("shipmentorders", "shipmentorder"),
    "deliverychallans": ("deliverychallans", "deliverychallan"), "salesreceipts": ("salesreceipts", "salesreceipt"),
    "bundles": ("bundles", "bundle"), "brands": ("brands", "brand"), "units": ("units", "unit"),
    "fixedassets": ("fixedassets", "fixedasset"), "items/serialnumbers": ("serial_numbers", "serial_number"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "keys"), MODULES.items())
def test_modules_that_nobody_here_uses(sandbox: Sandbox, path: str, keys: tuple[str, str]):
    """A module of the real API answers a list under its own key, and keeps what is put into it."""
    plural, singular = keys
    answer = sandbox.get(f"/inventory/v1/{path}", page=1, per_page=200)
    assert (answer.status_code, answer.json()["code"], type(answer.json()[plural])) == (200, 0, list)
    if "/serialnumbers" in path:
        return
    made = sandbox.call("POST", f"/books/v3/{path}", json={"name": "made", "line_items": [{"quantity": 2, "rate": 3}]})
    document = made.json()[singular]
    assert made.status_code == 201
    assert (document["name"], document["total"]) == ("made", 6)
    record_id = next(value for key, value in document.items() if key.endswith("_id"))
    assert sandbox.get(f"/books/v3/{path}/{record_id}").json()[singular] == document
    assert document in sandbox.get(f"/books/v3/{path}").json()[plural]


def test_lists_of_other_modules_have_pages(sandbox: Sandbox):
    """Pages, filters, search, the count call and the modified filter work on every list."""
    for number in range(5):
        sandbox.call("POST", "/books/v3/estimates", json={"reference_number": f"R{number}"})
    pages = [sandbox.get("/books/v3/estimates", page=page, per_page=2).json() for page in (1, 2, 3, 4)]
    assert [len(page["estimates"]) for page in pages] == [2, 2, 1, 0]
    assert [page["page_context"]["has_more_page"] for page in pages] == [True, True, False, False]
    found = sandbox.get("/books/v3/estimates", reference_number="R3").json()["estimates"]
    assert [row["reference_number"] for row in found] == ["R3"]
    assert len(sandbox.get("/books/v3/estimates", search_text="r4").json()["estimates"]) == 1
    counted = sandbox.get("/books/v3/estimates", response_option=2, per_page=2).json()["page_context"]
    assert (counted["total"], counted["total_pages"]) == (5, 3)
    later = sandbox.get("/books/v3/estimates", last_modified_time="2099-01-01T00:00:00+0000")
    assert later.json()["estimates"] == []
    assert sandbox.get("/books/v3/estimates", last_modified_time="2099-01-01T00:00:00Z").json()["code"] == 2


def test_an_estimate_gets_its_number(sandbox: Sandbox):
    """A new document of another module has a number and a status, and its verbs set the status."""
    made = sandbox.call("POST", "/books/v3/estimates", json={"customer_id": "1"}).json()["estimate"]
    assert (made["status"], made["estimate_number"][:3]) == ("draft", "QT-")
    path = f"/books/v3/estimates/{made['estimate_id']}"
    sandbox.call("POST", f"{path}/status/accepted")
    assert sandbox.get(path).json()["estimate"]["status"] == "accepted"


def test_settings_pages(sandbox: Sandbox):
    """The settings pages are single documents, and may be saved."""
    for path, key in (
        ("preferences", "preferences"), ("invoices", "invoice_settings"), ("openingbalances", "opening_balance"),
        ("invoices/notesandterms", "notes_and_terms"),
    ):  # fmt: skip
        assert isinstance(sandbox.get(f"/books/v3/settings/{path}").json()[key], dict)
    assert sandbox.call("PUT", "/books/v3/settings/invoices", json={"notes": "n"}).status_code == 200
    assert sandbox.get("/books/v3/settings/invoices").json()["invoice_settings"]["notes"] == "n"


def given_token(sandbox: Sandbox) -> dict[str, str]:
    announced = sandbox.announced
    return {
        "grant_type": "refresh_token", "refresh_token": announced.refresh_token, "client_id": announced.client_id,
        "client_secret": announced.client_secret, "redirect_uri": "http://localhost",
    }  # fmt: skip


def test_token_by_multipart_form(sandbox: Sandbox):
    """A client with form-data, as browsers and Node have it, gets its token."""
    fields = {name: (None, value) for name, value in given_token(sandbox).items()}
    assert "access_token" in sandbox.http.post("/oauth/v2/token", files=fields).json()


def test_token_with_unreadable_basic(sandbox: Sandbox):
    """A Basic header that is no base64 is nobody's, not a server error."""
    answer = sandbox.http.post("/oauth/v2/token", headers={"Authorization": "Basic x"})
    assert (answer.status_code, answer.json()) == (200, {"error": "invalid_client"})
    good = base64.b64encode(b"someone:secret").decode()
    answer = sandbox.http.post("/oauth/v2/token", headers={"Authorization": f"Basic {good}"})
    assert answer.json() == {"error": "invalid_client"}


def test_tokens_of_before_oauth(sandbox: Sandbox):
    """An authtoken parameter alone is code 14; beside a good header it is an unknown parameter."""
    alone = sandbox.http.get("/api/v3/contacts/", params={"authtoken": "x", "organization_id": "60012345678"})
    assert (alone.status_code, alone.json()["code"]) == (401, 14)
    assert sandbox.get("/api/v3/contacts/", authtoken="x").status_code == 200


def test_organisation_in_the_header(sandbox: Sandbox):
    """Older clients name the organisation in a header of the product."""
    headers = {"X-com-zoho-inventory-organizationid": "1"}
    answer = sandbox.call("GET", "/inventory/v1/items", params={"organization_id": ""}, headers=headers)
    assert answer.json()["code"] == 6041
    headers = {"X-com-zoho-inventory-organizationid": "60012345678"}
    answer = sandbox.call("GET", "/inventory/v1/items", params={"organization_id": ""}, headers=headers)
    assert answer.status_code == 200


def invoice(sandbox: Sandbox) -> dict[str, Any]:
    return sandbox.get("/books/v3/invoices", per_page=1, status="paid").json()["invoices"][0]


@pytest.mark.parametrize("way", [{"params": {"accept": "pdf"}}, {"headers": {"Accept": "application/pdf"}}])
def test_papers(sandbox: Sandbox, way: dict[str, Any]):
    """A document can be had as a PDF named after its number, by parameter or by header."""
    row = invoice(sandbox)
    answer = sandbox.call("GET", f"/books/v3/invoices/{row['invoice_id']}", **way)
    assert answer.headers["content-type"] == "application/pdf"
    assert f'filename="{row["invoice_number"]}.pdf"' in answer.headers["content-disposition"]
    table = int(answer.content.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert (answer.content[:5], answer.content[table : table + 4]) == (b"%PDF-", b"xref")


def test_papers_of_several_and_as_html(sandbox: Sandbox):
    """Several documents come as one PDF, and one as HTML."""
    row = invoice(sandbox)
    answer = sandbox.get("/books/v3/invoices/pdf", invoice_ids=row["invoice_id"])
    assert answer.content.startswith(b"%PDF-")
    page = sandbox.get(f"/books/v3/invoices/{row['invoice_id']}", accept="html")
    assert (page.headers["content-type"][:9], row["invoice_number"] in page.text) == ("text/html", True)


def test_attachments(sandbox: Sandbox):
    """A file is attached, fetched as it was, and detached."""
    path = f"/books/v3/bills/{sandbox.get('/books/v3/bills', per_page=1).json()['bills'][0]['bill_id']}/attachment"
    assert sandbox.get(path).status_code == 404
    assert sandbox.call("POST", path, files={"attachment": ("b.txt", b"\x00\r\n--x", "text/plain")}).status_code == 200
    assert (sandbox.get(path).content, sandbox.get(path).headers["content-type"]) == (b"\x00\r\n--x", "text/plain")
    sandbox.call("DELETE", path)
    assert sandbox.get(path).status_code == 404


def test_comments(sandbox: Sandbox):
    """Comments are added by body or by parameter, listed under their own key, changed and deleted."""
    contact = sandbox.get("/books/v3/contacts", per_page=1).json()["contacts"][0]["contact_id"]
    for path, key in (
        (f"/books/v3/invoices/{invoice(sandbox)['invoice_id']}/comments", "comments"),
        (f"/books/v3/contacts/{contact}/comments", "contact_comments"),
    ):
        made = sandbox.call("POST", path, json={"description": "first"})
        assert (made.status_code, made.json()["message"]) == (201, "Comments added.")
        sandbox.call("POST", path, params={"description": "second"})
        rows = sandbox.get(path).json()[key]
        assert [row["description"] for row in rows] == ["first", "second"]
        one = f"{path}/{rows[0]['comment_id']}"
        sandbox.call("PUT", one, json={"description": "changed"})
        assert sandbox.get(path).json()[key][0]["description"] == "changed"
        sandbox.call("DELETE", one)
        assert len(sandbox.get(path).json()[key]) == 1


def test_what_stands_below_a_document(sandbox: Sandbox):
    """Payments, credits, mails and templates answer under their documented keys; payments are the real ones."""
    row = invoice(sandbox)
    path = f"/books/v3/invoices/{row['invoice_id']}"
    paid = sandbox.get(f"{path}/payments").json()["payments"]
    assert sum(payment["amount"] for payment in paid) == row["total"] - row.get("credits_applied", 0.0)
    assert sandbox.get(f"/books/v3/customerpayments/{paid[0]['payment_id']}").status_code == 200
    assert sandbox.get(f"{path}/creditsapplied").json()["credits"] == []
    assert sandbox.get(f"{path}/email").json()["data"]["subject"]
    assert sandbox.call("POST", f"{path}/email", json={"to_mail_ids": ["a@example.com"]}).status_code == 200
    assert sandbox.get("/books/v3/invoices/templates").json()["templates"]
    assert sandbox.get("/books/v3/creditnotes/refunds").json()["creditnote_refunds"] == []


def test_contact_persons(sandbox: Sandbox):
    """A contact's persons are found below the contact and by their own id; more can be added."""
    row = next(row for row in sandbox.get("/books/v3/contacts").json()["contacts"] if row["first_name"])
    path = f"/books/v3/contacts/{row['contact_id']}/contactpersons"
    seeded = sandbox.get(path).json()["contact_persons"][0]
    by_id = sandbox.get(f"/books/v3/contacts/contactpersons/{seeded['contact_person_id']}")
    assert by_id.json()["contact_person"]["first_name"] == row["first_name"]
    body = {"contact_id": row["contact_id"], "first_name": "Second"}
    made = sandbox.call("POST", "/books/v3/contacts/contactpersons", json=body).json()["contact_person"]
    names = [person["first_name"] for person in sandbox.get(path).json()["contact_persons"]]
    assert names == [row["first_name"], "Second"]
    assert sandbox.get(f"/books/v3/contacts/contactpersons/{made['contact_person_id']}").status_code == 200
    assert len(sandbox.get(f"/books/v3/contacts/{row['contact_id']}/address").json()["addresses"]) == 2


def test_what_is_written_comes_back(sandbox: Sandbox):
    """Keys that no figure depends on come back as they were sent; numbers sent as text are numbers."""
    body = {
        "contact_name": "Echo", "twitter": "echo", "payment_terms": "15", "notes": None,
        "billing_address": {"address": "A 1", "zip": "10001", "frob": 1},
    }  # fmt: skip
    made = sandbox.call("POST", "/books/v3/contacts", json=body).json()["contact"]
    kept = sandbox.get(f"/books/v3/contacts/{made['contact_id']}").json()["contact"]
    assert (kept["twitter"], kept["payment_terms"], kept["notes"]) == ("echo", 15, "")
    assert (kept["billing_address"]["zip"], "frob" in kept["billing_address"]) == ("10001", False)
    sandbox.call("PUT", f"/books/v3/contacts/{made['contact_id']}", json={"facebook": "f"})
    kept = sandbox.get(f"/books/v3/contacts/{made['contact_id']}").json()["contact"]
    assert (kept["twitter"], kept["facebook"]) == ("echo", "f")
    item = sandbox.call("POST", "/inventory/v1/items", data={"JSONString": '{"name": "T", "rate": "12.5"}'}).json()[
        "item"
    ]
    assert item["rate"] == 12.5


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("items", {"name": "x", "rate": "abc"}), ("items", {"name": "x", "rate": "NaN"}), ("items", {"name": {"a": 1}}),
        ("contacts", {"contact_name": "x", "contact_type": "friend"}),
        ("invoices", {"customer_id": "5260815020000000001", "line_items": [{"item_id": "1"}]}),
        ("invoices", {"customer_id": "5260815020000000001", "line_items": [{"item_id": "5260815010000999999"}]}),
        ("invoices", {"customer_id": "5260815020000000001", "line_items": [{}], "date": "soon"}),
        ("customerpayments", {"customer_id": "5260815020000000001", "amount": "much"}),
        ("customerpayments", {"customer_id": "5260815020000000001", "amount": 1,
                              "invoices": [{"invoice_id": "5260815031000999999"}]}),
    ],
)  # fmt: skip
def test_senseless_values_are_refused(sandbox: Sandbox, path: str, body: dict[str, Any]):
    """A value that cannot be one, or an id of nothing, is 400 with an envelope."""
    answer = sandbox.call("POST", f"/books/v3/{path}", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["code"] in {2, 4}


def test_a_read_with_a_body(sandbox: Sandbox):
    """Some clients send a body with every call; it is read and ignored, wherever it goes."""
    body = json.dumps({"x": "y" * 200_000})
    for path in ("/books/v3/items", "/books/v3/nothing", "/nowhere"):
        assert sandbox.call("GET", path, content=body).status_code in {200, 404}
    assert sandbox.get("/books/v3/items", per_page=1).status_code == 200


SEGMENTS = st.sampled_from([
    "items", "contacts", "invoices", "bills", "customerpayments", "estimates", "settings", "taxes", "organizations",
    "users", "me", "pdf", "templates", "contactpersons", "comments", "image", "status", "reports",
    "inventorysummary", "webhooks", "5260815010000000001", "5260815031000000001", "1", "0", "x", "٣", "%2e", "email",
    "locations", "workflows",
])  # fmt: skip
WORDS = st.sampled_from(["", "0", "-1", "x", "200", "99999999999999999999", "2026-01-01T00:00:00+0000", "٣", "null"])
NAMES = st.sampled_from([
    "page", "per_page", "sort_column", "sort_order", "filter_by", "search_text", "last_modified_time", "item_ids",
    "response_option", "customer_id", "date_start", "status", "accept", "JSONString",
])  # fmt: skip
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=4,
)
KEYS = st.sampled_from([
    "name", "contact_name", "customer_id", "vendor_id", "line_items", "amount", "invoices", "rate", "date", "status",
    "custom_fields", "billing_address", "contact_persons", "instant_actions", "email", "payment_terms", "notes",
])  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
    path=st.lists(SEGMENTS, max_size=4), query=st.dictionaries(NAMES, WORDS, max_size=3),
    body=st.dictionaries(KEYS, VALUES, max_size=4),
)  # fmt: skip
def test_nothing_breaks_it(sandbox: Sandbox, method: str, path: list[str], query: dict[str, str], body: Any):
    """Whatever is asked or written, the answer is one that the API has, never a server error."""
    place = "/books/v3/" + "/".join(path)
    answer = sandbox.call(method, place, params=query, content=json.dumps(body), headers={"Content-Type": "text/plain"})
    assert answer.status_code in {200, 201, 400, 404, 405}, answer.text
