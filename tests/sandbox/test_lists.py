import pytest
from fixtures.sandbox import Sandbox

LISTS = {
    "items": ("items", "name", "A", "Status.All", "Items"),
    "contacts": ("contacts", "contact_name", "A", "Status.All", "Contacts"),
    "invoices": ("invoices", "created_time", "D", "Status.All", "Invoices"),
    "salesorders": ("salesorders", "created_time", "D", "Status.All", "Sales Orders"),
    "bills": ("bills", "created_time", "D", "Status.All", "Bills"),
    "creditnotes": ("creditnotes", "created_time", "D", "Status.All", "Credit Notes"),
    "customerpayments": ("customerpayments", "date", "D", "PaymentMode.All", "Payments Received"),
    "vendorpayments": ("vendorpayments", "date", "D", "PaymentMode.All", "Payments Made"),
}
FILTERING = [
    ("books", "invoices"),
    ("books", "salesorders"),
    ("books", "bills"),
    ("books", "vendorpayments"),
    ("inventory", "items"),
    ("inventory", "contacts"),
    ("inventory", "invoices"),
    ("inventory", "bills"),
    ("inventory", "creditnotes"),
]
DETAILS = {
    "items": ("item", "item_id"), "contacts": ("contact", "contact_id"), "invoices": ("invoice", "invoice_id"),
    "salesorders": ("salesorder", "salesorder_id"), "bills": ("bill", "bill_id"),
    "creditnotes": ("creditnote", "creditnote_id"), "customerpayments": ("payment", "payment_id"),
    "vendorpayments": ("vendorpayment", "payment_id"), "users": ("user", "user_id"),
    "pricebooks": ("pricebook", "pricebook_id"),
}  # fmt: skip


def prefix(api: str) -> str:
    return "/books/v3" if api == "books" else "/inventory/v1"


@pytest.mark.parametrize("path", ["/books/v3", "/inventory/v1", "/api/v3", "/api/v1", "/books//v3/", "/books/v3/"])
def test_paths_and_their_aliases(sandbox: Sandbox, path: str):
    """Fact 6: both products and their legacy aliases; double slashes collapse, a trailing slash is tolerated."""
    assert sandbox.get(f"{path}/items/", per_page=1).json()["items"]


@pytest.mark.parametrize(("module", "names"), DETAILS.items())
def test_envelopes(sandbox: Sandbox, module: str, names: tuple[str, str]):
    """Fact 7: code, message and the record; a customer payment's detail key is `payment`."""
    singular, id_key = names
    row = sandbox.get(f"/books/v3/{module}", per_page=1).json()[module][0]
    answer = sandbox.get(f"/books/v3/{module}/{row[id_key]}").json()
    assert (answer["code"], answer["message"]) == (0, "success")
    assert answer[singular][id_key] == row[id_key]


def test_ids_are_text_and_absent_is_empty(sandbox: Sandbox):
    """Fact 8: ids are long strings, money is a float, an absent value is "" even where a number belongs."""
    rows = sandbox.get("/inventory/v1/items").json()["items"]
    assert all(isinstance(row["item_id"], str) and len(row["item_id"]) == 19 for row in rows)
    assert all(isinstance(row["rate"], float) for row in rows)
    assert "" in {row.get("reorder_level") for row in rows}
    assert None not in {value for row in rows for value in row.values() if not isinstance(value, list)}


@pytest.mark.parametrize(("module", "expected"), LISTS.items())
def test_page_context_and_default_sort(sandbox: Sandbox, module: str, expected: tuple[str, str, str, str, str]):
    """Facts 9 and 13: the recorded keys, no total, and each list's default order."""
    key, column, order, applied, report = expected
    answer = sandbox.get(f"/books/v3/{module}").json()
    context = answer["page_context"]
    keys = ["page", "per_page", "has_more_page", "report_name", "applied_filter", "custom_fields"]
    if module == "contacts":
        keys.remove("custom_fields")
    if module == "invoices":
        keys.append("seller_app_sales_channels")
    assert list(context) == [*keys, "sort_column", "sort_order"]
    assert (context["sort_column"], context["sort_order"]) == (column, order)
    assert (context["applied_filter"], context["report_name"], context["page"], context["per_page"]) == (
        applied, report, 1, 200,
    )  # fmt: skip
    values = [str(row[column]).casefold() for row in answer[key]]
    assert values == sorted(values, reverse=order == "D")


def test_has_more_page_is_exact(sandbox: Sandbox):
    """Fact 10: 200 a page by default; the last full page says there is no more; past the end there is nothing."""
    assert len(sandbox.get("/books/v3/items").json()["items"]) == 200
    last = sandbox.get("/books/v3/items", page=164, per_page=8).json()
    assert (len(last["items"]), last["page_context"]["has_more_page"]) == (8, False)
    before = sandbox.get("/books/v3/items", page=163, per_page=8).json()
    assert before["page_context"]["has_more_page"] is True
    past = sandbox.get("/books/v3/items", page=165, per_page=8)
    assert (past.status_code, past.json()["items"], past.json()["page_context"]["has_more_page"]) == (200, [], False)


def test_per_page_over_200_is_a_switch(sandbox: Sandbox):
    """Fact 10: what a per_page over 200 does is an open point: clamped, or rejected."""
    answer = sandbox.get("/books/v3/items", per_page=500).json()
    assert (len(answer["items"]), answer["page_context"]["per_page"]) == (200, 200)
    sandbox.switch(per_page_over_maximum="rejected")
    assert sandbox.get("/books/v3/items", per_page=500).json()["code"] == 2


@pytest.mark.parametrize("path", ["/books/v3/items", "/inventory/v1/contacts"])
def test_count_call(sandbox: Sandbox, path: str):
    """Fact 11: response_option=2 answers the total and the number of pages, without rows."""
    answer = sandbox.get(path, page=1, per_page=2, response_option=2).json()
    total = 1312 if "items" in path else 2503
    assert answer.keys() == {"code", "message", "page_context"}
    assert (answer["page_context"]["total"], answer["page_context"]["total_pages"]) == (total, -(-total // 2))
    sandbox.switch(count_call=False)
    assert "total" not in sandbox.get(path, response_option=2).json()["page_context"]


@pytest.mark.parametrize(
    "path",
    ["/books/v3/organizations", "/books/v3/locations", "/inventory/v1/locations", "/books/v3/branches",
     "/inventory/v1/settings/warehouses"],
)  # fmt: skip
def test_small_lists_have_no_page_context(sandbox: Sandbox, path: str):
    """Fact 12: organisations, locations, branches and warehouses come whole, without page_context."""
    assert "page_context" not in sandbox.get(path).json()


def test_sorting_is_echoed(sandbox: Sandbox):
    """Fact 14: sort_column, sort_order and applied_filter are echoed."""
    answer = sandbox.get("/books/v3/items", sort_column="rate", sort_order="D", filter_by="Status.Active").json()
    context = answer["page_context"]
    assert (context["sort_column"], context["sort_order"], context["applied_filter"]) == ("rate", "D", "Status.Active")
    rates = [row["rate"] for row in answer["items"]]
    assert rates == sorted(rates, reverse=True)
    assert {row["status"] for row in answer["items"]} == {"active"}


@pytest.mark.parametrize(
    ("api", "module"), [("books", "contacts"), ("inventory", "items"), ("inventory", "salesorders"), ("books", "items")]
)
def test_sort_by_modified_where_the_api_has_it(sandbox: Sandbox, api: str, module: str):
    """Fact 15: last_modified_time is a sort column of contacts in Books, items and sales orders in Inventory."""
    params = {"sort_column": "last_modified_time", "sort_order": "D"}
    answer = sandbox.get(f"{prefix(api)}/{module}", **params).json()
    assert answer["page_context"]["sort_column"] == "last_modified_time"
    stamps = [row["last_modified_time"] for row in answer[module]]
    assert stamps == sorted(stamps, reverse=True)


def test_unsupported_sort_is_a_switch(sandbox: Sandbox):
    """A sort column that the list does not have is ignored, or rejected by switch."""
    params = {"sort_column": "last_modified_time"}
    assert sandbox.get("/books/v3/invoices", **params).json()["page_context"]["sort_column"] == "created_time"
    sandbox.switch(unsupported_sort="rejected")
    assert sandbox.get("/books/v3/invoices", **params).json()["code"] == 2


@pytest.mark.parametrize(("api", "module"), FILTERING)
def test_modified_filter_where_the_api_has_it(sandbox: Sandbox, api: str, module: str):
    """Fact 16: last_modified_time selects what is as new as that or newer."""
    path = f"{prefix(api)}/{module}"
    stamps = sorted(row["last_modified_time"] for row in sandbox.rows(path, module))
    mark = stamps[len(stamps) * 3 // 4]
    found = sandbox.rows(path, module, last_modified_time=mark)
    assert sorted(row["last_modified_time"] for row in found) == [stamp for stamp in stamps if stamp >= mark]
    sandbox.switch(modified_comparator="after")
    assert mark not in {row["last_modified_time"] for row in sandbox.rows(path, module, last_modified_time=mark)}


@pytest.mark.parametrize(
    "stamp", ["2026-01-02T10:00:00Z", "2026-01-02T10:00:00.000+0300", "2026-01-02T10:00:00", "2026-01-02", "soon"]
)
def test_bad_timestamp_is_code_2(sandbox: Sandbox, stamp: str):
    """Fact 17: only a strict time with offset is accepted."""
    answer = sandbox.get("/books/v3/invoices", last_modified_time=stamp)
    assert answer.status_code == 400
    assert answer.json() == {"code": 2, "message": "Invalid value passed for last_modified_time"}


@pytest.mark.parametrize(
    ("module", "key"),
    [("items", "items"), ("customerpayments", "customerpayments"), ("pricebooks", "pricebooks"), ("users", "users"),
     ("contacts", "contacts"), ("creditnotes", "creditnotes")],
)  # fmt: skip
def test_modified_filter_is_ignored_elsewhere(sandbox: Sandbox, module: str, key: str):
    """Fact 18: where the filter is not supported everything comes back, without an error, even for a bad time."""
    everything = sandbox.get(f"/books/v3/{module}").json()[key]
    assert sandbox.get(f"/books/v3/{module}", last_modified_time="2030-01-01T00:00:00+0000").json()[key] == everything
    assert sandbox.get(f"/books/v3/{module}", last_modified_time="soon").json()[key] == everything


def test_books_items_filter_is_a_switch(sandbox: Sandbox):
    """Fact 18: whether Books rejects the filter on items is an open point."""
    future = {"last_modified_time": "2030-01-01T00:00:00+0000"}
    sandbox.switch(books_items_modified_filter="rejected")
    assert sandbox.get("/books/v3/items", **future).json()["code"] == 2
    sandbox.switch(books_items_modified_filter="applied")
    assert sandbox.get("/books/v3/items", **future).json()["items"] == []


def test_unsupported_filter_is_a_switch(sandbox: Sandbox):
    """Whether other lists ignore or reject a filter that they do not have is an open point as well."""
    future = {"last_modified_time": "2030-01-01T00:00:00+0000"}
    assert sandbox.get("/books/v3/customerpayments", **future).json()["customerpayments"]
    sandbox.switch(unsupported_modified_filter="rejected")
    answer = sandbox.get("/books/v3/customerpayments", **future)
    assert (answer.status_code, answer.json()["code"]) == (400, 2)


def test_branches_are_a_feature(sandbox: Sandbox):
    """The legacy branches are listed, or, by switch, the feature is off: 400 code 110817."""
    assert len(sandbox.get("/books/v3/branches").json()["branches"]) == 6
    sandbox.switch(branches_enabled=False)
    answer = sandbox.get("/books/v3/branches")
    assert (answer.status_code, answer.json()["code"]) == (400, 110817)


def test_unknown_parameters_are_ignored(sandbox: Sandbox):
    """Fact 19: an unknown parameter changes nothing, on lists, details and organisations."""
    plain = sandbox.get("/books/v3/bills").json()
    assert sandbox.get("/books/v3/bills", report_date="2020-01-01", frob="1").json() == plain
    bill = plain["bills"][0]["bill_id"]
    path = f"/books/v3/bills/{bill}"
    assert sandbox.get(path, page=3, last_modified_time="x").json() == sandbox.get(path).json()
    assert sandbox.get("/books/v3/organizations", page=2).json()["organizations"]


def test_default_filters(sandbox: Sandbox):
    """Inactive users come only when asked for; whether Books lists inactive items unasked is an open point."""
    active = sandbox.get("/books/v3/users").json()
    assert ({row["status"] for row in active["users"]}, active["page_context"]["applied_filter"]) == (
        {"active"},
        "Status.Active",
    )
    everybody = sandbox.get("/books/v3/users", filter_by="Status.All").json()["users"]
    assert {row["status"] for row in everybody} == {"active", "inactive"}
    assert len(sandbox.rows("/books/v3/items", "items")) == 1312
    sandbox.switch(books_items_default_filter="Status.Active")
    assert len(sandbox.rows("/books/v3/items", "items")) < 1312
    assert len(sandbox.rows("/books/v3/items", "items", filter_by="Status.All")) == 1312


def test_filters_and_search(sandbox: Sandbox):
    """Lists filter by type, status, customer, dates and text, and say what was searched for."""
    vendors = sandbox.rows("/books/v3/contacts", "contacts", contact_type="vendor")
    assert (len(vendors), {row["contact_type"] for row in vendors}) == (186, {"vendor"})
    assert len(sandbox.rows("/books/v3/vendors", "contacts")) == 186
    invoice = sandbox.get("/books/v3/invoices", per_page=1).json()["invoices"][0]
    mine = sandbox.rows("/books/v3/invoices", "invoices", customer_id=invoice["customer_id"])
    assert {row["customer_id"] for row in mine} == {invoice["customer_id"]}
    paid = sandbox.rows("/books/v3/invoices", "invoices", status="paid", date_start="2025-01-01", date_end="2025-06-30")
    assert paid
    assert all(row["status"] == "paid" and "2025-01-01" <= row["date"] <= "2025-06-30" for row in paid)
    found = sandbox.get("/books/v3/items", name_contains="mouse").json()
    assert found["items"]
    assert all("mouse" in row["name"].lower() for row in found["items"])
    assert found["page_context"]["search_criteria"][0]["comparator"] == "contains"


def test_small_list_context_is_a_switch(sandbox: Sandbox):
    """Whether price lists, adjustments and returns have a page_context is an open point."""
    paths = ("/books/v3/pricebooks", "/inventory/v1/inventoryadjustments", "/inventory/v1/salesreturns")
    assert all("page_context" in sandbox.get(path).json() for path in paths)
    sandbox.switch(page_context_on_small_lists=False)
    assert not any("page_context" in sandbox.get(path).json() for path in paths)


def test_offset_paging_moves_under_the_reader(sandbox: Sandbox):
    """A deleted row that was read already makes the reader of the next page miss a living one."""
    first = sandbox.get("/books/v3/items", per_page=10).json()["items"]
    second = sandbox.get("/books/v3/items", per_page=10, page=2).json()["items"]
    sandbox.delete("product", ids=[first[0]["item_id"]])
    shifted = sandbox.get("/books/v3/items", per_page=10, page=2).json()["items"]
    assert second[0]["item_id"] not in {row["item_id"] for row in shifted}
