"""Looks at queue, tree, database and process, and says what it saw: `/metrics`, the log, `tds_metrics`."""

from __future__ import annotations

import resource
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Protocol

import anyio
import msgspec
from msgspec import Struct

from actors import condition
from tds_runtime import Context, Snapshot, actor, logs, sql
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.metrics import Metrics, Sample
from tds_runtime.values import Duration

STATUSES = ("pending", "processing", "failed", "dead_letter")
STATES = ("ready", "starting", "delayed", "quarantined", "stopping", "unstopped")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[metrics]`: how often everything is looked at, and how often that is stored and logged."""

    every: Duration = Duration("15s")
    store_every: Duration = Duration("60s")


class Tree(Protocol):
    """What is asked of the running tree."""

    def snapshot(self) -> Snapshot: ...


class Configuration(Protocol):
    """How the configuration stands."""

    @property
    def at(self) -> datetime: ...
    @property
    def problem(self) -> str: ...


class Process(Struct, frozen=True, kw_only=True):
    """This process: bytes resident, open descriptors, seconds of processor time."""

    resident: int
    descriptors: int
    processor: float


@actor(watchdog=None)
async def metrics_reporter(
    ctx: Context,
    *,
    database: Database,
    metrics: Metrics,
    runtime: Callable[[], Tree | None],
    options: Options,
    configuration: Callable[[], Configuration | None] = lambda: None,
    node: str = "",
) -> None:
    """Report until stopped; with the database away the rest goes on."""
    ctx.ready()
    reporter = Reporter(database, metrics, runtime, configuration=configuration, node=node)
    stored_at = -options.store_every
    while not ctx.stopping.is_set():
        await reporter.look()
        now = anyio.current_time()
        # Samples of a daemon that does not know its database yet would read as an outage.
        if now - stored_at >= options.store_every and database.state != "starting":
            stored_at = now
            await reporter.keep()
        async with ctx.waiting("interval"):
            with anyio.move_on_after(options.every):
                await ctx.stopping.wait()


class Reporter:
    """One look at a time."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        runtime: Callable[[], Tree | None],
        *,
        configuration: Callable[[], Configuration | None] = lambda: None,
        node: str = "",
    ) -> None:
        self._database, self._metrics, self._runtime, self._node = database, metrics, runtime, node
        self._configuration = configuration
        self._log = logs.get("metrics")

    async def look(self) -> None:
        """Set every gauge."""
        try:
            self._look_at_process(measure())
        except OSError as error:  # no descriptor is left to look with: the gauges keep what was seen last
            self._log.warning("process.unmeasured", reason=str(error))
        runtime = self._runtime()
        if runtime is not None:
            self._look_at_tree(runtime.snapshot())
        configuration = self._configuration()
        if configuration is not None:
            self._metrics.configured_at.set(configuration.at.timestamp())
            self._metrics.configuration_refused.set(bool(configuration.problem))
        try:
            await self._look_at_queue()
        except DatabaseGone:
            self._metrics.database_up.set(0)
        else:
            self._metrics.database_up.set(1)

    async def keep(self) -> None:
        """Write what was seen to the log and to the database; without a database the log has to do."""
        samples = self._metrics.samples()
        self._log.info("metrics.sampled", **summary(samples))
        columns = (
            [sample.name for sample in samples],
            [sample.value for sample in samples],
            [msgspec.json.encode(sample.labels).decode() for sample in samples],
        )
        try:
            await self._database.execute(sql.load("metrics/store", package="actors"), *columns, self._node)
        except DatabaseGone:
            self._log.warning("metrics.unstored", samples=len(samples))

    def _look_at_process(self, process: Process) -> None:
        self._metrics.resident.set(process.resident)
        self._metrics.descriptors.set(process.descriptors)
        self._metrics.processor.set(process.processor)

    def _look_at_tree(self, root: Snapshot) -> None:
        children = list(_walk(root))
        states: Counter[str] = Counter(child.state for child in children)
        for state in STATES:
            self._metrics.actors.labels(state).set(states[state])
        self._metrics.restarts.set(sum(child.restarts for child in children))
        self._metrics.mail.set(sum(child.mailbox.queued for child in children if child.mailbox is not None))

    async def _look_at_queue(self) -> None:
        entities = await self._database.fetch(sql.load("metrics/queue", package="actors"))
        self._metrics.queue_tasks.clear()
        self._metrics.queue_age.clear()
        for row in entities:
            for status in STATUSES:
                self._metrics.queue_tasks.labels(row["entity_type"], status).set(row[status])
            self._metrics.queue_age.labels(row["entity_type"]).set(row["oldest_seconds"] or 0)
        day = await self._database.fetchrow(sql.load("metrics/day", package="actors"))
        assert day is not None
        rate = condition.success_rate(completed=day["completed"], dead_lettered=day["dead_lettered"])
        self._metrics.success_ratio.set(rate / 100)
        for severity in ("info", "warning", "error", "critical"):
            self._metrics.alerts.labels(severity).set(day[severity])


def measure(process: Path = Path("/proc/self")) -> Process:
    """This process, as Linux counts it."""
    pages = int((process / "statm").read_text().split()[1])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Process(
        resident=pages * resource.getpagesize(),
        descriptors=sum(1 for _ in (process / "fd").iterdir()),
        processor=usage.ru_utime + usage.ru_stime,
    )


def summary(samples: list[Sample]) -> dict[str, float]:
    """The few numbers of a log line: gauges without labels, and tasks by status over all entities."""
    line = {sample.name.removeprefix("tds_"): sample.value for sample in samples if not sample.labels}
    for status in STATUSES:
        line[f"queue_{status}"] = sum(
            sample.value for sample in samples if sample.name == "tds_queue_tasks" and sample.labels["status"] == status
        )
    return line


def _walk(node: Snapshot) -> Iterator[Snapshot]:
    yield node
    for child in node.children:
        yield from _walk(child)
