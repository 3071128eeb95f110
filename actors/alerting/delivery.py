"""Empties the outbox: each channel by itself, so that one that hangs delays nobody; every attempt leaves its end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

import anyio
import msgspec
from anyio.abc import TaskGroup
from msgspec import Struct

from actors.alerting import letters, ways
from actors.alerting.channels import Channel, Refused, Undelivered
from actors.alerting.letters import Letter
from tds_runtime import logs, sql
from tds_runtime.backoff import Backoff
from tds_runtime.breaker import Breaker, State
from tds_runtime.database import Database, storable
from tds_runtime.errors import BreakerOpen, DatabaseGone
from tds_runtime.upstreams import Shared

PAUSES = Backoff(15.0, 1800.0, jitter=0.2)
"""Between the attempts of one notification."""
UPSTREAM = "channel:"
"""Before a channel's name among the upstreams whose breakers are kept."""

Tell = Callable[[Channel, Letter, str], Awaitable[None]]


class Task(Struct, frozen=True, kw_only=True):
    """A notification that was claimed: its attempt's number, and whether an attempt before ended nobody knows how."""

    id: int
    channel: str
    kind: str
    letter: str
    attempt_count: int
    in_doubt: bool
    alert_ids: list[int]


class Ending(Struct, frozen=True, kw_only=True):
    """How an attempt ended; `wait` seconds until the next one, `given_back` attempts that did not count."""

    status: str
    reason: str = ""
    in_doubt: bool = False
    wait: float = 0.0
    given_back: int = 0


class Postman:
    """Sends what is due, at most one letter a channel at a time."""

    def __init__(
        self,
        database: Database,
        channels: Mapping[str, Channel],
        *,
        redact: Callable[[str], str] = str,
        tell: Tell = ways.tell,
        random: Random | None = None,
    ) -> None:
        self._database, self._channels = database, channels
        self._shared = Shared(database)
        self._redact, self._tell = redact, tell
        self._random = random or Random()  # noqa: S311 - spreads retries, keeps no secret
        self._busy: set[str] = set()
        self._closing = False
        self.breakers = {
            name: Breaker(f"{UPSTREAM}{name}", channel.breaker) for name, channel in channels.items()
        }  # fmt: skip
        self._saved: dict[str, State] = {}
        self._reset_at: dict[str, float] = {}
        self._log = logs.get("alerts")

    @property
    def is_busy(self) -> bool:
        """Whether a letter is on its way."""
        return bool(self._busy)

    async def begin(self, now: datetime) -> None:
        """Continue from what was left: breakers as they were, and nothing waits for a channel that is gone."""
        names = [breaker.name for breaker in self.breakers.values()]
        await self._shared.ensure(names)
        known = await self._shared.read()
        for breaker in self.breakers.values():
            breaker.restore(known[breaker.name].breaker)
            self._saved[breaker.name] = breaker.state
            self._reset_at[breaker.name] = known[breaker.name].reset_requested_at
        for row in await self._database.fetch(_load("abandon"), list(self._channels), now):
            self._log.warning("notification.abandoned", notification=row["id"])

    async def send(self, group: TaskGroup, now: datetime) -> int:
        """Start sending what is due on every channel that is free; returns how many began. Waits for none of them."""
        await self._keep_breakers()
        free = [name for name in self._channels if name not in self._busy]
        tasks = await self._claim(free, now)
        for task in tasks:
            self._busy.add(task.channel)
            group.start_soon(self._work, task, now)
        return len(tasks)

    async def send_all(self, now: datetime) -> None:
        """Send what is due and wait for the end of it."""
        async with anyio.create_task_group() as group:
            await self.send(group, now)

    def close(self) -> None:
        """Begin no other letter; those on their way come to their end."""
        self._closing = True

    async def tell_now(self, channel: str, letter: Letter, number: str) -> str:
        """One attempt beside the outbox; "" or why it failed."""
        try:
            with self.breakers[channel].admit() as permit:
                await self._attempt(self._channels[channel], letter, number, permit)
        except (Undelivered, BreakerOpen) as error:
            return storable(self._redact(str(error)))
        return ""

    async def _claim(self, channels: Sequence[str], now: datetime) -> list[Task]:
        if not channels:
            return []
        rows = await self._database.fetch(_load("claim"), list(channels), now)
        return [Task(**dict(row.items())) for row in rows]

    async def _work(self, task: Task, now: datetime) -> None:
        """One letter after the other on one channel, until none is due."""
        try:
            following: Task | None = task
            while following is not None:
                await self._end(following, await self._deliver(following), now)
                found = [] if self._closing else await self._claim([task.channel], now)
                following = found[0] if found else None
        except DatabaseGone:
            # The attempt stays in doubt: whoever claims it next sends it again and says that it may be a repeat.
            self._log.warning("notification.in_doubt", channel=task.channel)
        finally:
            self._busy.discard(task.channel)

    async def _deliver(self, task: Task) -> Ending:
        channel = self._channels[task.channel]
        if task.kind == "resolved" and not channel.resolved:
            return Ending(status="suppressed", reason="the channel takes no notices of what is over", given_back=1)
        letter = msgspec.json.decode(task.letter, type=Letter)
        if task.in_doubt:
            letter = letters.doubted(letter)
        try:
            with self.breakers[task.channel].admit() as permit:
                await self._attempt(channel, letter, f"notification-{task.id}", permit)
        except BreakerOpen as error:
            return Ending(status="pending", reason=str(error), wait=_until(error), given_back=1, in_doubt=task.in_doubt)
        except Undelivered as error:
            return self._failed(task, channel, error)
        return Ending(status="sent", reason=letters.DOUBT if task.in_doubt else "")

    async def _attempt(self, channel: Channel, letter: Letter, number: str, permit: Any) -> None:
        """A refusal is an answer: its breaker hears of failures only."""
        try:
            await self._tell(channel, letter, number)
        except Refused:
            permit.succeed()
            raise
        except Undelivered as error:
            permit.fail(storable(self._redact(str(error)))[:200])
            raise
        permit.succeed()

    def _failed(self, task: Task, channel: Channel, error: Undelivered) -> Ending:
        reason = storable(self._redact(str(error)))
        final = task.attempt_count >= channel.tries
        self._log.warning(
            "notification.failed", channel=task.channel, reason=reason, attempt=task.attempt_count, final=final
        )
        return Ending(
            status="failed" if final else "pending",
            reason=reason,
            in_doubt=task.in_doubt or error.in_doubt,
            wait=PAUSES.delay(task.attempt_count, self._random),
        )

    async def _end(self, task: Task, ending: Ending, now: datetime) -> None:
        await self._database.execute(
            _load("end"), task.id, task.attempt_count, ending.status, ending.reason, ending.in_doubt, ending.wait,
            ending.given_back, now,
        )  # fmt: skip

    async def _keep_breakers(self) -> None:
        """Save what changed; where one is not closed, look whether somebody closed it by hand."""
        for breaker in self.breakers.values():
            if breaker.state.phase != self._saved.get(breaker.name, State()).phase:
                await self._shared.save_breaker(breaker.name, breaker.state)
                self._saved[breaker.name] = breaker.state
        if all(breaker.state.phase == "closed" for breaker in self.breakers.values()):
            return
        known = await self._shared.read()
        for breaker in self.breakers.values():
            asked = known[breaker.name].reset_requested_at if breaker.name in known else 0.0
            if asked > self._reset_at.get(breaker.name, 0.0):
                self._reset_at[breaker.name] = asked
                breaker.reset()


def _until(error: BreakerOpen) -> float:
    until = error.until or datetime.now(UTC)
    return max((until - datetime.now(UTC)).total_seconds(), 1.0)


def _load(name: str) -> str:
    return sql.load(f"alert/{name}", package="actors")
