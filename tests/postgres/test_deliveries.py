"""The webhook side from the request to the table, with a real source to ask: shapes, deletions, parents."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import httpx2
import msgspec
import pytest
from fixtures.moments import a_moment
from fixtures.sandbox import Sandbox
from fixtures.shipped import SHIPPED
from fixtures.works import Works
from starlette.applications import Starlette

from actors import webhooks
from actors.zoho import entities
from actors.zoho.naming import Names, kinds
from actors.zoho.signature import sign
from tds_runtime import intake
from tds_runtime.database import Database
from tds_runtime.gate import Gate, Limits
from tds_runtime.intake import Receipt, Store
from tds_runtime.metrics import Metrics
from tds_runtime.values import Secret

pytestmark = pytest.mark.anyio

SECRET = "tdsRuntimeSecret0123456789"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
WAITING = "SELECT count(*) FROM tds_sync_queue WHERE status IN ('pending', 'processing', 'failed')"
PRODUCT = "SELECT name, is_active FROM products WHERE zoho_item_id = $1"
KEYS = {"product": "item", "customer": "contact", "invoice": "invoice"}


class Site:
    """The public routes before a database and the actors that work on it."""

    def __init__(self, works: Works) -> None:
        self.works = works
        names = Names(kinds(works.entities))
        routes = webhooks.routes(self, names, webhooks.Options(secrets=(Secret(SECRET),)), Metrics())
        self._gate = Gate(Starlette(routes=routes), limits=Limits(), stopping=anyio.Event())

    async def ask(self, question: Store, timeout: float = 5.0) -> Receipt:  # noqa: ASYNC109 # as Ref.ask has it
        """Store at once, as the writer does, and wake whoever has work."""
        [receipt] = await intake.store(self.works.database, [question.delivery])
        self.works.due([(question.delivery.entity_type, question.delivery.operation)])
        return receipt

    async def send(self, path: str, body: bytes, *, content_type: str = JSON, method: str = "POST") -> None:
        """Deliver signed, and wait until all that it causes is done."""
        query = path.partition("?")[2].encode()
        signature = sign(SECRET, query=query, content_type=content_type.encode(), body=body)
        headers = {"X-Zoho-Webhook-Signature": signature, "Content-Type": content_type}
        transport = httpx2.ASGITransport(app=self._gate)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answer = await http.request(method, path, content=body, headers=headers)
        assert answer.status_code == 200, answer.text
        with anyio.fail_after(30):
            while await self.works.column(WAITING) != [0]:
                await a_moment()

    async def told(self, path: str, document: object, **more: Any) -> None:
        await self.send(path, msgspec.json.encode(document), **more)


@asynccontextmanager
async def site(database: Database, sandbox: Sandbox, *names: str) -> AsyncIterator[Site]:
    async with Works(database, sandbox, names=names).running() as works:
        yield Site(works)


def snapshot(sandbox: Sandbox, entity: str, record: str) -> bytes:
    """The default payload of a record as it is."""
    return sandbox.http.get(f"/sandbox/record/{entity}/{record}", params={"view": "webhook"}).content


def first(sandbox: Sandbox, entity: str) -> str:
    return str(sandbox.truth(entity, "ids")[0]["id"])


def plain(body: bytes) -> dict[str, str]:
    """The top of a default payload as form fields."""
    [document] = msgspec.json.decode(body).values()
    return {key: str(value) for key, value in document.items() if isinstance(value, str | int | float)}


# --- shapes


@pytest.mark.parametrize("entity", KEYS)
@pytest.mark.parametrize("shape", ["json", "jsonstring", "form", "unknown keys"])
async def test_every_shape_becomes_the_record(database: Database, sandbox: Sandbox, entity: str, shape: str) -> None:
    """Default payload, JSONString and plain fields end in the same row and lines; unknown keys harm nothing."""
    record, mapping = first(sandbox, entity), SHIPPED[entity]
    body, content_type = snapshot(sandbox, entity, record), JSON
    if shape == "unknown keys":
        [(key, document)] = msgspec.json.decode(body).items()
        body = msgspec.json.encode({"never": ["seen"], key: {**document, "nobody_knows": {"this": [1]}}})
    elif shape != "json":
        content_type = FORM
        body = urlencode({"JSONString": body.decode()} if shape == "jsonstring" else plain(body)).encode()
    async with site(database, sandbox, entity) as place:
        await place.send(f"/api/tds/webhooks/{mapping.mapping.webhook.paths[0]}", body, content_type=content_type)
        target = mapping.mapping.target
        assert await place.works.column(f"SELECT {target.id_column} FROM {target.table}") == [record]
        if entity == "invoice":
            lines = len(sandbox.get(f"/books/v3/invoices/{record}").json()["invoice"]["line_items"])
            assert await place.works.column("SELECT count(*) FROM invoice_lines") == [lines]
        assert await place.works.column("SELECT count(*) FROM tds_dead_letter_queue") == [0]


async def test_a_document_without_its_lines_is_asked_for(database: Database, sandbox: Sandbox) -> None:
    """Raw JSON made of placeholders has no lines: taken as whole, no pull of the same stamp would ever bring them."""
    record = first(sandbox, "invoice")
    document = plain(snapshot(sandbox, "invoice", record))
    async with site(database, sandbox, "invoice") as place:
        await place.told("/api/tds/webhooks/invoices", {"invoice": document})
        assert await place.works.column("SELECT count(*) > 0 FROM invoice_lines") == [True]
        assert sandbox.calls()["GET /books/v3/invoices/{id}"] >= 1


@pytest.mark.parametrize(
    ("segment", "entity", "key"),
    [("users", "user", "user"), ("prices", "price_list", "pricebook"), ("branches", "branch", "location")],
)
async def test_what_the_source_cannot_deliver_is_taken_from_others(
    database: Database, sandbox: Sandbox, segment: str, entity: str, key: str
) -> None:
    """Users, price lists and branches have no webhooks at the source; a delivery on their route is applied."""
    document = sandbox.truth(entity, "detail" if SHIPPED[entity].can_refetch else "list")[0]
    async with site(database, sandbox, entity) as place:
        await place.told(f"/api/tds/webhooks/{segment}", {key: document})
        assert await place.works.column("SELECT outcome FROM tds_sync_queue") == ["applied"]
        target = SHIPPED[entity].mapping.target
        [found] = await place.works.column(f"SELECT {target.id_column} FROM {target.table}")
        assert found in map(str, document.values())


# --- deletions


async def test_a_captured_change_sent_to_the_deletions_deletes_nothing(database: Database, sandbox: Sandbox) -> None:
    """The source signs neither path nor time: the record is asked for, and stands as it did."""
    record = first(sandbox, "product")
    captured = snapshot(sandbox, "product", record)
    async with site(database, sandbox, "product") as place:
        await place.send("/api/tds/webhooks/products", captured)
        before = await database.fetchrow(PRODUCT, record)
        for path in ("/api/tds/webhooks/products/delete", "/api/tds/zoho/webhooks/delete"):
            await place.send(path, captured)
        await place.send("/api/tds/webhooks/products", captured, method="DELETE")
        assert await database.fetchrow(PRODUCT, record) == before
        assert before is not None
        assert before["is_active"]
        assert sandbox.calls()["GET /inventory/v1/items/{id}"] >= 1


@pytest.mark.parametrize("path", ["/products/delete", "/products?event=item_deleted"])
async def test_a_deletion_with_only_an_id(database: Database, sandbox: Sandbox, path: str) -> None:
    """What is really gone is deactivated, whether the route says so or a signed event; the second needs no call."""
    record = first(sandbox, "product")
    async with site(database, sandbox, "product") as place:
        await place.send("/api/tds/webhooks/products", snapshot(sandbox, "product", record))
        sandbox.delete("product", ids=[record], webhooks=False)
        sandbox.control("DELETE", "/calls")
        await place.told(f"/api/tds/webhooks{path}", {"item": {"item_id": record}})
        row = await database.fetchrow(PRODUCT, record)
        assert row is not None
        assert not row["is_active"]
        assert ("GET /inventory/v1/items/{id}" in sandbox.calls()) == path.endswith("/delete")


async def test_a_deletion_of_what_nobody_has_seen(database: Database, sandbox: Sandbox) -> None:
    """Gone at the source and never stored here: remembered as deleted, no dead letter; without an id it is one."""
    async with site(database, sandbox, "product") as place:
        await place.told("/api/tds/webhooks/products/delete", {"item": {"item_id": "999"}})
        assert await place.works.column("SELECT outcome FROM tds_sync_queue") == ["deleted"]
        await place.told("/api/tds/webhooks/products/delete", {"item": {}})
        assert await place.works.column("SELECT error_message FROM tds_dead_letter_queue") == [
            "id of what was deleted is missing"
        ]


# --- parents

CLIENT = """
[[source]]
api = "books"
list = "/contacts"
list_key = "contacts"
detail = "/contacts/{id}"
detail_key = "contact"
params = { contact_type = "customer" }

[webhook]
paths = ["customers"]
keys = { contact = "" }

[record]
id = "contact_id"
modified = "last_modified_time"

[target]
table = "clients"
id_column = "client_no"
local_id = ""
touched = ""
adopt = true

[columns]
name = { path = "contact_name", required = true }
"""
SALE = """
[[source]]
api = "books"
list = "/invoices"
list_key = "invoices"
detail = "/invoices/{id}"
detail_key = "invoice"

[webhook]
paths = ["invoices"]
keys = { invoice = "" }

[record]
id = "invoice_id"
modified = "last_modified_time"

[target]
table = "sales"
id_column = "sale_no"
local_id = ""
touched = ""
adopt = true

[columns]
client_no = { path = "customer_id", references = "customer" }
total = { path = "total", type = "numeric" }
"""
TABLES = """
CREATE TABLE clients (client_no varchar(30) PRIMARY KEY, name text NOT NULL);
CREATE TABLE sales (
    sale_no varchar(30) PRIMARY KEY, client_no varchar(30) NOT NULL REFERENCES clients, total numeric NOT NULL);
"""


async def test_an_erps_own_foreign_key_is_waited_for(database: Database, sandbox: Sandbox, tmp_path: Path) -> None:
    """An invoice before its customer, in tables of the ERP: it waits with its attempt unspent, the customer comes."""
    (tmp_path / "customer.toml").write_text(CLIENT)
    (tmp_path / "invoice.toml").write_text(SALE)
    async with database.connection() as connection:
        await connection.execute(TABLES)
    record = first(sandbox, "invoice")
    async with Works(database, sandbox, mappings=entities.load(tmp_path)).running() as works:
        place, look = Site(works), "SELECT name FROM clients"
        async with anyio.create_task_group() as group:
            group.start_soon(place.send, "/api/tds/webhooks/invoices", snapshot(sandbox, "invoice", record))
            with anyio.fail_after(20):
                while await works.column(look) == []:
                    await anyio.lowlevel.checkpoint()
            waits = (
                "SELECT attempt_count, snoozed_at IS NOT NULL, status FROM tds_sync_queue WHERE entity_type = 'invoice'"
            )
            assert [tuple(row) for row in await database.fetch(waits)] == [(0, True, "pending")]
            assert await works.column("SELECT count(*) FROM sales") == [0]
            await database.execute("UPDATE tds_sync_queue_live SET available_at = now()")  # its time has come
        assert await works.column("SELECT sale_no FROM sales") == [record]
        customer = sandbox.get(f"/books/v3/invoices/{record}").json()["invoice"]["customer_id"]
        assert await works.column("SELECT client_no FROM sales") == [customer]
        assert await works.column("SELECT count(*) FROM tds_dead_letter_queue") == [0]


async def test_without_a_foreign_key_the_customer_is_fetched(database: Database, sandbox: Sandbox) -> None:
    """The invoice is there at once, and its customer, of whom no webhook has told, follows."""
    async with site(database, sandbox, "customer", "price_list", "invoice", "product") as place:
        for entity in ("customer", "product"):
            await place.works.ran(entity)
        [made] = sandbox.create("customer", count=1, webhooks=False)
        [sold] = sandbox.create("invoice", count=1, set={"customer_id": made["id"]}, webhooks=False)
        await place.send("/api/tds/webhooks/invoices", snapshot(sandbox, "invoice", sold["id"]))
        known = "SELECT zoho_contact_id FROM customers WHERE zoho_contact_id = $1"
        assert await place.works.column(known, made["id"]) == [made["id"]]
        owner = "SELECT zoho_customer_id FROM invoices"
        assert await place.works.column(owner) == [made["id"]]
