"""Log and metric rules to notifications: every node hands over what it sees, one of them judges and tells.

Which one is decided by a lease in the database. All that it decides commits with the proof that it leads, and letters
go through an outbox there; so a crash loses nothing, and repeats at worst one letter, which says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime

import anyio
from anyio.abc import TaskGroup

from actors.alerting import posts, ways
from actors.alerting.channels import Channel, Undelivered
from actors.alerting.conditions import Conditions
from actors.alerting.delivery import Postman
from actors.alerting.desk import LEASE, Desk, Turn
from actors.alerting.outage import Outage
from actors.alerting.planning import Settings
from tds_runtime import Context, actor, logs
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone, LeaseLost
from tds_runtime.leader import Leader
from tds_runtime.metrics import Metrics
from tds_runtime.tap import Tap

OFFICE = "alerter"
LISTEN = 1.0
"""Seconds between two looks at what the log said."""
LATE = 0.05
"""Seconds after a moment at which what it makes due is looked at."""
FINISH = 5.0
"""Seconds that letters under way may still take when the actor is to stop."""
PATIENCE = 10.0
"""Seconds that the call of the dead man's switch may take."""


@actor(watchdog=120, stop=10)
async def alerter(
    ctx: Context,
    *,
    database: Database,
    tap: Tap,
    metrics: Metrics,
    settings: Settings,
    channels: Mapping[str, Channel],
    limits: Conditions,
    boot_id: str,
    node: str = "",
    redact: Callable[[str], str] = str,
) -> None:
    """Alert until stopped; with the database away only what is `direct` is told."""
    ctx.ready()
    leader = Leader(database, name=OFFICE, boot_id=boot_id, lease=LEASE)
    desk = Desk(
        database, leader, tap, metrics, settings=settings, limits=limits, boot_id=boot_id, node=node, redact=redact
    )
    postman = Postman(database, ways.with_log(channels), redact=redact)
    async with anyio.create_task_group() as group:
        watch = Watch(desk, postman, leader, settings, metrics=metrics, node=node, redact=redact)
        while not ctx.stopping.is_set():
            await watch.step(group)
            ctx.beat()
            with anyio.move_on_after(LISTEN):
                await ctx.stopping.wait()
        postman.close()  # a receiver may have got what is under way: without its end it would get that again
        group.cancel_scope.deadline = anyio.current_time() + FINISH  # then it stays in doubt, and the next one says so
    with suppress(DatabaseGone):
        await leader.resign()


class Watch:
    """When what is done: listening each second, a turn when something asks for it."""

    def __init__(
        self,
        desk: Desk,
        postman: Postman,
        leader: Leader,
        settings: Settings,
        *,
        metrics: Metrics,
        node: str = "",
        redact: Callable[[str], str] = str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._desk, self._postman, self._leader = desk, postman, leader
        self._options, self._metrics, self._clock = settings.options, metrics, clock
        self._outage = Outage(settings, node, redact)
        self._next = self._campaign = self._ping = 0.0
        self._led = self._begun = False
        self._log = logs.get("alerts")

    async def step(self, group: TaskGroup) -> None:
        """One second's work."""
        news = self._desk.listen()
        try:
            if news:
                await self._desk.hand_over()
            if anyio.current_time() >= self._campaign:
                self._led = await self._leader.campaign()
                self._campaign = anyio.current_time() + LEASE / 2
                self._begun = self._begun and self._led
            if self._led and (news or anyio.current_time() >= self._next):
                await self._turn(group)
        except LeaseLost:
            self._led = self._begun = False
            self._desk.forget()
        except DatabaseGone:
            self._desk.forget()
            await self._without_database()

    async def _turn(self, group: TaskGroup) -> None:
        if self._outage.told:
            await self._desk.record(self._outage.told)
        self._outage.over()
        turn = await self._desk.turn()
        if not turn.leads or turn.now is None:
            return
        if not self._begun:
            await self._postman.begin(turn.now)
            self._begun = True
        if turn.pending or self._postman.is_busy:
            await self._postman.send(group, turn.now)
        self._next = anyio.current_time() + self._pause(turn)
        self._call_home(group)

    def _pause(self, turn: Turn) -> float:
        """Until the next turn: soon while letters wait, at the moment that time asks for, else rarely."""
        if turn.pending or self._postman.is_busy:
            return self._options.every
        idle = self._options.idle
        if self._options.heartbeat_url:
            idle = min(idle, self._options.heartbeat_every)
        # A little late rather than a little early: what is due a moment later would wait for the turn after.
        return idle if turn.wait is None else min(max(turn.wait, LISTEN) + LATE, idle)

    async def _without_database(self) -> None:
        """The node that led last, and it alone, tells what can be told without a database."""
        if self._led:
            await self._outage.look(self._metrics.samples(), self._clock(), self._postman.tell_now)

    def _call_home(self, group: TaskGroup) -> None:
        if self._options.heartbeat_url and anyio.current_time() >= self._ping:
            self._ping = anyio.current_time() + self._options.heartbeat_every
            group.start_soon(self._ping_once)

    async def _ping_once(self) -> None:
        try:
            with anyio.fail_after(PATIENCE):
                await posts.ping(self._options.heartbeat_url, timeout=PATIENCE)
        except (Undelivered, TimeoutError) as error:
            self._log.warning("heartbeat.failed", reason=str(error))
