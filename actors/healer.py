"""Puts right what got stuck, keeps the tables in shape, and says so: every round leaves a row, a log line and counts.

A round may run on every node at once: each statement skips what another one holds, and repeats are harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from actors import healings
from actors.alerting import conditions
from actors.alerting.conditions import Conditions
from actors.condition import Thresholds
from actors.healing import gaps, letters, silence, upkeep
from actors.healing.upkeep import Retention, Upkeep
from actors.messages import Heal, Healed, HealWake
from actors.service_levels import levels as service_levels
from actors.zoho.entities import Entities
from tds_runtime import Context, Inbox, Mailbox, actor, logs, ride_out, sql
from tds_runtime.database import Database
from tds_runtime.errors import LeaseLost
from tds_runtime.metrics import Metrics
from tds_runtime.queue import Moved, Queue
from tds_runtime.values import Duration

__all__ = ["Healer", "Options", "Retention", "healer"]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[healer]`.

    stuck_after: a task in flight for longer goes back to the queue, whoever holds it.
    retry_after: a dead letter is tried again so long after its burial, or at once when what it failed on has changed;
        `retry_times` times, `retry_limit` a round.
    silence: when a source that used to send webhooks has sent none for so long there is an alert, and an incremental
        pull every `silent_pull` until one comes.
    fetch_limit: records a round that a comparison found missing, or whose children have lost them, are fetched.
    orphans_every: the child tables are read whole for that, and not more often.
    heartbeat: an alert when a node that did not stop has not been heard of for so long.
    partitions_ahead: days for which partitions are made in advance.
    """

    stuck_after: Duration = Duration("60m")
    retry_after: Duration = Duration("24h")
    retry_times: Annotated[int, Meta(ge=0)] = 3
    retry_limit: Annotated[int, Meta(ge=1)] = 100
    silence: Duration = Duration("6h")
    silent_pull: Duration = Duration("15m")
    fetch_limit: Annotated[int, Meta(ge=0)] = 100
    orphans_every: Duration = Duration("6h")
    heartbeat: Duration = Duration("5m")
    partitions_ahead: Annotated[int, Meta(ge=1, le=60)] = 14
    thresholds: Thresholds = Thresholds()


class Premises(Struct, frozen=True, kw_only=True):
    """What a healer looks after beside the queue and the tables.

    Attributes:
        entities: Whose missing records and orphans are fetched.
        fingerprints: By entity what decides how its tasks end; another one is a reason to try dead letters again.
        graces: By schedule how late its success may be.
        mend: Rebuilds this process's connections to the source if they are broken; True when they were.
    """

    entities: Entities
    fingerprints: Mapping[str, str]
    graces: Mapping[str, Duration]
    mend: Callable[[], Awaitable[bool]]


class Round(Struct, frozen=True, kw_only=True):
    """What a round put right beside tasks and dead letters; its row keeps it as `details`."""

    pulls_requested: int
    missing_fetched: int
    orphans_fetched: int
    pools_rebuilt: int
    upkeep: Upkeep


@actor(mailbox=Mailbox(8, overflow="reject"), watchdog=300, stop=15)
async def healer(
    ctx: Context,
    inbox: Inbox[Heal | HealWake],
    *,
    database: Database,
    queue: Queue,
    metrics: Metrics,
    options: Options,
    retention: Retention,
    levels: service_levels.Options = service_levels.DEFAULTS,
    node: str = "",
    premises: Premises | None = None,
) -> None:
    """Heal whenever a row or a person asks; the schedule leaves a row every 15 minutes."""
    ctx.ready()
    work = Healer(
        database,
        queue,
        metrics,
        options=options,
        retention=retention,
        levels=levels,
        node=node,
        premises=premises,
        beat=ctx.beat,
    )
    await ride_out(ctx, "database", work.heal_asked)  # what an earlier incarnation has left, or nobody heard of
    async for message in inbox:
        if isinstance(message, Heal):
            inbox.reply(message, await ride_out(ctx, "database", work.heal))
        else:
            await ride_out(ctx, "database", work.heal_asked)


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
        premises: Premises | None = None,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._queue, self._metrics = database, queue, metrics
        self._options, self._retention, self._levels = options, retention, levels
        self._premises = premises or Premises(entities=Entities(()), fingerprints={}, graces={}, mend=_whole)
        self._node, self._beat = node, beat
        self._log = logs.get("healer")

    async def heal(self) -> Healed:
        """Put everything right that can be; DatabaseGone when nothing can, and then all of it is for the next round."""
        boot = self._queue.boot_id
        asked = await healings.begin(self._database, boot, self._node)
        return await self._round(asked or await healings.begin_now(self._database, boot, self._node, "by hand"))

    async def heal_asked(self) -> None:
        """One round for each row that waits for one."""
        while (asked := await healings.begin(self._database, self._queue.boot_id, self._node)) is not None:
            try:
                await self._round(asked)
            except LeaseLost as error:
                self._log.warning("healing.lost", healing_id=asked, reason=str(error))

    async def _round(self, healing_id: int) -> Healed:
        recovered = await self.recover()
        retried = await self.retry()
        mended = await self._mend()
        alerts = await self.watch(recovered, mended.missing_fetched)
        healed = await self._store(healing_id, recovered, retried, alerts, mended)
        self._count(healed, mended)
        fields = {name: value for name, value in msgspec.structs.asdict(healed).items() if name != "timestamp"}
        self._log.info("healer.finished", healing_id=healing_id, **fields, **_flat(mended))
        return healed

    async def recover(self) -> int:
        """Give back what dead nodes hold and what has been in flight for too long."""
        stuck_after = self._options.stuck_after
        expired = await upkeep.all_of(lambda: _count_of(self._queue.return_expired()), self._beat)
        stuck = await upkeep.all_of(lambda: _count_of(self._queue.return_stuck(stuck_after)), self._beat)
        return expired + stuck

    async def retry(self) -> int:
        """Give dead letters that have waited long enough, or whose reason may be gone, one more attempt each."""
        options = self._options
        return await letters.retry(
            self._queue,
            self._premises.fingerprints,
            after=options.retry_after,
            times=options.retry_times,
            limit=options.retry_limit,
        )

    async def keep_up(self) -> Upkeep:
        """Make the partitions that will be needed, sum samples up by the hour, and let go of what is old."""
        return await upkeep.keep_up(
            self._database, self._retention, self._levels, self._options.partitions_ahead, self._beat
        )

    async def watch(self, recovered: int, missing: int = 0) -> int:
        """Open an alert for each cause that holds and has none, close those whose cause is gone; how many are new."""
        options = self._options
        limits = Conditions(
            thresholds=options.thresholds,
            silence=options.silence,
            heartbeat=options.heartbeat,
            graces=self._premises.graces,
        )
        opened = await conditions.watch(self._database, limits, recovered, missing)
        for one in opened:
            self._log.warning("alert.opened", alert_type=one.alert_type, severity=one.severity, title=one.title)
        return len(opened)

    async def _mend(self) -> Round:
        options, entities = self._options, self._premises.entities
        most, every = options.fetch_limit, options.orphans_every
        rebuilt = await self._premises.mend()
        pulls = await silence.pull(self._database, options.silence, options.silent_pull)
        missing = await gaps.fetch_missing(self._database, self._queue, entities, most)
        self._beat()
        orphaned = await gaps.fetch_orphaned(self._database, self._queue, entities, most, every)
        self._beat()
        return Round(
            pulls_requested=pulls,
            missing_fetched=missing,
            orphans_fetched=orphaned,
            pools_rebuilt=int(rebuilt),
            upkeep=await self.keep_up(),
        )

    async def _store(self, healing_id: int, recovered: int, retried: int, alerts: int, mended: Round) -> Healed:
        details = msgspec.json.encode(_flat(mended)).decode()
        values = (healing_id, recovered, retried, alerts, details)
        at = await self._database.fetchval(sql.load("healer/store", package="actors"), *values)
        if at is None:
            raise LeaseLost(f"round {healing_id} took longer than it may")
        return Healed(stuck_tasks_recovered=recovered, dlq_items_retried=retried, alerts_created=alerts, timestamp=at)

    def _count(self, healed: Healed, mended: Round) -> None:
        kinds = {
            "stuck_task": healed.stuck_tasks_recovered,
            "dead_letter": healed.dlq_items_retried,
            "alert": healed.alerts_created,
            "pull": mended.pulls_requested,
            "missing_record": mended.missing_fetched,
            "orphan": mended.orphans_fetched,
            "pool": mended.pools_rebuilt,
        }
        for kind, count in kinds.items():
            self._metrics.healed.labels(kind).inc(count)


async def _count_of(moving: Awaitable[Moved]) -> int:
    return len((await moving).ids)


async def _whole() -> bool:
    return False


def _flat(mended: Round) -> dict[str, Any]:
    """What was put right beside what was done to the tables."""
    details: dict[str, Any] = msgspec.to_builtins(mended)
    return {**details.pop("upkeep"), **details}
