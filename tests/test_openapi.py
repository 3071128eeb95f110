"""The document of the HTTP API, as programs and people get it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fixtures.line import Line
from openapi_spec_validator import validate

from actors.api import documentation, openapi
from actors.api.endpoints import Endpoint
from actors.configuration import Config
from actors.tree import described
from tds_runtime.database import Options as DatabaseOptions
from tds_runtime.values import Duration

ENTITIES = Path(__file__).parent.parent / "config" / "entities"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """As it is served."""
    config = Config(database=DatabaseOptions(dsn="postgresql://nobody@nowhere/none"))
    config = msgspec.structs.replace(config, entities=msgspec.structs.replace(config.entities, directory=ENTITIES))
    return dict(msgspec.json.decode(msgspec.json.encode(described(config))))


def test_the_document_is_openapi(document: dict[str, Any]) -> None:
    """A validator that nobody here wrote accepts it as OpenAPI 3.1."""
    assert document["openapi"].startswith("3.1")
    validate(document)


def test_every_route_of_the_table_says_what_it_answers(document: dict[str, Any]) -> None:
    """No operation leaves its good answer open, except those that are no JSON and the document itself."""
    open_ones = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        for status, answer in operation["responses"].items()
        if int(status) < 300 and answer["content"].get("application/json", {"schema": True})["schema"] == {}
    }
    assert open_ones <= {"/openapi.json"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("post", "/api/tds/webhooks/{segment}"),
        ("post", "/api/tds/zoho/webhooks"),
        ("get", "/livez"),
        ("get", "/readyz"),
        ("get", "/health"),
        ("get", "/api/tds/webhooks/health"),
        ("get", "/api/tds/monitoring/health"),
        ("post", "/api/zoho/bulk-sync/{what}"),
        ("get", "/api/zoho/bulk-sync/status"),
        ("get", "/api/tds/monitoring/scheduler/jobs"),
        ("get", "/api/tds/monitoring/alerts"),
        ("get", "/api/bff/tds/runs"),
        ("get", "/api/bff/tds/runs/{id}"),
        ("post", "/api/bff/tds/runs/{id}/cancel"),
        ("post", "/api/bff/tds/auto-healing/run"),
        ("get", "/api/bff/tds/auto-healing/stats"),
        ("get", "/api/bff/tds/circuit-breakers"),
        ("post", "/api/bff/tds/circuit-breakers/{name}/reset"),
        ("get", "/api/bff/tds/data-validation/products"),
        ("get", "/api/bff/tds/data-validation/integrity"),
        ("get", "/api/bff/tds/data-validation/orphans"),
        ("get", "/api/bff/tds/data-validation/duplicates"),
        ("get", "/api/bff/tds/alerts"),
        ("post", "/api/bff/tds/alerts/{id}/acknowledge"),
        ("get", "/api/bff/tds/dead-letter"),
        ("post", "/api/bff/tds/dead-letter/retry"),
        ("post", "/api/bff/tds/dead-letter/discard"),
        ("post", "/api/bff/tds/dead-letter/{id}/retry"),
        ("post", "/api/bff/tds/dead-letter/{id}/discard"),
        ("post", "/api/bff/tds/sync/stock"),
        ("post", "/api/bff/tds/sync/stock/specific"),
        ("get", "/api/bff/tds/sync/stock/stats"),
        ("get", "/api/bff/tds/zoho/webhooks"),
        ("get", "/api/bff/tds/zoho/webhooks/health"),
        ("get", "/api/bff/tds/zoho/webhooks/recent"),
        ("post", "/api/bff/tds/zoho/webhooks/replay"),
        ("post", "/api/bff/tds/zoho/webhooks/{id}/replay"),
        ("get", "/api/bff/tds/jobs"),
        ("get", "/api/bff/tds/jobs/{id}"),
        ("post", "/api/bff/tds/jobs/{id}/cancel"),
        ("get", "/api/tree"),
        ("get", "/metrics"),
        ("get", "/openapi.json"),
        ("get", "/docs"),
    ],
)
def test_the_promised_routes_are_there(document: dict[str, Any], method: str, path: str) -> None:
    """What operators were promised is in the document, with the role that it asks for."""
    operation = document["paths"][path][method]
    assert operation["x-role"] in {"public", "viewer", "operator"}
    assert bool(operation["security"]) == (operation["x-role"] != "public")


class Page(HTMLParser):
    """The anchors, links and scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        self.ids += [said["id"] or ""] if "id" in said else []
        self.links += [link for name in ("href", "src") if (link := said.get(name))]
        self.scripts += tag in {"script", "style"} or "style" in said


def test_the_page_shows_every_route_and_leads_nowhere_else(document: dict[str, Any]) -> None:
    """Each route has its place, each link its target on this host, and nothing needs a script."""
    page = Page(documentation.page(document))
    anchors = {operation["operationId"] for one in document["paths"].values() for operation in one.values()}
    assert anchors <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.scripts == 0
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    assert {link for link in page.links if not link.startswith("#")} <= {"/docs.css", "/openapi.json"}


async def nothing(*_: Any) -> Any:
    raise AssertionError


def test_lengths_of_time_are_text() -> None:
    """What a configuration writes as `"1h30m"` is shown so."""

    class Answer(msgspec.Struct):
        after: Duration = Duration("1h")

    one = Endpoint(method="GET", path="/x", role="viewer", handler=nothing, summary="x", result=Answer)
    schema = openapi.document([one])["components"]["schemas"]["Answer"]
    assert schema["properties"]["after"]["default"] == "1h"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_command_line_prints_it(tmp_path: Path, document: dict[str, Any]) -> None:
    """`tds-runtime openapi` needs neither a daemon nor a database."""
    line = Line(tmp_path, "postgresql://nobody@nowhere/none")
    assert await line("openapi") == 0, line.notes
    assert json.loads(line.data) == document
