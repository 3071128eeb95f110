"""Puts right what got stuck, keeps the tables in shape, and says so: every round leaves a row, a log line and counts.

A round may run on every node at once: each statement skips what another one holds, and repeats are harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

import asyncpg
import msgspec
from msgspec import Meta, Struct

from actors.alerting import conditions
from actors.alerting.conditions import Conditions
from actors.condition import Thresholds
from actors.messages import Heal, Healed
from actors.service_levels import levels as service_levels
from actors.service_levels import reading
from tds_runtime import Context, Inbox, Mailbox, actor, logs, ride_out, sql
from tds_runtime.database import Database
from tds_runtime.metrics import Metrics
from tds_runtime.queue import Moved, Queue, Selection
from tds_runtime.values import Duration

AT_A_TIME = 5_000
"""Rows that one statement removes at most."""

ROUNDS = 20
"""Statements of one table in one round; the rest is for the next."""

UNJUDGED = Duration("1d")
"""What nodes have seen and nobody has judged for so long is no news any more."""

Prune = tuple[str, Duration]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[healer]`.

    stuck_after: a task in flight for longer goes back to the queue, whoever holds it.
    retry_after: a dead letter is tried again so long after its burial, `retry_times` times, `retry_limit` a round.
    silence: an alert when a source that used to send webhooks has sent none for so long.
    heartbeat: an alert when a node that did not stop has not been heard of for so long.
    partitions_ahead: days for which partitions are made in advance.
    """

    stuck_after: Duration = Duration("60m")
    retry_after: Duration = Duration("24h")
    retry_times: Annotated[int, Meta(ge=0)] = 3
    retry_limit: Annotated[int, Meta(ge=1)] = 100
    silence: Duration = Duration("6h")
    heartbeat: Duration = Duration("5m")
    partitions_ahead: Annotated[int, Meta(ge=1, le=60)] = 14
    thresholds: Thresholds = Thresholds()


class Retention(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[retention]`: how long finished things are kept. Dead letters stay until they are resolved."""

    completed: Duration = Duration("14d")
    inbox: Duration = Duration("30d")
    event_ids: Duration = Duration("30d")
    logs: Duration = Duration("30d")
    metrics: Duration = Duration("7d")
    hourly_metrics: Duration = Duration("400d")
    runs: Duration = Duration("400d")
    alerts: Duration = Duration("400d")
    audit: Duration = Duration("400d")
    slots: Duration = Duration("400d")
    healings: Duration = Duration("400d")
    minutes: Duration = Duration("14d")
    faults: Duration = Duration("400d")
    service_levels: Duration = Duration("400d")
    dead_letters: Duration = Duration("400d")


class Upkeep(Struct, frozen=True, kw_only=True):
    """What a round did to the tables: partitions made and dropped, rows summed up and removed."""

    partitions_made: int
    partitions_dropped: int
    hours_rolled_up: int
    days_rolled_up: int
    rows_pruned: dict[str, int]


@actor(mailbox=Mailbox(8, overflow="reject"), watchdog=300, stop=15)
async def healer(
    ctx: Context,
    inbox: Inbox[Heal],
    *,
    database: Database,
    queue: Queue,
    metrics: Metrics,
    options: Options,
    retention: Retention,
    levels: service_levels.Options = service_levels.DEFAULTS,
    node: str = "",
) -> None:
    """Heal whenever asked; the schedule asks every 15 minutes."""
    ctx.ready()
    async for message in inbox:
        work = Healer(
            database, queue, metrics, options=options, retention=retention, levels=levels, node=node, beat=ctx.beat
        )
        inbox.reply(message, await ride_out(ctx, "database", work.heal))


class Healer:
    """One round, from the tasks to the tables."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        metrics: Metrics,
        *,
        options: Options,
        retention: Retention,
        levels: service_levels.Options = service_levels.DEFAULTS,
        node: str = "",
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._queue, self._metrics = database, queue, metrics
        self._options, self._retention, self._levels = options, retention, levels
        self._node, self._beat = node, beat
        self._log = logs.get("healer")

    async def heal(self) -> Healed:
        """Put everything right that can be; DatabaseGone when nothing can, and then all of it is for the next round."""
        recovered = await self.recover()
        retried = await self.retry()
        upkeep = await self.keep_up()
        alerts = await self.watch(recovered)
        healed = await self._store(recovered, retried, alerts, upkeep)
        self._count(recovered, retried, alerts)
        fields = {name: value for name, value in msgspec.structs.asdict(healed).items() if name != "timestamp"}
        self._log.info("healer.finished", **fields, **msgspec.to_builtins(upkeep))
        return healed

    async def recover(self) -> int:
        """Give back what dead nodes hold and what has been in flight for too long."""
        expired = await self._all_of(lambda: _count_of(self._queue.return_expired()))
        stuck = await self._all_of(lambda: _count_of(self._queue.return_stuck(self._options.stuck_after)))
        return expired + stuck

    async def retry(self) -> int:
        """Give dead letters that have waited long enough one more attempt each."""
        if not self._options.retry_times:
            return 0
        due = Selection(older_than=self._options.retry_after, retried_at_most=self._options.retry_times - 1)
        return await self._queue.retry_dead(due, by="healer", once=True, limit=self._options.retry_limit)

    async def keep_up(self) -> Upkeep:
        """Make the partitions to come, sum up samples by the hour and levels by the day, let go of what is old."""
        keep = self._retention
        made = await self._unless_locked("make_partitions", self._options.partitions_ahead)
        hours = await self._value("roll_up")
        await self._all_of(lambda: self._value("roll_up_durations"))
        days = await reading.keep_days(self._database, self._levels)
        dropped = await self._unless_locked("drop_partitions", keep.completed, keep.audit)
        pruned = {table: await self._pruned(table, age) for table, age in self._ages()}
        return Upkeep(
            partitions_made=made,
            partitions_dropped=dropped,
            hours_rolled_up=hours,
            days_rolled_up=days,
            rows_pruned={table: rows for table, rows in pruned.items() if rows},
        )

    async def watch(self, recovered: int) -> int:
        """Open an alert for each cause that holds and has none, close those whose cause is gone; how many are new."""
        options = self._options
        limits = Conditions(thresholds=options.thresholds, silence=options.silence, heartbeat=options.heartbeat)
        opened = await conditions.watch(self._database, limits, recovered)
        for one in opened:
            self._log.warning("alert.opened", alert_type=one.alert_type, severity=one.severity, title=one.title)
        return len(opened)

    def _ages(self) -> tuple[Prune, ...]:
        keep = self._retention
        return (
            ("undated", keep.completed),
            ("inbox", keep.inbox),
            ("unnamed", keep.inbox),
            ("event_ids", keep.event_ids),
            ("logs", keep.logs),
            ("metrics", keep.metrics),
            ("hourly_metrics", keep.hourly_metrics),
            ("runs", keep.runs),
            ("findings", keep.runs),
            ("reports", keep.runs),
            ("comparisons", keep.runs),
            ("jobs", keep.runs),
            ("alerts", keep.alerts),
            ("notifications", keep.alerts),
            ("silences", keep.alerts),
            ("observations", UNJUDGED),
            ("slots", keep.slots),
            ("healings", keep.healings),
            ("minutes", keep.minutes),
            ("durations", keep.minutes),
            ("faults", keep.faults),
            ("service_levels", keep.service_levels),
            ("dead_letters", keep.dead_letters),
        )

    async def _pruned(self, table: str, age: Duration) -> int:
        return await self._all_of(lambda: self._value(f"prune_{table}", age, AT_A_TIME))

    async def _all_of(self, move: Callable[[], Awaitable[int]]) -> int:
        """Repeat a bounded statement until it finds nothing more, or until enough was done for one round."""
        total = 0
        for _ in range(ROUNDS):
            moved = await move()
            self._beat()
            total += moved
            if moved == 0:
                break
        return total

    async def _unless_locked(self, name: str, *arguments: object) -> int:
        try:
            return await self._value(name, *arguments)
        except asyncpg.LockNotAvailableError:  # a long reader or another node; there are partitions for two weeks
            self._log.warning("healer.locked_out", statement=name)
            return 0

    async def _value(self, name: str, *arguments: object) -> int:
        return int(await self._database.fetchval(_load(name), *arguments) or 0)

    async def _store(self, recovered: int, retried: int, alerts: int, upkeep: Upkeep) -> Healed:
        details = msgspec.json.encode(upkeep).decode()
        at = await self._database.fetchval(_load("store"), self._node, recovered, retried, alerts, details)
        return Healed(stuck_tasks_recovered=recovered, dlq_items_retried=retried, alerts_created=alerts, timestamp=at)

    def _count(self, recovered: int, retried: int, alerts: int) -> None:
        for kind, count in (("stuck_task", recovered), ("dead_letter", retried), ("alert", alerts)):
            self._metrics.healed.labels(kind).inc(count)


async def _count_of(moving: Awaitable[Moved]) -> int:
    return len((await moving).ids)


def _load(name: str) -> str:
    return sql.load(f"healer/{name}", package="actors")
