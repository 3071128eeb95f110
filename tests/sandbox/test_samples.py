"""Every answer of the sandbox beside the sample of the same answer, down to the JSON type of each key."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fixtures.sandbox import Sandbox

SAMPLES = Path(__file__).parents[1] / "samples"
LISTS = {
    "bills_list": "/books/v3/bills", "contacts_list": "/books/v3/contacts", "creditnotes_list": "/books/v3/creditnotes",
    "customerpayments_list": "/books/v3/customerpayments", "invoices_list": "/books/v3/invoices",
    "items_list_books": "/books/v3/items", "items_list_inventory": "/inventory/v1/items",
    "inventoryadjustments_list": "/inventory/v1/inventoryadjustments",
    "salesorders_list": "/inventory/v1/salesorders", "salesreturns_list": "/inventory/v1/salesreturns",
    "vendorpayments_list": "/books/v3/vendorpayments", "pricebooks_list": "/books/v3/pricebooks",
    "users_list": "/books/v3/users?filter_by=Status.All", "locations_list": "/books/v3/locations",
    "branches_list": "/books/v3/branches", "warehouses_list": "/inventory/v1/settings/warehouses",
    "organizations_list": "/books/v3/organizations", "organization_detail": "/books/v3/organizations/60012345678",
    "report_inventorysummary": "/inventory/v1/reports/inventorysummary",
    "items_count_response_option_2": "/books/v3/items?response_option=2",
}  # fmt: skip
# sample: list path, list key, id key
DETAILS = {
    "contact_detail": ("/books/v3/contacts", "contacts", "contact_id"),
    "invoice_detail": ("/books/v3/invoices", "invoices", "invoice_id"),
    "salesorder_detail": ("/inventory/v1/salesorders", "salesorders", "salesorder_id"),
    "bill_detail": ("/books/v3/bills", "bills", "bill_id"),
    "creditnote_detail": ("/books/v3/creditnotes", "creditnotes", "creditnote_id"),
    "customerpayment_detail": ("/books/v3/customerpayments", "customerpayments", "payment_id"),
    "vendorpayment_detail": ("/books/v3/vendorpayments", "vendorpayments", "payment_id"),
    "inventoryadjustment_detail": (
        "/inventory/v1/inventoryadjustments", "inventory_adjustments", "inventory_adjustment_id",
    ),
    "salesreturn_detail": ("/inventory/v1/salesreturns", "salesreturns", "salesreturn_id"),
    "user_detail": ("/books/v3/users", "users", "user_id"),
}  # fmt: skip
# samples that other tests read: prices and legacy stock by kind of record, tokens, errors, headers, writes, webhooks
ELSEWHERE = {
    "item_detail_inventory", "item_detail_inventory_legacy_warehouses", "itemdetails_bulk", "pricebook_detail_per_item",
    "pricebook_detail_volume", "oauth_token_refresh", "oauth_token_code_exchange", "oauth_errors", "errors",
    "response_headers", "write_messages", "webhook_item_default", "webhook_invoice_default", "webhook_contact_default",
    "webhook_signature_vectors", "_MANIFEST",
}  # fmt: skip
# what a detail only has when there is something to show: a sample's list that is full, ours that may be empty
OPTIONAL = {"cf_name_ar", "cf_name_ar_unformatted"}


def sample(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))


def json_kind(value: Any) -> str:
    """The JSON type; whole numbers and others are told apart, and "" is what stands for an absent value."""
    if value == "" or value is None:
        return "absent" if value == "" else "null"
    return type(value).__name__


def shape(value: Any, path: str = "", found: dict[str, set[str]] | None = None) -> dict[str, set[str]]:
    """The JSON types at each path, over all elements of every list."""
    found = {} if found is None else found
    found.setdefault(path, set()).add(json_kind(value))
    if isinstance(value, dict) and not path.endswith("custom_field_hash"):
        for key, part in value.items():
            if key not in OPTIONAL:
                shape(part, f"{path}.{key}", found)
    if isinstance(value, list):
        for part in value:
            shape(part, f"{path}[]", found)
    return found


def agree(ours: dict[str, set[str]], recorded: dict[str, set[str]]) -> None:
    """The same paths on both sides, and no type that the sample does not have; a value may be absent anywhere."""
    assert ours.keys() ^ recorded.keys() == set()
    wrong = {
        path: (kinds, recorded[path])
        for path, kinds in ours.items()
        if not kinds <= recorded[path] | {"absent"} and recorded[path] != {"absent"}
    }
    assert wrong == {}


def call(sandbox: Sandbox, path: str) -> Any:
    path, _, query = path.partition("?")
    return sandbox.get(path, **dict(pair.split("=") for pair in query.split("&") if pair)).json()


def test_every_sample_is_compared():
    """There is no sample that no test reads."""
    assert {path.stem for path in SAMPLES.glob("*.json")} == {*LISTS, *DETAILS, *ELSEWHERE}


@pytest.mark.parametrize(("name", "path"), LISTS.items())
def test_lists_and_reports(sandbox: Sandbox, name: str, path: str):
    """Facts 7, 8 and 9: a list has the keys and types of its sample and no others, its page context exactly."""
    answer, recorded = call(sandbox, path), sample(name)
    assert list(answer) == list(recorded)
    agree(shape(answer), shape(recorded))
    context = recorded.get("page_context", {})
    assert list(answer.get("page_context", {})) == list(context)
    said = {key: value for key, value in context.items() if key not in {"has_more_page", "total", "total_pages"}}
    assert said.items() <= answer.get("page_context", {}).items()


@pytest.mark.parametrize(("name", "place"), DETAILS.items())
def test_details(sandbox: Sandbox, name: str, place: tuple[str, str, str]):
    """Facts 7, 8 and 20: details of all ages together have the keys and types of their sample and no others."""
    path, plural, id_key = place
    rows = sandbox.rows(path, plural)
    found: dict[str, set[str]] = {}
    for row in rows[:: max(1, len(rows) // 40)]:
        shape(sandbox.get(f"{path}/{row[id_key]}").json(), "", found)
    recorded = shape(sample(name))
    for empty in recorded.keys() - found.keys():  # what only some have, looked for in those that have it
        assert any(found.get(empty[:at]) == {"list"} for at in range(len(empty)) if empty[at:].startswith("[]")), empty
    agree(found, {key: kinds for key, kinds in recorded.items() if key in found})


@pytest.mark.parametrize("edited", [False, True])
def test_items(sandbox: Sandbox, edited: bool):
    """Facts 8 and 21: details of items with stock and the bulk call agree with their samples, edited or not."""
    rows = [row for row in sandbox.get("/inventory/v1/items").json()["items"] if row["track_inventory"]]
    if edited:
        sandbox.edit("product", ids=[row["item_id"] for row in rows[:30]])
    details: dict[str, set[str]] = {}
    for row in rows[:30]:
        shape(sandbox.get(f"/inventory/v1/items/{row['item_id']}").json(), "", details)
    agree(details, shape(sample("item_detail_inventory")))
    ids = ",".join(row["item_id"] for row in rows[:30])
    agree(shape(call(sandbox, f"/inventory/v1/itemdetails?item_ids={ids}")), shape(sample("itemdetails_bulk")))


def test_tokens(sandbox: Sandbox):
    """Fact 1: a token's answer has the recorded keys and types, with a refresh token only for a grant code."""
    announced = sandbox.announced
    form = {"client_id": announced.client_id, "client_secret": announced.client_secret}
    refresh = form | {"grant_type": "refresh_token", "refresh_token": announced.refresh_token}
    answer = sandbox.http.post("/oauth/v2/token", data=refresh).json()
    agree(shape(answer), shape(sample("oauth_token_refresh")))
    code = sandbox.control("POST", "/oauth", code=True)["code"]
    exchange = form | {"grant_type": "authorization_code", "code": code}
    answer = sandbox.http.post("/oauth/v2/token", data=exchange).json()
    agree(shape(answer), shape(sample("oauth_token_code_exchange")))


def test_oauth_errors(sandbox: Sandbox):
    """Facts 2 and 3: every recorded error of the accounts server comes back word for word."""
    announced, errors = sandbox.announced, sample("oauth_errors")
    good = {
        "grant_type": "refresh_token", "refresh_token": announced.refresh_token, "client_id": announced.client_id,
        "client_secret": announced.client_secret,
    }  # fmt: skip
    for name, key in (
        ("invalid_code", "refresh_token"), ("invalid_client", "client_id"), ("invalid_client_secret", "client_secret"),
    ):  # fmt: skip
        answer = sandbox.http.post("/oauth/v2/token", data=good | {key: "wrong"})
        assert (answer.status_code, answer.json()) == (errors[name]["http_status"], errors[name]["body"])
    sandbox.control("POST", "/limits", enabled=True)
    answers = [sandbox.http.post("/oauth/v2/token", params=good) for _ in range(11)]
    throttled = errors["throttled"]
    assert (answers[10].status_code, answers[10].json()) == (throttled["http_status"], throttled["body"])


def per_minute(sandbox: Sandbox) -> Any:
    sandbox.control("POST", "/limits", enabled=True, per_minute=0, reset=True)
    return sandbox.get("/books/v3/items")


def per_day(sandbox: Sandbox) -> Any:
    sandbox.get("/books/v3/users")
    sandbox.control("POST", "/limits", enabled=True, per_day_books=1000, reset=True)
    sandbox.control("POST", "/limits", per_minute=2000, hard_block_at=5000)
    return [sandbox.get("/books/v3/users", per_page=1) for _ in range(1001)][-1]


def blocked(sandbox: Sandbox) -> Any:
    sandbox.control("POST", "/limits", enabled=True, block=10)
    return sandbox.get("/books/v3/items")


def busy(sandbox: Sandbox) -> Any:
    sandbox.control("POST", "/limits", enabled=True, concurrency=0, reset=True)
    return sandbox.get("/books/v3/items")


def broken(sandbox: Sandbox) -> Any:
    sandbox.plant("status", status=500)
    return sandbox.get("/books/v3/items")


def legacy_token(sandbox: Sandbox) -> Any:
    return sandbox.http.get("/books/v3/items", params={"authtoken": "0123456789abcdef0123456789abcdef"})


ERRORS: dict[str, Callable[[Sandbox], Any]] = {
    "unauthorised_or_scope": lambda sandbox: sandbox.http.get("/books/v3/items"),
    "invalid_token_14": legacy_token,
    "wrong_org": lambda sandbox: sandbox.get("/books/v3/items", organization_id="60000000000"),
    "bad_value": lambda sandbox: sandbox.get("/books/v3/invoices", last_modified_time="2026-01-01T00:00:00Z"),
    "unknown_path": lambda sandbox: sandbox.get("/books/v3/nothing"),
    "record_missing": lambda sandbox: sandbox.get("/books/v3/invoices/5260815031000999999"),
    "record_missing_generic": lambda sandbox: sandbox.get("/books/v3/estimates/5260815031000999999"),
    "itemdetails_one_dead_id": lambda sandbox: sandbox.get("/inventory/v1/itemdetails", item_ids="5260815010000999999"),
    "method_not_allowed": lambda sandbox: sandbox.http.get("/oauth/v2/token"),
    "per_minute_org": per_minute,
    "per_minute_live_2026": blocked,
    "per_day": per_day,
    "concurrency": busy,
    "internal": broken,
}


@pytest.mark.parametrize("name", sample("errors"))
def test_errors(sandbox: Sandbox, name: str):
    """Facts 4, 17, 31, 32 and 34: every recorded error comes back word for word, with its headers."""
    recorded = sample("errors")[name]
    answer = ERRORS[name](sandbox)
    assert (answer.status_code, answer.json()) == (recorded["http_status"], recorded["body"])
    assert recorded.get("headers", {}).items() <= {key.title(): value for key, value in answer.headers.items()}.items()


def test_headers(sandbox: Sandbox):
    """Fact 33: the recorded headers, those that count by name and the constant ones to the letter."""
    recorded = {name.lower(): value for name, value in sample("response_headers")["org_scoped"].items()}
    answer = sandbox.get("/inventory/v1/items", per_page=1)
    assert recorded.keys() <= answer.headers.keys()
    counting = {name for name in recorded if name.startswith("x-rate-limit")}
    assert len(counting) == 3
    assert all(answer.headers[name].isdecimal() for name in counting)
    constant = {name: value for name, value in recorded.items() if name not in counting}
    assert constant.items() <= dict(answer.headers).items()


def test_headers_of_organisations(sandbox: Sandbox):
    """Fact 33: `/organizations` has its own recorded headers, and none that count."""
    recorded = {name.lower(): value for name, value in sample("response_headers")["organizations_endpoint"].items()}
    answer = sandbox.get("/books/v3/organizations")
    assert recorded.items() <= dict(answer.headers).items()
    assert not [name for name in answer.headers if name.startswith("x-rate-limit")]
