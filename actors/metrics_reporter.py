"""Looks at queue, tree, database and process, and says what it saw: `/metrics`, the log, `tds_metrics`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Protocol

import anyio
import msgspec
from msgspec import Struct

from actors import condition, resources
from actors.service_levels import levels as service_levels
from actors.service_levels import reading
from actors.service_levels.faults import Faults
from actors.service_levels.marks import Marks
from tds_runtime import Context, Snapshot, actor, logs, sql
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.events import Event, Lagged, Subscription
from tds_runtime.intake import Store
from tds_runtime.metrics import Metrics, Sample
from tds_runtime.ref import Ref
from tds_runtime.values import Duration

STATUSES = ("pending", "processing", "failed", "dead_letter")
AT_LEAST = 15.0
"""Seconds within which a minute's mark is tried again, however rarely all else is looked at."""
LEVELS_EVERY = 300.0
"""Seconds between two looks at the service levels: their windows are days, and a look counts through eight tables."""
STATES = ("ready", "starting", "delayed", "quarantined", "stopping", "unstopped")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[metrics]`: how often everything is looked at, and how often that is stored and logged."""

    every: Duration = Duration("15s")
    store_every: Duration = Duration("60s")


class Tree(Protocol):
    """What is asked of the running tree."""

    def snapshot(self) -> Snapshot: ...
    def events(self) -> Subscription: ...


class Configuration(Protocol):
    """How the configuration stands."""

    @property
    def at(self) -> datetime: ...
    @property
    def problem(self) -> str: ...


@actor(watchdog=None)
async def metrics_reporter(
    ctx: Context,
    *,
    database: Database,
    metrics: Metrics,
    runtime: Callable[[], Tree | None],
    options: Options,
    levels: service_levels.Options = service_levels.DEFAULTS,
    configuration: Callable[[], Configuration | None] = lambda: None,
    writer: Ref[Store] | None = None,
    node: str = "",
    directory: Path = Path(),
) -> None:
    """Report until stopped; with the database away the rest goes on."""
    ctx.ready()
    reporter = Reporter(
        database, metrics, runtime, levels=levels, configuration=configuration, node=node, directory=directory
    )
    marks = Marks(database, writer, node)
    stored_at = looked_at = judged_at = -math.inf
    tree = runtime()
    with nullcontext() if tree is None else tree.events() as events:
        while not ctx.stopping.is_set():
            now = anyio.current_time()
            if now - looked_at >= options.every:
                looked_at = now
                await reporter.look(events)
            # Samples of a daemon that does not know its database yet would read as an outage.
            if now - stored_at >= options.store_every and database.state != "starting":
                stored_at = now
                if now - judged_at >= LEVELS_EVERY:
                    judged_at = now
                    await reporter.look_at_levels()
                await reporter.keep()
            await marks.mark()
            await _pause(ctx, min(looked_at + options.every, now + AT_LEAST) - anyio.current_time(), metrics)


async def _pause(ctx: Context, seconds: float, metrics: Metrics) -> None:
    """Wait for the next look, and see how late the loop wakes us."""
    due = anyio.current_time() + max(seconds, 0)
    async with ctx.waiting("interval"):
        with anyio.move_on_at(due):
            await ctx.stopping.wait()
    metrics.loop_lag.set(max(anyio.current_time() - due, 0))


class Reporter:
    """One look at a time."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        runtime: Callable[[], Tree | None],
        *,
        levels: service_levels.Options = service_levels.DEFAULTS,
        configuration: Callable[[], Configuration | None] = lambda: None,
        node: str = "",
        directory: Path = Path(),
    ) -> None:
        self._database, self._metrics, self._runtime, self._node = database, metrics, runtime, node
        self._configuration, self._levels, self._directory = configuration, levels, directory
        self._faults = Faults()
        self._before: tuple[float, float] | None = None
        self._log = logs.get("metrics")

    async def look(self, events: Subscription | None = None) -> None:
        """Set every gauge, and note the faults of which the engine's events tell."""
        try:
            self._look_at_process(resources.measure())
            self._look_at_disk(resources.disk(self._directory))
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
            self._faults.answered(up=False)
        else:
            self._metrics.database_up.set(1)
            self._look_at_pools()
            self._faults.answered(up=True)
        if events is not None:
            self._faults.follow(_heard(events))
        await self._faults.store(self._database, self._node)

    async def look_at_levels(self) -> None:
        """Show the levels that have a value; one that cannot be judged is neither met nor missed."""
        try:
            found = (await reading.report(self._database, self._levels)).levels
        except DatabaseGone:
            return
        self._metrics.level.clear()
        self._metrics.level_met.clear()
        for level in found:
            if level.value is not None:
                self._metrics.level.labels(level.name).set(level.value)
            if level.met is not None:
                self._metrics.level_met.labels(level.name).set(level.met)

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

    def _look_at_process(self, process: resources.Process) -> None:
        self._metrics.resident.set(process.resident)
        self._metrics.descriptors.set(process.descriptors)
        self._metrics.processor.set(process.processor)
        now = anyio.current_time()
        if self._before is not None and now > self._before[0]:
            self._metrics.busy.set((process.processor - self._before[1]) / (now - self._before[0]))
        self._before = (now, process.processor)

    def _look_at_disk(self, disk: resources.Disk) -> None:
        self._metrics.disk_free.set(disk.free)
        self._metrics.disk_size.set(disk.size)

    def _look_at_pools(self) -> None:
        for name, pool in self._database.statistics().pools.items():
            self._metrics.connections.labels(name, "used").set(pool.size - pool.idle)
            self._metrics.connections.labels(name, "idle").set(pool.idle)
            self._metrics.connections.labels(name, "free").set(pool.maximum - pool.size)

    def _look_at_tree(self, root: Snapshot) -> None:
        children = list(_walk(root))
        states: Counter[str] = Counter(child.state for child in children)
        for state in STATES:
            self._metrics.actors.labels(state).set(states[state])
        self._metrics.restarts.set(sum(child.restarts for child in children))
        self._metrics.mail.set(sum(child.mailbox.queued for child in children if child.mailbox is not None))

    async def _look_at_queue(self) -> None:
        rows = await self._database.fetch(sql.load("metrics/look", package="actors"))
        self._metrics.queue_tasks.clear()
        self._metrics.queue_age.clear()
        ages: dict[str, float] = {}
        for row in rows:
            if row["entity_type"] is None:  # nothing waits at all
                continue
            entity = self._metrics.entity(row["entity_type"])  # several may share a series
            for status in STATUSES:
                self._metrics.queue_tasks.labels(entity, status).inc(row[status])
            ages[entity] = max(row["oldest_seconds"] or 0, ages.get(entity, 0))
        for entity, age in ages.items():
            self._metrics.queue_age.labels(entity).set(age)
        day = rows[0]
        rate = condition.success_rate(completed=day["completed"], dead_lettered=day["dead_lettered"])
        self._metrics.success_ratio.set(rate / 100)
        for severity in ("info", "warning", "error", "critical"):
            self._metrics.alerts.labels(severity).set(day[severity])


def summary(samples: list[Sample]) -> dict[str, float]:
    """The few numbers of a log line: gauges without labels, and tasks by status over all entities."""
    line = {sample.name.removeprefix("tds_"): sample.value for sample in samples if not sample.labels}
    for status in STATUSES:
        line[f"queue_{status}"] = sum(
            sample.value for sample in samples if sample.name == "tds_queue_tasks" and sample.labels["status"] == status
        )
    return line


def _heard(events: Subscription) -> Iterator[Event | Lagged]:
    """What has happened since the last look."""
    for _ in range(events.statistics().waiting + 1):
        try:
            yield events.next_nowait()
        except IndexError:
            return


def _walk(node: Snapshot) -> Iterator[Snapshot]:
    yield node
    for child in node.children:
        yield from _walk(child)
