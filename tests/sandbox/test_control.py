import threading
import time
from typing import Any

import httpx2
import pytest
from fixtures.sandbox import Sandbox

from actors.sandbox.control import Control
from actors.sandbox.options import Options
from actors.sandbox.stage import Stage

ENTITIES = [
    "product", "customer", "vendor", "invoice", "sales_order", "payment", "vendor_payment", "bill", "credit_note",
    "stock_adjustment", "price_list", "user", "branch", "sales_return",
]  # fmt: skip
PATHS = {"product": "items", "customer": "contacts", "invoice": "invoices", "bill": "bills", "price_list": "pricebooks"}


@pytest.mark.no_cover
@pytest.mark.parametrize("entity", ENTITIES)
def test_edit_create_delete_each_entity(sandbox: Sandbox, entity: str):
    """Every entity can be edited so that row and detail change, created, and deleted."""
    before = {view: sandbox.truth(entity, view)[0] for view in ("list", "detail")}
    record = sandbox.edit(entity, count=1, stamp="next")[0]
    after = {view: sandbox.truth(entity, view)[0] for view in ("list", "detail")}
    assert record["version"] == 2
    assert record["entity"] == entity
    if entity != "price_list":  # its row carries no prices
        assert before["list"] != after["list"]
    assert before["detail"] != after["detail"]
    made = sandbox.create(entity, count=2)
    ids = {row["id"] for row in sandbox.truth(entity, "ids")}
    assert {row["id"] for row in made} <= ids
    sandbox.delete(entity, ids=[made[0]["id"]])
    assert {row["id"] for row in sandbox.truth(entity, "ids")} == ids - {made[0]["id"]}


def test_versions_and_stamps(sandbox: Sandbox):
    """Versions count up; a stamp may be now, later than before, kept, or given."""
    first = sandbox.edit("product", count=1)[0]
    second = sandbox.edit("product", ids=[first["id"]], stamp="next")[0]
    third = sandbox.edit("product", ids=[first["id"]], stamp="keep")[0]
    fourth = sandbox.edit("product", ids=[first["id"]], stamp="2026-02-03T04:05:06+0300")[0]
    assert [row["version"] for row in (first, second, third, fourth)] == [2, 3, 4, 5]
    assert second["last_modified_time"] > first["last_modified_time"]
    assert third["last_modified_time"] == second["last_modified_time"]
    assert fourth["last_modified_time"] == "2026-02-03T04:05:06+0300"
    path = f"/sandbox/record/product/{first['id']}"
    assert sandbox.http.get(path, params={"version": 2}).json()["last_modified_time"] == first["last_modified_time"]
    assert sandbox.http.get(path).json()["last_modified_time"] == fourth["last_modified_time"]
    assert sandbox.http.get(path, params={"version": 99}).status_code == 400


def test_set_names_document_keys(sandbox: Sandbox):
    """`set` takes document keys; keys that are none of the record's go into row and detail as they are."""
    record = sandbox.edit("customer", count=1, set={"contact_name": "<b>Ω</b>", "cf_region": "north", "phone": ""})[0]
    row = next(row for row in sandbox.truth("customer") if row["contact_id"] == record["id"])
    detail = sandbox.get(f"/books/v3/contacts/{record['id']}").json()["contact"]
    for document in (row, detail):
        assert (document["contact_name"], document["cf_region"], document["phone"]) == ("<b>Ω</b>", "north", "")
    assert sandbox.get("/books/v3/contacts").json()["contacts"][0]["contact_id"] == record["id"]


def test_lists_follow_edits(sandbox: Sandbox):
    """An edited record moves to its new place in every order, and filters see it."""
    ids = [row["item_id"] for row in sandbox.get("/books/v3/items").json()["items"]]
    sandbox.get("/inventory/v1/items", sort_column="last_modified_time", sort_order="D")
    record = sandbox.edit("product", ids=[ids[150]], set={"name": "!first"}, stamp="next")[0]
    assert sandbox.get("/books/v3/items").json()["items"][0]["item_id"] == record["id"]
    newest = sandbox.get("/inventory/v1/items", sort_column="last_modified_time", sort_order="D").json()["items"][0]
    assert newest["item_id"] == record["id"]
    changed = sandbox.rows("/inventory/v1/items", "items", last_modified_time=record["last_modified_time"])
    assert [row["item_id"] for row in changed] == [record["id"]]


@pytest.mark.no_cover
@pytest.mark.parametrize("entity", PATHS)
def test_truth_is_what_the_api_says(sandbox: Sandbox, entity: str):
    """The exported rows are those of the list, the exported details those of the detail calls."""
    sandbox.edit(entity, random=5)
    module = PATHS[entity]
    params = {"contact_type": "customer"} if entity == "customer" else {}
    listed = sandbox.rows(f"/books/v3/{module}", module, **params)
    truth = sandbox.truth(entity)
    assert sorted(map(str, listed)) == sorted(map(str, truth))
    detail = sandbox.truth(entity, "detail")[0]
    key = next(key for key in ("item_id", "contact_id", "invoice_id", "bill_id", "pricebook_id") if key in detail)
    answer = sandbox.get(f"/books/v3/{module}/{detail[key]}").json()
    assert detail in answer.values()


def test_calls_are_counted(sandbox: Sandbox):
    """Calls are counted by endpoint, ids folded, aliases joined."""
    sandbox.get("/books/v3/items")
    sandbox.get("/api/v3//items/")
    sandbox.get("/books/v3/items/5260815010000000001")
    calls = sandbox.calls()
    assert (calls["GET /books/v3/items"], calls["GET /books/v3/items/{id}"], calls["POST /oauth/v2/token"]) == (2, 1, 1)
    sandbox.control("DELETE", "/calls")
    assert sandbox.calls() == {}


# --- planted failures


def test_status_fault_fires_as_often_as_planted(sandbox: Sandbox):
    """A planted status strikes matching calls only, after so many, so many times, and is counted."""
    sandbox.plant("status", path="/bills", method="GET", times=2, after=1, status=503, headers={"Retry-After": "7"})
    statuses = [sandbox.get("/books/v3/bills").status_code for _ in range(4)]
    assert sandbox.get("/books/v3/items").status_code == 200
    assert statuses == [200, 503, 503, 200]
    assert sandbox.control("GET", "/break")["faults"][0]["fired"] == 2
    sandbox.control("DELETE", "/break")
    assert sandbox.control("GET", "/break")["faults"] == []


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        ("html", lambda a: a.status_code == 200 and a.headers["content-type"].startswith("text/html")),
        ("garbage", lambda a: a.content.startswith(b'{"code":0,\xff')),
        ("empty", lambda a: a.content == b""),
        ("throttle", lambda a: (a.status_code, a.json()["code"]) == (429, 44)),
        ("revoke", lambda a: (a.status_code, a.json()["code"]) == (401, 57)),
    ],
)
def test_wrong_answers(sandbox: Sandbox, kind: str, check: Any):
    """HTML with 200, garbage, nothing, throttling and a revoked token, each once."""
    sandbox.get("/books/v3/items")
    sandbox.plant(kind)
    assert check(sandbox.get("/books/v3/items"))
    sandbox._token = ""
    assert sandbox.get("/books/v3/items").json()["items"]


@pytest.mark.parametrize("kind", ["truncate", "close"])
def test_broken_off_answers(sandbox: Sandbox, kind: str):
    """An answer that promises more than it sends ends the connection early."""
    sandbox.plant(kind)
    with pytest.raises(httpx2.HTTPError):
        sandbox.get("/books/v3/items")
    assert sandbox.get("/books/v3/items").status_code == 200


def test_lies_about_pages(sandbox: Sandbox):
    """A page can come twice, or be left out, under the asked page's number."""
    pages = {page: sandbox.get("/books/v3/items", page=page).json() for page in (1, 2, 3)}
    sandbox.plant("repeat_page", page=2)
    repeated = sandbox.get("/books/v3/items", page=2).json()
    assert (repeated["items"], repeated["page_context"]["page"]) == (pages[1]["items"], 2)
    sandbox.plant("skip_page", page=2)
    assert sandbox.get("/books/v3/items", page=2).json()["items"] == pages[3]["items"]
    assert sandbox.get("/books/v3/items", page=2).json() == pages[2]


def test_stale_answers(sandbox: Sandbox):
    """A lagging replica shows changed records as they were before, in lists and details."""
    before = sandbox.edit("product", count=1, set={"rate": 11.0})[0]
    sandbox.edit("product", count=1, set={"rate": 22.0}, stamp="next")
    path = f"/books/v3/items/{before['id']}"
    assert sandbox.get(path).json()["item"]["rate"] == 22.0
    sandbox.plant("stale", path="/items", times=2)
    old = sandbox.get(path).json()["item"]
    assert (old["rate"], old["last_modified_time"]) == (11.0, before["last_modified_time"])
    newest = {"sort_column": "last_modified_time", "sort_order": "D", "per_page": 1}
    assert sandbox.get("/books/v3/items", **newest).json()["items"][0]["rate"] == 11.0
    assert sandbox.get("/books/v3/items", **newest).json()["items"][0]["rate"] == 22.0


def test_a_refused_write_is_not_done(sandbox: Sandbox):
    """A planted status keeps a write from happening; a broken answer does not."""
    sandbox.plant("status", method="POST")
    assert sandbox.call("POST", "/books/v3/items", json={"name": "lost"}).status_code == 503
    assert sandbox.rows("/books/v3/items", "items", name="lost") == []
    sandbox.plant("truncate", method="POST")
    with pytest.raises(httpx2.HTTPError):
        sandbox.call("POST", "/books/v3/items", json={"name": "made"})
    assert len(sandbox.rows("/books/v3/items", "items", name="made")) == 1


def test_an_abandoned_hanging_call_ends(sandbox: Sandbox):
    """A hanging call whose client has left takes no place any more."""
    sandbox.get("/books/v3/items")
    sandbox.plant("hang")
    with pytest.raises(httpx2.ReadTimeout):
        sandbox.call("GET", "/books/v3/items", timeout=0.2)
    deadline = time.monotonic() + 10
    while sandbox.control("GET", "/limits")["in_flight"]:
        assert time.monotonic() < deadline


def test_hanging_call_is_released(sandbox: Sandbox):
    """A hanging call waits until the fault is removed, then goes on."""
    sandbox.get("/books/v3/items")
    sandbox.plant("hang")
    answers: list[int] = []
    thread = threading.Thread(target=lambda: answers.append(sandbox.get("/books/v3/items").status_code))
    thread.start()
    while not sandbox.control("GET", "/limits")["in_flight"]:
        pass
    assert answers == []
    sandbox.control("DELETE", "/break")
    thread.join(10)
    assert answers == [200]


def test_latency(sandbox: Sandbox):
    """Calls can be made slow, once or all of them."""
    sandbox.get("/books/v3/items")
    sandbox.plant("latency", seconds=0.2)
    started = time.perf_counter()
    sandbox.get("/books/v3/items")
    assert time.perf_counter() - started >= 0.2
    sandbox.control("POST", "/latency", ms=60)
    started = time.perf_counter()
    sandbox.get("/books/v3/items")
    assert time.perf_counter() - started >= 0.06


def test_slow_body(sandbox: Sandbox):
    """A body can come in drops."""
    sandbox.plant("slow", bytes=400, seconds=0.01)
    started = time.perf_counter()
    assert sandbox.get("/books/v3/locations").json()["locations"]
    assert time.perf_counter() - started >= 0.08


@pytest.mark.no_cover
def test_huge_body(sandbox: Sandbox):
    """A body can be larger than anybody wants; a client that stops reading does the sandbox no harm."""
    sandbox.get("/books/v3/items")
    sandbox.plant("huge")
    headers = {"Authorization": f"Zoho-oauthtoken {sandbox._token}"}
    with sandbox.http.stream("GET", "/books/v3/items", headers=headers) as answer:
        assert int(answer.headers["content-length"]) == 2 << 30
        read = 0
        for chunk in answer.iter_raw():
            read += len(chunk)
            if read > 1 << 20:
                break
    assert sandbox.get("/books/v3/items").status_code == 200


def test_token_endpoint_can_break_too(sandbox: Sandbox):
    """Faults strike the accounts server by its path."""
    sandbox.plant("status", path="/oauth", status=500)
    assert sandbox.http.post("/oauth/v2/token").status_code == 500


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/edit", {"entity": "nothing", "count": 1}),
        ("/edit", {"entity": "product"}),
        ("/edit", {"entity": "product", "ids": ["1"]}),
        ("/edit", {"entity": "product", "count": 1, "stamp": "soon"}),
        ("/edit", {"entity": "product", "count": 1, "frob": 1}),
        ("/break", {"kind": "explode"}),
        ("/switches", {"no_such": 1}),
        ("/clock", {"set": "yesterday"}),
        ("/oauth", {"revoke": "everything"}),
        ("/pay", {"invoice_id": "1"}),
        ("/webhooks/send", {"records": [{"entity": "product", "id": "1"}]}),
    ],
)
def test_wrong_control_calls_say_why(sandbox: Sandbox, path: str, body: dict[str, Any]):
    """A wrong control call is 400 with a reason."""
    answer = sandbox.http.post(f"/sandbox{path}", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_clock(sandbox: Sandbox):
    """The clock can be set, moved, stopped and let go; new stamps follow it."""
    sandbox.control("POST", "/clock", set="2027-05-06T07:08:09+0300", frozen=True)
    assert sandbox.edit("product", count=1)[0]["last_modified_time"] == "2027-05-06T07:08:09+0300"
    assert sandbox.control("POST", "/clock", advance=60)["now"] == "2027-05-06T07:09:09+0300"
    assert sandbox.control("POST", "/clock", frozen=False)["frozen"] is False
    assert sandbox.control("POST", "/clock", reset=True)["now"] < "2027-05"


def test_reset_brings_back_the_start(sandbox: Sandbox):
    """After a reset everything is as after the start."""
    before = sandbox.http.get("/sandbox/truth/product").content
    sandbox.edit("product", count=10)
    sandbox.delete("product", count=3)
    sandbox.plant("status", times=-1)
    sandbox.switch(stock_bumps_item=True)
    sandbox.reset()
    overview = sandbox.control("GET", "")
    assert sandbox.http.get("/sandbox/truth/product").content == before
    assert (overview["faults"], overview["switches"]["stock_bumps_item"], overview["calls"]) == ([], False, 0)


def test_the_guide_names_every_call(sandbox: Sandbox):
    """`GET /sandbox/` lists every control call and none that does not exist, as text and as JSON."""
    pages = sandbox.http.get("/sandbox/", params={"format": "json"}).json()["calls"]
    stage = Stage(Options(scale=0.01), api_url=str)
    there = {
        (method, route.path.replace(":int", ""))
        for route in Control(stage).app.routes
        for method in route.methods - {"HEAD"}
    }
    assert {(page["method"], page["path"]) for page in pages} == there
    answer = sandbox.http.get("/sandbox/")
    assert answer.headers["content-type"].startswith("text/plain")
    assert all(page["words"] in answer.text for page in pages)


def test_the_guide_s_examples_work(sandbox: Sandbox):
    """Every body that the guide shows is accepted as it stands."""
    pages = sandbox.http.get("/sandbox/", params={"format": "json"}).json()["calls"]
    bodies = [page for page in pages if isinstance(page["example"], dict)]
    assert len(bodies) > 12
    for page in bodies:
        patience = {"timeout": 0.1} if "timeout" in page["example"] else {}  # nobody is at the example's address
        answer = sandbox.http.request(page["method"], page["path"], json=page["example"] | patience)
        assert answer.status_code == 200, (page, answer.text)


def test_a_reset_repeats_random_choices(sandbox: Sandbox):
    """What is chosen at random is chosen again after a reset."""
    first = [row["id"] for row in sandbox.edit("product", random=5)]
    second = [row["id"] for row in sandbox.edit("product", random=5)]
    sandbox.reset()
    assert [row["id"] for row in sandbox.edit("product", random=5)] == first != second
