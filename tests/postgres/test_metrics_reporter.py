"""What the reporter sees and keeps."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from fixtures.moments import a_moment

from actors.metrics_reporter import Options, Reporter, metrics_reporter, summary
from actors.resources import disk, measure
from tds_runtime import Context, Snapshot
from tds_runtime.cli.session import Configured
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.events import ChildEnded, ChildReady, Subscription
from tds_runtime.mailbox import Statistics
from tds_runtime.metrics import Metrics
from tds_runtime.queue import Change, Queue
from tds_runtime.values import Duration

pytestmark = pytest.mark.anyio


class Tree:
    def snapshot(self) -> Snapshot:
        box = Statistics(capacity=9, queued=4, leased=0, blocked_senders=0, accepted=4, handled=0, dropped=0, dead=0)
        writer = node("tds/writer", restarts=2, mailbox=box)
        return node("tds", children=(writer, node("tds/sick", state="quarantined", restarts=5)))

    def events(self) -> Subscription:
        return Subscription(10)


class Gone:
    """A database that is away."""

    async def fetch(self, *_: Any) -> None:
        raise DatabaseGone

    execute = fetch

    def connection(self) -> None:
        raise DatabaseGone


class Starting:
    """A database that answers from the third look on; by then it was written to once, and the test is over."""

    def __init__(self, context: Context) -> None:
        self.context, self.looks, self.kept = context, 0, 0

    @property
    def state(self) -> str:
        return "starting" if self.looks < 3 else "up"

    async def fetch(self, *_: Any) -> None:
        self.looks += 1
        raise DatabaseGone

    def connection(self) -> None:
        raise DatabaseGone

    async def execute(self, *_: Any) -> None:
        self.kept += 1
        self.context.stopping.set()


def node(path: str, **more: Any) -> Snapshot:
    fields = {
        "name": path.rpartition("/")[2], "kind": "actor", "state": "ready", "incarnation": 1, "restarts": 0,
        "uptime": 1.0, "last_error": "", "waiting": "", "leased_age": 0.0, "mailbox": None, "children": (),
    }  # fmt: skip
    return Snapshot(path=path, **(fields | more))


def values(metrics: Metrics) -> dict[tuple[str, ...], float]:
    return {(sample.name, *sample.labels.values()): sample.value for sample in metrics.samples()}


async def test_a_look_sets_every_gauge(database: Database) -> None:
    """Queue by entity and status, tree by state, restarts, mail, process and database."""
    metrics = Metrics()
    queue = Queue(database, boot_id="test")
    async with database.transaction() as connection:
        changes = [Change(entity_type="product", source_entity_id=str(number), payload=b"{}") for number in range(3)]
        await queue.enqueue(connection, changes)
    await database.execute(
        "INSERT INTO tds_alerts (alert_type, severity, title, cause) VALUES ('a', 'error', 't', 'c')"
    )
    await Reporter(database, metrics, Tree).look()
    seen = values(metrics)
    assert seen["tds_queue_tasks", "product", "pending"] == 3
    assert seen["tds_queue_oldest_seconds", "product"] >= 0
    assert seen["tds_sync_success_ratio",] == 1.0
    assert seen["tds_alerts_open", "error"] == 1
    assert seen["tds_actors", "quarantined"] == 1
    assert seen["tds_actor_restarts",] == 7
    assert seen["tds_mailbox_messages",] == 4
    assert seen["tds_database_up",] == 1
    assert seen["tds_process_resident_bytes",] > 1 << 20
    assert seen["tds_process_descriptors",] > 2
    assert 0 < seen["tds_disk_free_bytes",] < seen["tds_disk_size_bytes",]
    for pool in ("work", "ingest"):
        states = [seen["tds_database_connections", pool, state] for state in ("used", "idle", "free")]
        assert sum(states) == database.statistics().pools[pool].maximum


async def test_an_entity_without_tasks_leaves_the_page(database: Database) -> None:
    """What is finished is not shown with its last value for ever."""
    metrics = Metrics()
    reporter = Reporter(database, metrics, lambda: None)
    metrics.queue_tasks.labels("gone", "pending").set(7)
    await reporter.look()
    assert ("tds_queue_tasks", "gone", "pending") not in values(metrics)


async def test_samples_are_kept_with_their_labels(database: Database) -> None:
    """One row a sample, with the node that took it."""
    metrics = Metrics()
    metrics.webhooks.labels("product", "stored").inc(5)
    await Reporter(database, metrics, lambda: None, node="here").keep()
    row = await database.fetchrow(
        "SELECT metric_value, labels::text, node FROM tds_metrics WHERE metric_name = 'tds_webhooks_total'"
    )
    assert (row["metric_value"], json.loads(row["labels"]), row["node"]) == (
        5.0,
        {"entity": "product", "outcome": "stored"},
        "here",
    )


async def test_a_refused_configuration_is_on_the_metrics_page() -> None:
    """When the present configuration came, and whether a newer one was refused."""
    metrics = Metrics()
    at = datetime(2026, 1, 1, tzinfo=UTC)
    standing = [Configured(at=at), Configured(at=at, problem="no such setting")]
    reporter = Reporter(Gone(), metrics, lambda: None, configuration=lambda: standing[0])
    await reporter.look()
    assert values(metrics)["tds_config_applied_timestamp_seconds",] == at.timestamp()
    assert values(metrics)["tds_config_refused",] == 0
    standing.pop(0)
    await reporter.look()
    assert values(metrics)["tds_config_refused",] == 1


async def test_without_a_database_the_rest_is_still_seen() -> None:
    """The gauge says that it is away, and neither looking nor keeping fails."""
    metrics = Metrics()
    reporter = Reporter(Gone(), metrics, Tree)
    await reporter.look()
    await reporter.look_at_levels()
    await reporter.keep()
    assert values(metrics)["tds_database_up",] == 0
    assert values(metrics)["tds_actor_restarts",] == 7


async def test_the_actor_looks_at_once_and_stops_when_told(database: Database) -> None:
    """The first look and the first samples do not wait for an interval."""
    ready = anyio.Event()
    context = Context("metrics", on_ready=ready.set)
    metrics = Metrics()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            lambda: metrics_reporter.function(
                context, database=database, metrics=metrics, runtime=lambda: None, options=Options()
            )
        )
        with anyio.fail_after(10):
            while not await database.fetchval("SELECT count(*) FROM tds_metrics"):
                await a_moment()
        context.stopping.set()
    assert ready.is_set()


async def test_nothing_is_said_before_the_database_has_answered() -> None:
    """While the database starts there are no samples, and so no false alarm in the log of each start."""
    context = Context("metrics", on_ready=lambda: None)
    starting = Starting(context)
    await metrics_reporter.function(
        context, database=starting, metrics=Metrics(), runtime=lambda: None, options=Options(every=Duration(0.001))
    )
    assert starting.looks == 3
    assert starting.kept == 1


def test_a_process_is_measured_as_linux_counts_it() -> None:
    """Resident bytes, descriptors and processor time of this very process."""
    before = measure()
    reader, writer = os.pipe()
    after = measure()
    os.close(reader)
    os.close(writer)
    assert after.descriptors == before.descriptors + 2
    assert before.resident > 1 << 20
    assert after.processor >= before.processor > 0


def test_the_disk_of_a_directory_that_is_not_made_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    """Before the embedded server has made its directory there is a figure, too."""
    assert disk(tmp_path / "later" / "data").size == disk(tmp_path).size > 0


async def test_a_crash_between_two_looks_is_stored(database: Database) -> None:
    """What the engine says from the start on is read at the next look, and stands in the table."""
    metrics, events = Metrics(), Subscription(10)
    reporter = Reporter(database, metrics, lambda: None, node="here")
    now = anyio.current_time()
    events.publish(ChildEnded(path="tds/work/product", at=now - 2, incarnation=1, ending="killed", ready_seconds=1.0))
    events.publish(ChildReady(path="tds/work/product", at=now - 1, incarnation=2))
    await reporter.look(events)
    row = await database.fetchrow("SELECT kind, subject, node, ended_at - began_at AS took FROM tds_faults")
    assert tuple(row)[:3] == ("killed", "tds/work/product", "here")
    assert row["took"].total_seconds() == pytest.approx(1, abs=0.1)


async def test_kept_samples_have_the_service_levels(database: Database) -> None:
    """A level with a figure is shown, one that can be judged says whether it is met, the others are no series."""
    metrics = Metrics()
    await Reporter(database, metrics, lambda: None).look_at_levels()
    seen = values(metrics)
    assert seen["tds_service_level", "dead_letters_open"] == 0
    assert seen["tds_service_level_met", "dead_letters_open"] == 1
    assert ("tds_service_level_met", "availability") not in seen


def test_the_log_line_has_the_few_numbers_that_matter() -> None:
    """Tasks by status over all entities, and the gauges without labels."""
    metrics = Metrics()
    metrics.queue_tasks.labels("product", "pending").set(2)
    metrics.queue_tasks.labels("invoice", "pending").set(3)
    line = summary(metrics.samples())
    assert line["queue_pending"] == 5
    assert "process_resident_bytes" in line
    assert len(line) < 20
