"""One id from the sender's answer to the row's audit: what an operator follows when somebody asks what happened."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from typing import Any

import anyio
import httpx2
import msgspec
import pytest
import structlog
from fixtures.moments import a_moment
from fixtures.sandbox import Sandbox
from fixtures.works import Works
from starlette.applications import Starlette

from actors import webhooks
from actors.webhooks import Options
from actors.zoho.naming import Names, kinds
from actors.zoho.signature import sign
from tds_runtime import Supervisor, intake, logs, run
from tds_runtime.database import Database
from tds_runtime.gate import Gate, Limits
from tds_runtime.metrics import Metrics
from tds_runtime.values import Secret

pytestmark = pytest.mark.anyio

SECRET = "tdsRuntimeSecret0123456789"


class Pipe:
    """Where the lines of this process go."""

    def __init__(self) -> None:
        self.reading, writing = os.pipe()
        self.stream = io.TextIOWrapper(io.FileIO(writing, "w"))
        self.logging = logs.configure(logs.Options(format="json"), stream=self.stream, secrets=[SECRET])

    def lines(self) -> list[dict[str, Any]]:
        """Everything that was written, once the writer has ended."""
        self.logging.close()
        self.stream.close()
        with os.fdopen(self.reading) as pipe:
            return [json.loads(line) for line in pipe]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    yield Pipe()
    structlog.reset_defaults()


async def test_one_id_leads_from_the_webhook_to_the_audit(database: Database, sandbox: Sandbox, pipe: Pipe) -> None:
    """The answer's header, the stored delivery, the task, the audit of the row, and one line for each unit of work."""
    works = Works(database, sandbox, names=["product"])
    writing = intake.writer(database=database, on_stored=works.stored)
    routes = webhooks.routes(writing.ref, Names(kinds(works.entities)), Options(secrets=(Secret(SECRET),)), Metrics())
    gate = Gate(Starlette(routes=routes), limits=Limits(), stopping=anyio.Event())
    item = sandbox.truth("items")[0]
    body = msgspec.json.encode({"item": item})
    headers = {
        "X-Zoho-Webhook-Signature": sign(SECRET, query=b"", body=body),
        "Content-Type": "application/json",
    }
    async with works.running(), run(Supervisor("intake", children=[writing])):
        transport = httpx2.ASGITransport(app=gate)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answer = await http.post("/api/tds/webhooks/products", content=body, headers=headers)
        assert answer.status_code == 200
        followed = answer.headers["x-correlation-id"]
        with anyio.fail_after(20):
            while not await works.column("SELECT 1 FROM tds_audit_trail WHERE entity_type = 'product'"):
                await a_moment()
    record = item["item_id"]
    assert await works.column("SELECT source_entity_id FROM tds_inbox_events WHERE correlation_id = $1", followed) == [
        record
    ]
    task = await works.column("SELECT status FROM tds_sync_queue WHERE correlation_id = $1", followed)
    assert task == ["completed"]
    trail = await works.column("SELECT source_entity_id FROM tds_audit_trail WHERE correlation_id = $1", followed)
    assert trail == [record]
    told = [line for line in pipe.lines() if line.get("correlation_id") == followed]
    assert [(line["event"], line["actor"], line["incarnation"]) for line in told] == [
        ("deliveries.stored", "intake/writer", 1),
        ("batch.settled", "works/product", 1),
    ]
