import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from fixtures.sandbox import Sandbox

from actors.sandbox.signing import sign, text_to_sign

SAMPLES = Path(__file__).parents[1] / "samples"
VECTORS = json.loads((SAMPLES / "webhook_signature_vectors.json").read_text("utf-8"))["vectors"]


KEYS = {"vendor": "contact", "stock_adjustment": "inventory_adjustment"}


class Received:
    """One delivery as the receiver saw it."""

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.headers, self.body = method, headers, body
        self.query = dict(parse_qsl(urlsplit(path).query))

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.body)


class Receiver:
    """An HTTP server that keeps what it is sent and answers with the next of the planned statuses, then 200.

    While `open` is clear it answers nobody.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.statuses: list[int] = []
        self.open = threading.Event()
        self.open.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.received.append(Received(self.command, self.path, headers, body))
                receiver.open.wait(20)
                self.send_response(receiver.statuses.pop(0) if receiver.statuses else 200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            do_PUT = do_POST  # noqa: N815 - http.server wants this name

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def ids(self, key: str = "item_id") -> list[str]:
        return [next(iter(delivery.document.values()))[key] for delivery in self.received]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.open.set()
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def hook(sandbox: Sandbox, receiver: Receiver, **more: Any) -> None:
    sandbox.control("PUT", "/webhooks", hooks=[{"url": receiver.url, **more}])


def drain(sandbox: Sandbox) -> dict[str, Any]:
    return sandbox.control("POST", "/webhooks/drain", timeout=20)


def edited(sandbox: Sandbox, receiver: Receiver, entity: str = "product", **more: Any) -> list[Received]:
    sandbox.edit(entity, count=more.pop("count", 1), webhooks=True, **more)
    drain(sandbox)
    return receiver.received


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["case"] for vector in VECTORS])
def test_signature_vectors(vector: dict[str, Any]):
    """Fact 38: the algorithm agrees with every test vector."""
    parts = (vector["query"], vector["form"], vector["raw_json_body"].encode())
    assert text_to_sign(*parts).decode() == vector["string_to_sign"]
    assert sign(vector["secret"], *parts) == vector["x_zoho_webhook_signature_hex"]


@pytest.mark.parametrize(("entity", "name"), [("product", "item"), ("customer", "contact"), ("invoice", "invoice")])
def test_default_payload(sandbox: Sandbox, receiver: Receiver, entity: str, name: str):
    """Fact 36: one key, the detail, the formatted twins, flattened custom fields; no event type anywhere."""
    hook(sandbox, receiver)
    delivery = edited(sandbox, receiver, entity)[0]
    assert (delivery.method, delivery.headers["content-type"]) == ("POST", "application/json")
    assert list(delivery.document) == [name]
    document = delivery.document[name]
    sample = json.loads((SAMPLES / f"webhook_{name}_default.json").read_text("utf-8"))[name]
    missing = {key for key in sample if key not in document and not key.startswith("cf_")}
    assert missing == set()
    module = f"{name}s"
    detail = sandbox.get(f"/books/v3/{module}/{document[f'{name}_id']}").json()[name]
    assert detail.items() <= document.items()
    extra = document.keys() - detail.keys()
    assert all(key.endswith("_formatted") or key.startswith("cf_") or key == "currency_formatter" for key in extra)
    assert not {"event", "event_type", "operation", "organization_id"} & delivery.document.keys()


def test_custom_fields_are_flattened(sandbox: Sandbox, receiver: Receiver):
    """Fact 36: custom fields appear as cf_x and cf_x_unformatted."""
    hook(sandbox, receiver)
    item = edited(sandbox, receiver, set={"cf_name_ar": "فأرة"})[0].document["item"]
    assert (item["cf_name_ar"], item["cf_name_ar_unformatted"]) == ("فأرة", "فأرة")
    assert item["custom_fields"][0]["value"] == "فأرة"


def test_form_with_query_and_headers(sandbox: Sandbox, receiver: Receiver):
    """Fact 37: the JSONString form, static query parameters, headers and another method."""
    query, headers = {"event": "item_edited"}, {"X-Shop": "levant"}
    hook(sandbox, receiver, shape="jsonstring", query=query, headers=headers, method="PUT")
    delivery = edited(sandbox, receiver)[0]
    assert (delivery.method, delivery.query, delivery.headers["x-shop"]) == ("PUT", query, "levant")
    form = dict(parse_qsl(delivery.body.decode()))
    assert "item" in json.loads(form["JSONString"])
    expected = sign(sandbox.announced.webhook_secret, query, form, b"")
    assert delivery.headers["x-zoho-webhook-signature"] == expected


def test_plain_form_fields(sandbox: Sandbox, receiver: Receiver):
    """Fact 37: key/value form bodies carry the document's plain values and are signed over them."""
    hook(sandbox, receiver, shape="form")
    delivery = edited(sandbox, receiver)[0]
    form = dict(parse_qsl(delivery.body.decode()))
    assert form["item_id"].startswith("5260815010")
    known = dict.fromkeys((), "") | form
    blanks = dict(parse_qsl(delivery.body.decode(), keep_blank_values=True))
    assert delivery.headers["x-zoho-webhook-signature"] == sign(
        sandbox.announced.webhook_secret, {}, blanks | known, b""
    )


def test_signature_of_json(sandbox: Sandbox, receiver: Receiver):
    """Fact 38: HMAC-SHA256 over sorted parameters and the raw body, lower-case hex; none without a secret."""
    secret = "anotherSecret1234"
    hook(sandbox, receiver, secret=secret, query={"b": "2", "a": "ü"})
    delivery = edited(sandbox, receiver)[0]
    expected = hmac.new(secret.encode(), "aüb2".encode() + delivery.body, hashlib.sha256)
    assert delivery.headers["x-zoho-webhook-signature"] == expected.hexdigest()
    hook(sandbox, receiver, secret="")
    assert "x-zoho-webhook-signature" not in edited(sandbox, receiver)[1].headers


def test_signature_place_and_encoding_are_switches(sandbox: Sandbox, receiver: Receiver):
    """Fact 38: base64 and another header's name can be tried."""
    sandbox.switch(signature_encoding="base64", signature_header="X-Zoho-Signature")
    hook(sandbox, receiver)
    delivery = edited(sandbox, receiver)[0]
    digest = hmac.digest(sandbox.announced.webhook_secret.encode(), delivery.body, "sha256")
    assert delivery.headers["x-zoho-signature"] == base64.b64encode(digest).decode()


@pytest.mark.parametrize("entity", ["user", "price_list", "branch"])
def test_no_webhooks_for_some(sandbox: Sandbox, receiver: Receiver, entity: str):
    """Fact 39: users, price lists and branches never send webhooks."""
    hook(sandbox, receiver)
    assert edited(sandbox, receiver, entity) == []


@pytest.mark.parametrize(
    "entity",
    ["vendor", "sales_order", "bill", "credit_note", "payment", "vendor_payment", "stock_adjustment", "sales_return"],
)  # fmt: skip
def test_webhooks_for_the_others(sandbox: Sandbox, receiver: Receiver, entity: str):
    """Fact 36: every other entity does, under its own single key."""
    hook(sandbox, receiver, entity=entity)
    delivery = edited(sandbox, receiver, entity)[0]
    assert list(delivery.document) == [KEYS.get(entity, entity.replace("_", ""))]
    assert len(receiver.received) == 1


def test_hooks_hear_only_what_they_asked_for(sandbox: Sandbox, receiver: Receiver):
    """A hook is bound to an entity and to events, as a workflow rule is."""
    hook(sandbox, receiver, entity="customer", events=["deleted"])
    assert edited(sandbox, receiver, "customer") == []
    assert edited(sandbox, receiver, "vendor") == []
    sandbox.delete("vendor", count=1, webhooks=True)
    sandbox.delete("customer", count=1, webhooks=True)
    drain(sandbox)
    assert receiver.ids("contact_id") == ["5260815020000000000"]


def test_drop_and_duplicate(sandbox: Sandbox, receiver: Receiver):
    """Fact 40: deliveries can be lost or sent twice, and each is counted."""
    hook(sandbox, receiver)
    sandbox.control("POST", "/webhooks/chaos", drop=0.3, duplicate=0.3, seed=7)
    sandbox.edit("product", count=60, webhooks=True)
    counts = drain(sandbox)
    assert counts["dropped"] > 5
    assert counts["duplicated"] > 5
    assert len(receiver.received) == 60 - counts["dropped"] + counts["duplicated"] == counts["delivered"]
    assert counts["statuses"] == {"200": counts["delivered"]}


def test_reorder_and_late(sandbox: Sandbox, receiver: Receiver):
    """Fact 40: a late delivery brings the older snapshot after the newer one."""
    hook(sandbox, receiver)
    sandbox.control("POST", "/webhooks/chaos", late=1.0, late_seconds=0.3)
    sandbox.edit("product", count=1, set={"rate": 1.0}, stamp="next", webhooks=True)
    sandbox.control("POST", "/webhooks/chaos")
    sandbox.edit("product", count=1, set={"rate": 2.0}, stamp="next", webhooks=True)
    counts = drain(sandbox)
    items = [delivery.document["item"] for delivery in receiver.received]
    assert [item["rate"] for item in items] == [2.0, 1.0]
    assert items[0]["last_modified_time"] > items[1]["last_modified_time"]
    assert counts["late"] == 1
    sandbox.control("POST", "/webhooks/chaos", reorder=0.5, seed=3)
    sandbox.edit("product", count=40, webhooks=True)
    assert drain(sandbox)["reordered"] > 5
    assert len(receiver.received) == 42


def test_retry_only_by_policy(sandbox: Sandbox, receiver: Receiver):
    """Fact 40: a failure is silent, unless a retry policy is set; then it is tried again with rising delays."""
    receiver.statuses = [503]
    hook(sandbox, receiver)
    edited(sandbox, receiver)
    assert len(receiver.received) == 1
    receiver.statuses = [503, 500]
    hook(sandbox, receiver, retry=[0.05, 0.1, 0.2])
    edited(sandbox, receiver)
    counts = drain(sandbox)
    assert len(receiver.received) == 4
    assert (counts["failed"], counts["retried"], counts["delivered"]) == (1, 2, 1)


@pytest.mark.parametrize(("patience", "outcome"), [(0.2, "failed"), (20.0, "delivered")])
def test_timeout_is_a_switch(sandbox: Sandbox, receiver: Receiver, patience: float, outcome: str):
    """Fact 40: how long an answer is waited for is an open point; a receiver that is later than that has failed."""
    sandbox.switch(webhook_timeout=patience)
    hook(sandbox, receiver)
    receiver.open.clear()
    sandbox.edit("product", count=1, webhooks=True)
    while not receiver.received:
        pass
    if outcome == "delivered":
        receiver.open.set()
    counts = drain(sandbox)
    assert (counts["failed"], counts["delivered"]) == (int(outcome == "failed"), int(outcome == "delivered"))
    assert counts["statuses"] == {"0" if outcome == "failed" else "200": 1}


@pytest.mark.parametrize(("criterion", "deliveries"), [("2xx", 2), ("any", 1)])
def test_success_criterion_is_a_switch(sandbox: Sandbox, receiver: Receiver, criterion: str, deliveries: int):
    """Fact 40: whether only a 2xx counts as delivered, or any answer, is an open point."""
    sandbox.switch(webhook_success=criterion)
    receiver.statuses = [500]
    hook(sandbox, receiver, retry=[0.01])
    edited(sandbox, receiver)
    assert len(receiver.received) == deliveries
    assert drain(sandbox)["retried"] == deliveries - 1


def test_daily_cap(sandbox: Sandbox, receiver: Receiver):
    """Fact 40: beyond the daily cap nothing is sent."""
    sandbox.control("POST", "/limits", enabled=True)
    sandbox.switch(webhooks_per_day=5)
    hook(sandbox, receiver)
    edited(sandbox, receiver, count=8)
    assert (len(receiver.received), drain(sandbox)["capped"]) == (5, 3)


@pytest.mark.parametrize(
    ("form", "keys"), [("id", {"bill_id"}), ("id_and_number", {"bill_id", "bill_number"}), ("empty", set())]
)
def test_delete_webhook(sandbox: Sandbox, receiver: Receiver, form: str, keys: set[str]):
    """Fact 41: a delete webhook carries little more than the id; the detail is then 404 / 1002."""
    sandbox.switch(delete_body=form)
    hook(sandbox, receiver, entity="bill")
    record = sandbox.delete("bill", count=1, webhooks=True)[0]
    drain(sandbox)
    assert receiver.received[0].document["bill"].keys() == keys
    assert sandbox.get(f"/books/v3/bills/{record['id']}").json()["code"] == 1002


def test_api_writes_echo_back(sandbox: Sandbox, receiver: Receiver):
    """Edits made through the API fire workflows too, unless the switch is off."""
    hook(sandbox, receiver)
    sandbox.call("POST", "/books/v3/items", json={"name": "Echo"})
    drain(sandbox)
    assert receiver.received[0].document["item"]["name"] == "Echo"
    sandbox.switch(api_writes_fire_webhooks=False)
    sandbox.call("POST", "/books/v3/items", json={"name": "Silent"})
    drain(sandbox)
    assert len(receiver.received) == 1


def test_control_edits_are_silent_unless_switched(sandbox: Sandbox, receiver: Receiver):
    """Edits made through the control API fire workflows when asked to, or always, by switch."""
    hook(sandbox, receiver)
    sandbox.edit("product", count=1)
    drain(sandbox)
    assert receiver.received == []
    sandbox.switch(control_fires_webhooks=True)
    sandbox.edit("product", count=1)
    drain(sandbox)
    assert len(receiver.received) == 1


@pytest.mark.parametrize(
    ("variant", "check"),
    [
        ("unsigned", lambda d: "x-zoho-webhook-signature" not in d.headers),
        ("id_only", lambda d: d.document["item"].keys() == {"item_id"}),
        ("unknown_id", lambda d: d.document["item"]["item_id"] == "5260815010900000000"),
        ("garbage", lambda d: d.body.startswith(b'{"item": {"name"')),
        ("bad_signature", lambda d: sign("sandboxWebhookSecret2026", {}, {}, d.body)
         != d.headers["x-zoho-webhook-signature"]),
    ],
)  # fmt: skip
def test_spoilt_deliveries(sandbox: Sandbox, receiver: Receiver, variant: str, check: Any):
    """Deliveries can be sent unsigned, badly signed, with only an id, with an unknown id, or as garbage."""
    sandbox.control("POST", "/webhooks/send", entity="product", count=1, variant=variant, url=receiver.url)
    drain(sandbox)
    assert check(receiver.received[0])


def test_older_snapshot(sandbox: Sandbox, receiver: Receiver):
    """An older snapshot has the older stamp and the older values."""
    first = sandbox.edit("product", count=1, set={"rate": 10.0}, stamp="next")[0]
    sandbox.edit("product", count=1, set={"rate": 20.0}, stamp="next")
    sent = sandbox.control("POST", "/webhooks/send", records=[first], variant="older", url=receiver.url, times=2)
    assert sent["queued"] == 2
    drain(sandbox)
    item = receiver.received[1].document["item"]
    assert (item["rate"], item["last_modified_time"]) == (10.0, first["last_modified_time"])
    untouched = sandbox.truth("product", "ids")[5]
    sandbox.control("POST", "/webhooks/send", records=[untouched], variant="older", url=receiver.url)
    drain(sandbox)
    assert receiver.received[2].document["item"]["last_modified_time"] < untouched["last_modified_time"]


def test_workflows_set_up_through_the_api(sandbox: Sandbox, receiver: Receiver):
    """A webhook action and a workflow rule made through the settings API fire like those of the screens."""
    action = {
        "webhook_name": "tds items", "entity": "item", "method": "POST", "url": receiver.url,
        "secret": "workflowSecret12",
        "query_parameters": [{"param_name": "event", "param_value": "edited"}],
        "headers": [{"param_name": "X-From", "param_value": "books"}], "body_type": "application/json",
    }  # fmt: skip
    webhook = sandbox.call("POST", "/books/v3/settings/webhooks", json=action).json()["webhook"]
    rule = {
        "workflow_name": "tds items", "entity": "item", "rule_type": "created_or_edited",
        "instant_actions": [{"action_id": webhook["webhook_id"], "action_type": "webhook"}],
    }  # fmt: skip
    workflow = sandbox.call("POST", "/books/v3/settings/workflows", json=rule).json()["workflow"]
    assert len(sandbox.get("/books/v3/settings/webhooks").json()["webhooks"]) == 1
    delivery = edited(sandbox, receiver)[0]
    assert (delivery.query, delivery.headers["x-from"]) == ({"event": "edited"}, "books")
    assert delivery.headers["x-zoho-webhook-signature"] == sign(
        "workflowSecret12", {"event": "edited"}, {}, delivery.body
    )
    sandbox.call("POST", f"/books/v3/settings/workflows/{workflow['workflow_id']}/inactive")
    assert len(edited(sandbox, receiver)) == 1


def test_deliveries_can_be_looked_up(sandbox: Sandbox, receiver: Receiver):
    """Each delivery's record, event, status and answer can be read."""
    hook(sandbox, receiver)
    edited(sandbox, receiver)
    found = sandbox.http.get("/sandbox/webhooks/deliveries").json()["deliveries"][0]
    assert (found["entity"], found["event"], found["status"], found["answer"]) == ("product", "edited", 200, "ok")


def test_unreachable_receiver(sandbox: Sandbox):
    """A receiver that is not there is a failure with status 0, and the sandbox goes on."""
    sandbox.control("PUT", "/webhooks", hooks=[{"url": "http://127.0.0.1:9/nobody"}])
    sandbox.edit("product", count=3, webhooks=True)
    counts = drain(sandbox)
    assert (counts["failed"], counts["statuses"]) == (3, {"0": 3})
