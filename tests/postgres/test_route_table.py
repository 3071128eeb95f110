"""A walk over the whole route table: who may, and whether each route answers as the document says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from fixtures.site import LOCAL, OPERATOR, STRANGER, VIEWER, Site
from jsonschema import Draft202012Validator

from actors.api import application, openapi
from actors.api.endpoints import Endpoint
from actors.zoho import tables
from tds_runtime.clients import Clients
from tds_runtime.errors import NotRunning

pytestmark = pytest.mark.anyio

PLACES = {"what": "products", "name": "books", "schedule": "daily_full_sync", "id": "1"}


class Absent:
    """A healer that is not there."""

    async def ask(self, *_: Any, **__: Any) -> Any:
        raise NotRunning


@pytest.fixture
async def whole(site: Site) -> Site:
    """A site with target tables, so that every route has what it works on."""
    async with site.services.database.transaction() as connection:
        await tables.create_missing(connection, site.services.entities.tables)
    return Site(msgspec.structs.replace(site.services, healer=Absent()), site.tree, site.writer, site.woken)


def path_of(endpoint: Endpoint) -> str:
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda place: PLACES[place[1]], endpoint.path)


def mutating(site: Site) -> Iterator[Endpoint]:
    return (one for one in application.table(site.services) if one.method != "GET")


async def test_every_mutating_route_refuses_strangers_and_viewers(whole: Site) -> None:
    """Anonymous is 401, from this machine as well; a viewer is 403; and nothing has happened."""
    seen = 0
    for endpoint in mutating(whole):
        assert endpoint.role == "operator"
        for client in (STRANGER, LOCAL):
            refused = await whole.ask(endpoint.method, path_of(endpoint), client=client)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer"), endpoint.path
        seen_as_viewer = await whole.ask(endpoint.method, path_of(endpoint), token=VIEWER, json={})
        assert seen_as_viewer.status_code == 403, endpoint.path
        seen += 1
    assert seen > 15
    assert await whole.audit() == []
    assert whole.woken == whole.tree.killed == []


async def test_every_reading_route_but_the_open_ones_asks_for_a_token(whole: Site) -> None:
    """What strangers may see is a short list."""
    opened = {one.path for one in application.table(whole.services) if one.role == "public"}
    assert opened == {
        "/livez", "/readyz", "/health", "/api/tds/monitoring/health", "/api/tds/webhooks/health", "/metrics",
        "/openapi.json", "/docs", "/docs.css",
    }  # fmt: skip
    for endpoint in application.table(whole.services):
        if endpoint.method == "GET" and endpoint.path not in opened:
            assert (await whole.get(path_of(endpoint))).status_code == 401, endpoint.path


async def test_every_route_answers_as_the_document_says(whole: Site) -> None:
    """With nothing, with `{}` and with a wrong body: the status is documented, and the answer fits its schema."""
    table = application.table(whole.services)
    document = msgspec.json.decode(msgspec.json.encode(openapi.document(table)))
    bodies: tuple[dict[str, Any], ...] = (
        {},
        {"json": {}},
        {"json": {"reason": "walk", "all": True}},
        {"content": b"["},
    )
    for endpoint in table:
        for more in bodies if endpoint.method != "GET" else ({}, {"params": {"limit": "0", "wait": "perhaps"}}):
            response = await whole.ask(endpoint.method, path_of(endpoint), token=OPERATOR, client=LOCAL, **more)
            check(document, endpoint, response)


async def test_refusals_of_every_route_are_problems_without_internals(whole: Site) -> None:
    """Ids that are no ids and words that are none: 404 or 422 as a problem, nothing of the server in it."""
    for endpoint in application.table(whole.services):
        if "{" in endpoint.path:
            path = re.sub(r"\{\w+(?::\w+)?\}", "99999999999999999999", endpoint.path)
            body = {"json": {"reason": "walk", "comment": "x"}} if endpoint.method != "GET" else {}
            refused = await whole.ask(endpoint.method, path, token=OPERATOR, **body)
            assert refused.status_code in {404, 422}, endpoint.path
            assert refused.headers["content-type"] == "application/problem+json"
            assert set(refused.json()) <= {"title", "status", "detail", "errors"}


async def test_every_answer_carries_the_headers_of_safety(whole: Site) -> None:
    """No sniffing, no framing, no script from elsewhere, nothing kept by caches; on refusals as well."""
    for path in ("/livez", "/docs", "/api/tree", "/nowhere"):
        headers = (await whole.get(path)).headers
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert headers["cache-control"] == "no-store"


async def test_after_ten_wrong_tokens_a_client_waits(whole: Site) -> None:
    """Whatever it sends then; others are not held up, and who sends no token at all was not guessing."""
    for _ in range(20):
        assert (await whole.get("/api/tree")).status_code == 401
    for number in range(10):
        assert (await whole.get("/api/tree", token=f"guess number {number}")).status_code == 401
    refused = await whole.get("/api/tree", token=VIEWER)
    assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
    assert 1 <= int(refused.headers["retry-after"]) <= 6
    assert (await whole.get("/api/tree", token=VIEWER, client=LOCAL)).status_code == 200
    forwarded = {"X-Forwarded-For": "198.51.100.7"}
    assert (await whole.get("/api/tree", token=VIEWER, headers=forwarded)).status_code == 429


async def test_a_flood_of_one_client_is_cut_and_reaches_nobody_else(whole: Site) -> None:
    """What asks for no token is answered so often to one client; others, this machine and tokens go on."""
    services = msgspec.structs.replace(whole.services, clients=Clients(rate=1))
    site = Site(services, whole.tree, whole.writer, whole.woken)
    answers = [(await site.get("/livez")) for _ in range(3)]
    assert [one.status_code for one in answers] == [200, 200, 429]
    assert (answers[-1].headers["content-type"], answers[-1].headers["retry-after"]) == (
        "application/problem+json",
        "1",
    )
    assert (await site.get("/api/tree", token=VIEWER)).status_code == 200
    for client in (("203.0.113.10", 4711), LOCAL):
        assert (await site.get("/livez", client=client)).status_code == 200


def check(document: dict[str, Any], endpoint: Endpoint, response: Any) -> None:
    """Status, media type and body are what the document says of this operation."""
    operation = document["paths"][re.sub(r":\w+\}", "}", endpoint.path)][endpoint.method.lower()]
    said = f"{endpoint.method} {endpoint.path} {response.status_code}: {response.text[:200]}"
    assert str(response.status_code) in operation["responses"], said
    media = response.headers["content-type"].partition(";")[0]
    content = operation["responses"][str(response.status_code)]["content"]
    content = {name.partition(";")[0]: one for name, one in content.items()}
    assert media in content, said
    if media.endswith("json"):
        schema = {**content[media]["schema"], "components": document["components"]}
        errors = [error.message for error in Draft202012Validator(schema).iter_errors(response.json())]
        assert errors == [], said
