"""The public routes: what is refused, what is stored, and what the sender is told."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import httpx2
import msgspec
import pytest
from fixtures.shipped import SHIPPED
from starlette.applications import Starlette

from actors import webhooks
from actors.webhooks import Options
from actors.zoho.naming import Names, kinds
from actors.zoho.signature import sign
from tds_runtime import problem
from tds_runtime.clients import Clients
from tds_runtime.errors import AskTimeout, CalleeStopped, DatabaseGone, MailboxFull, Unanswered
from tds_runtime.gate import Gate, Limits
from tds_runtime.intake import Delivery, Receipt, Store
from tds_runtime.mailbox import CORRELATION
from tds_runtime.metrics import Metrics
from tds_runtime.values import Duration, Secret

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent
SECRET = "tdsRuntimeSecret0123456789"
SEGMENTS = [
    ("products", "product"),
    ("customers", "customer"),
    ("invoices", "invoice"),
    ("orders", "sales_order"),
    ("prices", "price_list"),
    ("stock", "stock_adjustment"),
    ("bills", "bill"),
    ("credit-notes", "credit_note"),
    ("payments", "payment"),
    ("vendors", "vendor"),
    ("users", "user"),
    ("branches", "branch"),
    ("returns", "sales_return"),
]
NAMES = Names(kinds(SHIPPED))
ITEM = {"item": {"item_id": "5260000000000010001", "last_modified_time": "2026-01-15T14:32:08+0300"}}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Writer:
    """Keeps what it is asked to store, or fails as it was told to."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.correlations: list[str] = []
        self.failure: Exception | None = None
        self.duplicate = False

    async def ask(self, question: Store, timeout: float = 5.0) -> Receipt:  # noqa: ASYNC109 # as Ref.ask has it
        assert timeout == 3.0
        if self.failure is not None:
            raise self.failure
        self.deliveries.append(question.delivery)
        self.correlations.append(CORRELATION.get())
        return Receipt(len(self.deliveries), self.duplicate, question.delivery.event_id or "evt-1")


class Site:
    def __init__(self, *, clients: Clients | None = None, **options: Any) -> None:
        self.writer, self.metrics = Writer(), Metrics()
        settings = Options(**{"secrets": (Secret(SECRET),), "timeout": Duration(3), **options})
        routes = webhooks.routes(
            self.writer, NAMES, settings, self.metrics, clients=clients, new_id=lambda: "the-correlation-id"
        )
        app = Starlette(routes=routes, exception_handlers=problem.handlers())
        self.gate = Gate(app, limits=Limits(), stopping=anyio.Event())

    async def send(self, path: str, content: bytes, *, method: str = "POST", **headers: str) -> Any:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=self.gate), base_url="http://localhost"
        ) as http:
            return await http.request(method, path, content=content, headers=headers)

    async def deliver(self, path: str, document: object, *, method: str = "POST", **headers: str) -> Any:
        """Send JSON, signed as the source does."""
        content = msgspec.json.encode(document)
        signature = sign(SECRET, query=path.partition("?")[2].encode(), body=content)
        signed = {"X-Zoho-Webhook-Signature": signature, "Content-Type": "application/json", **headers}
        return await self.send(path, content, method=method, **signed)

    def counted(self) -> dict[tuple[str, str], float]:
        return {
            (sample.labels["entity"], sample.labels["outcome"]): sample.value
            for sample in self.metrics.samples()
            if sample.name == "tds_webhooks_total"
        }


async def test_a_signed_delivery_is_stored_and_then_acknowledged() -> None:
    """The exact answer, the named record, the raw bytes and a correlation id from here to the writer."""
    site = Site()
    response = await site.deliver("/api/tds/webhooks/products?event=item_edited", ITEM)
    assert response.status_code == 200
    assert response.json() == {"status": "received", "event_id": "evt-1", "duplicate": False}
    assert response.headers["x-correlation-id"] == "the-correlation-id"
    [delivery] = site.writer.deliveries
    assert (delivery.source, delivery.entity_type, delivery.source_entity_id) == (
        "zoho",
        "product",
        "5260000000000010001",
    )
    assert (delivery.operation, delivery.body) == ("upsert", msgspec.json.encode(ITEM))
    assert (delivery.content_type, delivery.query) == ("application/json", "event=item_edited")
    assert delivery.modified_at is not None
    assert site.writer.correlations == [delivery.correlation_id] == ["the-correlation-id"]
    assert site.counted() == {("product", "stored"): 1.0}


@pytest.mark.parametrize(("segment", "entity"), SEGMENTS)
async def test_every_kind_has_its_route(segment: str, entity: str) -> None:
    """All thirteen routes take deliveries; what they cannot name is theirs all the same."""
    site = Site()
    assert (await site.deliver(f"/api/tds/webhooks/{segment}", {"what": "ever"})).status_code == 200
    [delivery] = site.writer.deliveries
    assert (delivery.entity_type, delivery.source_entity_id) == (entity, "")
    assert site.counted() == {(entity, "unnamed"): 1.0}


async def test_one_route_takes_them_all() -> None:
    """On the route for all the top-level key decides."""
    site = Site()
    await site.deliver("/api/tds/zoho/webhooks", ITEM)
    await site.deliver("/api/tds/zoho/webhooks", {"no": "idea"})
    assert [delivery.entity_type for delivery in site.writer.deliveries] == ["product", "unknown"]


@pytest.mark.parametrize(
    ("path", "method", "operation"),
    [
        ("/api/tds/webhooks/products/delete", "POST", "fetch"),
        ("/api/tds/zoho/webhooks/delete", "POST", "fetch"),
        ("/api/tds/webhooks/products", "DELETE", "fetch"),
        ("/api/tds/webhooks/products?event=item_deleted", "POST", "delete"),
        ("/api/tds/zoho/webhooks?event=item_deleted", "PUT", "delete"),
        ("/api/tds/webhooks/products/delete?event=item_deleted", "POST", "delete"),
    ],
)
async def test_deletions_are_told_by_route_method_or_event(path: str, method: str, operation: str) -> None:
    """All of them name the record; what is signed says delete, what is not makes the daemon ask."""
    site = Site()
    assert (await site.deliver(path, {"item": {"item_id": "7"}}, method=method)).status_code == 200
    [delivery] = site.writer.deliveries
    assert (delivery.operation, delivery.entity_type, delivery.source_entity_id) == (operation, "product", "7")


@pytest.mark.parametrize(
    ("event", "operation"),
    [("item_deleted", "fetch"), ("Item.Delete", "fetch"), ("item_edited", "upsert"), ("", "upsert")],
)
async def test_a_header_that_tells_a_deletion_makes_the_daemon_ask(event: str, operation: str) -> None:
    """A custom header of the webhook is signed by nobody; its name can be configured."""
    site = Site(event_name_header="X-What-Happened")
    await site.deliver("/api/tds/webhooks/products", ITEM, **{"X-What-Happened": event, "X-Event": "item_deleted"})
    [delivery] = site.writer.deliveries
    assert delivery.operation == operation


async def test_forms_are_taken_as_they_come() -> None:
    """JSON in a form field is verified over its fields and named by its content; the body stays a form."""
    site = Site()
    content = urlencode({"JSONString": msgspec.json.encode(ITEM).decode()}).encode()
    form = "application/x-www-form-urlencoded; charset=UTF-8"
    signature = sign(SECRET, content_type=form.encode(), body=content)
    response = await site.send(
        "/api/tds/webhooks/products", content, **{"X-Zoho-Webhook-Signature": signature, "Content-Type": form}
    )
    assert response.status_code == 200
    [delivery] = site.writer.deliveries
    assert (delivery.source_entity_id, delivery.body, delivery.content_type) == ("5260000000000010001", content, form)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Zoho-Webhook-Signature": ""},
        {"X-Zoho-Webhook-Signature": "0" * 64},
        {"X-Zoho-Webhook-Signature": "no signature"},
        {"X-Zoho-Webhook-Signature": sign("another secret", body=b"{}")},
        {"X-Webhook-Token": SECRET},
        {"X-Zoho-Signature": sign(SECRET, body=b"{}")},
    ],
)
async def test_what_is_not_ours_is_refused_with_one_answer(headers: dict[str, str]) -> None:
    """Missing, wrong, foreign: the same 401 to the byte, nothing stored, counted under its route."""
    site = Site()
    response = await site.send("/api/tds/webhooks/products", b"{}", **headers)
    assert response.status_code == 401
    assert response.headers["content-type"] == "application/problem+json"
    assert response.content == b'{"title":"Unauthorized","status":401,"detail":"The signature is missing or wrong."}'
    assert site.writer.deliveries == []
    assert site.counted() == {("products", "refused"): 1.0}


async def test_nothing_is_read_before_it_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unsigned body reaches no parser."""

    def parse(*_: object, **__: object) -> None:
        pytest.fail("parsed before it was verified")

    site = Site()
    monkeypatch.setattr(Names, "name", parse)
    assert (await site.send("/api/tds/webhooks/products", b"[" * 100_000)).status_code == 401


async def test_a_static_token_is_accepted_and_kept_from_the_rows() -> None:
    """A sender that cannot sign uses a token; what is stored of its query does not hold it."""
    site = Site(tokens=(Secret("a static token"),))
    response = await site.send("/api/tds/webhooks/products?token=a%20static%20token&event=x", msgspec.json.encode(ITEM))
    assert response.status_code == 200
    assert site.writer.deliveries[0].query == "event=x"


async def test_a_repeat_is_acknowledged_as_one() -> None:
    """A duplicate is a 2xx like any other, and says that it is one."""
    site = Site()
    site.writer.duplicate = True
    response = await site.deliver("/api/tds/webhooks/products", ITEM)
    assert response.json() == {"status": "received", "event_id": "evt-1", "duplicate": True}
    assert site.counted() == {("product", "duplicate"): 1.0}


@pytest.mark.parametrize(
    "failure", [DatabaseGone(), Unanswered("let go"), AskTimeout("slow"), MailboxFull("full"), CalleeStopped("stopped")]
)
async def test_what_cannot_be_stored_now_is_asked_for_again(failure: Exception) -> None:
    """No database, no answer, no room, no writer: 503 with Retry-After and without internals, never a 2xx."""
    site = Site(retry_after=Duration(7))
    site.writer.failure = failure
    response = await site.deliver("/api/tds/webhooks/products", ITEM)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "7"
    assert str(failure) not in response.text
    assert site.counted() == {("product", "unavailable"): 1.0}


async def test_the_senders_number_of_a_delivery_is_passed_on() -> None:
    """From the header, the query or the body; one that no row could hold is none."""
    site = Site()
    await site.deliver("/api/tds/webhooks/products", ITEM, **{"X-Event-Id": "from-header"})
    await site.deliver("/api/tds/webhooks/products?event_id=from-query", ITEM)
    await site.deliver("/api/tds/webhooks/products", {"event_id": "from-body", **ITEM})
    await site.deliver("/api/tds/webhooks/products?event_id=%00", ITEM)
    found = [delivery.event_id for delivery in site.writer.deliveries]
    assert found == ["from-header", "from-query", "from-body", None]


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/api/tds/webhooks/nothing", 404),
        ("POST", "/api/tds/webhooks/products/purge", 404),
        ("POST", "/api/tds/webhooks/", 404),
        ("GET", "/api/tds/webhooks/products", 405),
    ],
)
async def test_routes_that_are_none_store_nothing(method: str, path: str, expected: int) -> None:
    """Unknown kinds and verbs are refused, signed or not."""
    site = Site()
    assert (await site.deliver(path, ITEM, method=method)).status_code == expected
    assert site.writer.deliveries == []


@pytest.mark.parametrize(
    "options", [{"secrets": ("short",)}, {"secrets": ("long enough 12", "")}, {"tokens": ("short",)}]
)
def test_a_short_secret_is_a_wrong_configuration(options: dict[str, tuple[str, ...]]) -> None:
    """Fewer than twelve characters can be guessed."""
    with pytest.raises(ValueError, match="12 characters"):
        Options(**options)


async def test_without_secrets_every_delivery_is_refused() -> None:
    """A forgotten secret opens nothing."""
    site = Site(secrets=())
    assert (await site.deliver("/api/tds/webhooks/products", ITEM)).status_code == 401


@pytest.mark.parametrize("encoding", ["hex", "base64"])
async def test_the_predecessors_header_can_be_configured(encoding: Any) -> None:
    """Header name and encoding are the sender's."""
    site = Site(header="X-Zoho-Signature", encoding=encoding)
    content = msgspec.json.encode(ITEM)
    digest = bytes.fromhex(sign(SECRET, body=content))
    spelled = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
    assert (await site.send("/api/tds/webhooks/products", content, **{"X-Zoho-Signature": spelled})).status_code == 200


async def test_a_flood_is_cut_before_anything_is_verified() -> None:
    """Beyond its rate a client is asked to come again, signed or not; nothing is stored, and it is counted."""
    site = Site(clients=Clients(rate=1))
    through = {"X-Forwarded-For": "203.0.113.9"}
    document = {"item": {"item_id": "1", "name": "x"}}
    answers = [await site.deliver("/api/tds/webhooks/products", document, **through) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert (answers[-1].headers["retry-after"], answers[-1].headers["content-type"]) == (
        "1",
        "application/problem+json",
    )
    assert len(site.writer.deliveries) == 2
    assert site.counted()["products", "limited"] == 1
