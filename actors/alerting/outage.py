"""Telling without the database, while that is what is wrong: only `direct` rules, only on the node that led last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import anyio
from msgspec import Struct

from actors.alerting import letters, routing
from actors.alerting.evaluation import Change, evaluate
from actors.alerting.letters import Letter
from actors.alerting.observations import Reader
from actors.alerting.planning import Notice, Settings
from actors.alerting.routing import Alert
from actors.alerting.series import Series
from tds_runtime import logs
from tds_runtime.metrics import Sample

TellNow = Callable[[str, Letter, str], Awaitable[str]]


class Told(Struct, frozen=True):
    """What was told, when, and through which channels with what success."""

    change: Change
    notice: Notice
    how: str
    at: datetime


class Outage:
    """One absence of the database. It remembers what it told until that can be written down."""

    def __init__(self, settings: Settings, node: str, redact: Callable[[str], str] = str) -> None:
        self._rules = {name: rule for name, rule in settings.rules.items() if rule.direct and rule.enabled}
        self._settings, self._node, self._redact = settings, node, redact
        self._reader = Reader()
        self._state: dict[str, dict[str, Series]] = {}
        self.told: list[Told] = []

    async def look(self, samples: Sequence[Sample], now: datetime, tell: TellNow) -> None:
        """Judge the direct rules by this node's samples, and tell at once what fires."""
        own = [Sample(name=one.name, labels={**one.labels, "node": self._node}, value=one.value) for one in samples]
        readings = self._reader.read(self._rules, own, now.timestamp())
        self._state, changes = evaluate(self._rules, self._state, readings, now.timestamp())
        for change in changes:
            if change.what == "opened":
                await self._tell(change, now, tell)

    def over(self) -> None:
        """The database is back, and what was told meanwhile is written down."""
        self.told, self._state = [], {}

    async def _tell(self, change: Change, now: datetime, tell: TellNow) -> None:
        alert = _alert(change, now)
        name, route = routing.routes_of(alert, self._settings.routes)[0]
        notice = Notice(
            kind="firing",
            route=name,
            group_key=routing.group_key(route, alert),
            channels=route.channels,
            firing=(alert,),
        )
        letter = letters.compose(notice, self._settings.rules, self._redact)
        ends = await _at_once(route.channels, letter, _number(change, now), tell)
        how = f"without the database: {'; '.join(f'{channel}: {end}' for channel, end in ends.items())}"
        logs.get("alerts").error("alert.told_directly", alert_type=change.type, title=change.title, how=how)
        self.told.append(Told(change, notice, how, now))


async def _at_once(channels: Sequence[str], letter: Letter, number: str, tell: TellNow) -> dict[str, str]:
    """Tell all of them at the same time; one that hangs keeps the others' letters from nobody."""
    ends = dict.fromkeys(channels, "")

    async def one(channel: str) -> None:
        ends[channel] = await tell(channel, letter, number) or "sent"

    async with anyio.create_task_group() as group:
        for channel in ends:
            group.start_soon(one, channel)
    return ends


def _alert(change: Change, now: datetime) -> Alert:
    return Alert(
        id=0,
        alert_type=change.type,
        severity=change.severity,
        cause=change.cause,
        title=change.title,
        message=change.message,
        rule=change.rule,
        runbook=change.runbook,
        labels=change.labels,
        metadata=change.metadata,
        created_at=now,
        first_seen_at=now,
        last_seen_at=now,
    )


def _number(change: Change, now: datetime) -> str:
    return f"direct-{change.type}-{int(now.timestamp())}"
