"""Bulk actions as jobs: counted, carried out in portions, resumed after a kill, cancelled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from fixtures.site import VIEWER, Site, bury

from actors import clerk, jobs
from actors.jobs import Job, Kind, Selection
from tds_runtime import Supervisor, run
from tds_runtime.database import Database
from tds_runtime.intake import Delivery, store
from tds_runtime.queue import Queue

pytestmark = pytest.mark.anyio

PATH = "/api/bff/tds/dead-letter"
JOBS = "/api/bff/tds/jobs"
EVERYTHING = {"all": True, "reason": "mapping mended"}


async def ask(database: Database, kind: Kind, selection: Selection | None = None) -> int:
    selection = selection or Selection()
    async with database.transaction() as connection:
        counted = await jobs.count(connection, kind, selection)
        return await jobs.request(connection, kind, selection, "boss", counted=counted, reason="because")


@asynccontextmanager
async def working(database: Database, boot_id: str = "test", portion: int = 2) -> AsyncIterator[None]:
    spec = clerk.clerk(database=database, queue=Queue(database, boot_id=boot_id), portion=portion, poll=0.02)
    async with run(Supervisor("t", children=[spec])):
        yield


async def ended(database: Database, job_id: int) -> Job:
    with anyio.fail_after(10):
        while True:
            job = await jobs.read(database, job_id)
            assert job is not None
            if job.ended:
                return job
            await anyio.sleep(0.01)


async def figures(database: Database) -> tuple[int, int]:
    found = await Queue(database, boot_id="looks").statistics()
    return found.pending, found.dead_letter


async def test_a_job_touches_what_was_there_when_it_was_asked_for(site: Site) -> None:
    """All that matched goes back in portions; what is buried later stays for a person to look at."""
    database = site.services.database
    await bury(site, 5)
    job_id = await ask(database, "dead_letter.retry")
    await database.execute("UPDATE tds_jobs SET last_id = last_id - 1")  # as if one of them had come later
    async with working(database):
        job = await ended(database, job_id)
    assert (job.status, job.matched, job.looked_at, job.changed) == ("completed", 5, 4, 4)
    assert await figures(database) == (4, 1)


@pytest.mark.parametrize("kind", ["dead_letter.retry", "dead_letter.discard"])
async def test_a_job_goes_on_where_its_dead_owner_was(site: Site, kind: Kind) -> None:
    """A kill between two portions repeats none of them and leaves none out."""
    database = site.services.database
    await bury(site, 5)
    job_id = await ask(database, kind)
    owner = clerk.Office(_Life(), database, Queue(database, boot_id="killed"), lambda _: None, 2)
    claimed = await jobs.claim(database, "killed")
    assert claimed is not None
    assert await owner.step(claimed)
    async with working(database, "another"):
        job = await ended(database, job_id)
    assert (job.status, job.looked_at, job.changed) == ("completed", 5, 5)
    assert await figures(database) == (5 if kind == "dead_letter.retry" else 0, 0)
    assert not await owner.step(claimed)


class _Life:
    """A context of an owner that is never told to stop: it is killed."""

    def __init__(self) -> None:
        self.stopping = anyio.Event()


async def test_a_job_that_ends_its_owners_fails(site: Site) -> None:
    """Three deaths without a portion, and it is at fault itself."""
    database = site.services.database
    await bury(site, 1)
    job_id = await ask(database, "dead_letter.retry")
    for number in range(clerk.ATTEMPTS):
        assert await jobs.claim(database, f"dead {number}") is not None
        await jobs.return_lost(database, "looks", clerk.ATTEMPTS)
    job = await jobs.read(database, job_id)
    assert job is not None
    assert (job.status, job.error_code) == ("failed", "owner_lost")


async def test_a_cancelled_job_changes_nothing_more(site: Site) -> None:
    """Cancelled by HTTP between two portions: what is done stays, the rest is as it was, and the trail says who."""
    database = site.services.database
    await bury(site, 5)
    asked = (await site.post(f"{PATH}/discard", json=EVERYTHING)).json()
    owner = clerk.Office(_Life(), database, Queue(database, boot_id="test"), lambda _: None, 2)
    claimed = await jobs.claim(database, "test")
    assert claimed is not None
    await owner.step(claimed)
    cancelled = await site.post(f"{JOBS}/{asked['id']}/cancel", json={"reason": "wrong filter"})
    assert (cancelled.json()["status"], cancelled.json()["changed"]) == ("cancelled", 2)
    assert cancelled.json()["error_message"] == "boss: wrong filter"
    assert not await owner.step(claimed)
    assert await figures(database) == (0, 3)
    assert (await site.post(f"{JOBS}/{asked['id']}/cancel")).status_code == 409
    assert [row["action"] for row in await site.audit()] == ["dead_letter.discard", "job.cancel"]
    notes = await database.fetch("SELECT note, resolved_by FROM tds_dead_letter_queue WHERE resolution = 'discarded'")
    assert {(row["note"], row["resolved_by"]) for row in notes} == {("mapping mended", "boss")}


async def test_a_bulk_action_can_be_waited_for_and_followed(site: Site) -> None:
    """`?wait=true` answers the ended job; jobs are listed by keyset and filter."""
    database = site.services.database
    await bury(site, 3)
    async with working(database):
        done = await site.post(f"{PATH}/retry?wait=true", json={"entity_type": "product", "reason": "again"})
    assert (done.status_code, done.json()["status"], done.json()["changed"]) == (200, "completed", 3)
    assert done.json()["selection"] == {"entity_type": "product"}
    other = (await site.post(f"{PATH}/discard", json=EVERYTHING)).json()
    page = (await site.get(f"{JOBS}?limit=1", token=VIEWER)).json()
    assert [one["id"] for one in page["items"]] == [other["id"]]
    rest = (await site.get(f"{JOBS}?before={page['next']}&status=completed", token=VIEWER)).json()
    assert [one["id"] for one in rest["items"]] == [done.json()["id"]]
    assert (await site.get(f"{JOBS}/{other['id']}", token=VIEWER)).json()["status"] == "pending"
    assert (await site.get(f"{JOBS}/999", token=VIEWER)).status_code == 404


@pytest.mark.parametrize(
    ("wanted", "changed"),
    [
        ({"entity_type": "product"}, 2),
        ({"source_entity_id": "3", "entity_type": "customer"}, 1),
        ({"since": "2020-01-01T00:00:00Z", "until": "2020-01-02T00:00:00Z"}, 0),
        ({"all": True}, 3),
    ],
)
async def test_deliveries_are_replayed_by_filter(site: Site, wanted: dict[str, Any], changed: int) -> None:
    """Each record that matches gets a task again; a dry run says how many deliveries that is."""
    database = site.services.database
    sent = (("product", "1"), ("product", "2"), ("customer", "3"))
    await store(database, [delivery(entity, record) for entity, record in sent])
    await database.execute("DELETE FROM tds_sync_queue_live")
    path = "/api/bff/tds/zoho/webhooks/replay"
    body = {"reason": "mapping mended", **wanted}
    assert (await site.post(path, json={**body, "dry_run": True})).json() == {"matched": changed}
    async with working(database):
        job = (await site.post(f"{path}?wait=true", json=body)).json()
    assert (job["status"], job["matched"], job["changed"]) == ("completed", changed, changed)
    assert await figures(database) == (changed, 0)


async def test_one_delivery_is_replayed_at_once(site: Site) -> None:
    """By its id from the list of what arrived, newest first; an id that is none is 404."""
    database = site.services.database
    await store(database, [delivery("product", "1"), delivery("product", "2")])
    await database.execute("DELETE FROM tds_sync_queue_live")
    page = (await site.get("/api/bff/tds/zoho/webhooks/recent?limit=1", token=VIEWER)).json()
    [newest] = page["items"]
    assert (newest["source_entity_id"], newest["bytes"]) == ("2", 2)
    assert "body" not in newest
    path = f"/api/bff/tds/zoho/webhooks/{newest['id']}/replay"
    assert (await site.post(path, json={"reason": "look"})).json() == {"matched": 1, "enqueued": 1}
    assert await figures(database) == (1, 0)
    assert (await site.post("/api/bff/tds/zoho/webhooks/999/replay")).status_code == 404
    assert [row["action"] for row in await site.audit()] == ["inbox.replay"]


def delivery(entity: str, record: str) -> Delivery:
    return Delivery(
        source="zoho",
        entity_type=entity,
        source_entity_id=record,
        operation="upsert",
        modified_at=None,
        body=b"{}",
        content_type="application/json",
        query="",
        correlation_id=f"of {record}",
        event_id="",
        variant="",
    )
