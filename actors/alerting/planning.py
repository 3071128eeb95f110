"""Who is told of what, and when: Alertmanager's timers over what is stored. Pure: the board in, the plan out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from actors.alerting.routing import (
    Alert,
    Group,
    Inhibit,
    Options,
    Route,
    Silence,
    group_key,
    reason_for_silence,
    routes_of,
)
from actors.alerting.rules import Rule, Step, rule_of

Kind = Literal["firing", "repeat", "escalation", "resolved", "summary"]


class Settings(Struct, frozen=True, kw_only=True):
    """What the configuration says of telling."""

    rules: Mapping[str, Rule]
    routes: Mapping[str, Route]
    inhibits: Sequence[Inhibit] = ()
    options: Options = Options()


class Board(Struct, frozen=True, kw_only=True):
    """Everything that is stored and not settled."""

    alerts: Sequence[Alert]
    groups: Mapping[tuple[str, str], Group]
    silences: Sequence[Silence] = ()


class Notice(Struct, frozen=True, kw_only=True):
    """Something to tell: what fires and what is over, to these channels."""

    kind: Kind
    route: str
    group_key: str
    channels: tuple[str, ...]
    firing: tuple[Alert, ...] = ()
    resolved: tuple[Alert, ...] = ()
    level: int = 0


class Entry(Struct, frozen=True, kw_only=True):
    """A line for an alert's event log."""

    alert_id: int
    kind: str
    detail: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be done in one transaction; `next_at` is when time alone will ask for more.

    alerts: as they are to be. groups: as they are to be; `closed` are to go. muted: of whom nobody is told, from now.
    """

    notices: tuple[Notice, ...] = ()
    alerts: tuple[Alert, ...] = ()
    settled: tuple[int, ...] = ()
    groups: tuple[Group, ...] = ()
    closed: tuple[Group, ...] = ()
    muted: tuple[Alert, ...] = ()
    entries: tuple[Entry, ...] = ()
    next_at: datetime | None = None


def plan(board: Board, settings: Settings, now: datetime) -> Plan:
    """Decide everything that is due at `now`."""
    return _Planner(board, settings, now).plan()


class _Planner:
    def __init__(self, board: Board, settings: Settings, now: datetime) -> None:
        self._board, self._settings, self._now = board, settings, now
        self._alerts = {alert.id: alert for alert in board.alerts}
        self._groups = dict(board.groups)
        self._changed: set[tuple[str, str]] = set()
        self._closed: list[Group] = []
        self._notices: list[Notice] = []
        self._entries: list[Entry] = []
        self._muted: list[Alert] = []
        self._moments: list[datetime] = []

    def plan(self) -> Plan:
        for alert in self._board.alerts:
            self._expire(alert)
        self._mute_and_unmute()
        for name, key, route, members in self._gathered():
            self._look_at(name, key, route, members)
        self._escalate()
        settled = self._settle()
        before = {alert.id: alert for alert in self._board.alerts}
        later = [moment for moment in self._moments if moment > self._now]
        return Plan(
            notices=tuple(self._notices),
            alerts=tuple(alert for alert in self._alerts.values() if alert != before[alert.id]),
            settled=settled,
            groups=tuple(self._groups[where] for where in sorted(self._changed) if where in self._groups),
            closed=tuple(self._closed),
            muted=tuple(self._muted),
            entries=tuple(self._entries),
            next_at=min(later, default=None),
        )

    def _note(self, alert: Alert, kind: str, detail: str = "") -> None:
        self._entries.append(Entry(alert_id=alert.id, kind=kind, detail=detail))

    # --- acknowledgements and silence

    def _expire(self, alert: Alert) -> None:
        """An acknowledgement that is too old is void: people are told as if the alert were new."""
        until = alert.acknowledged_until
        if alert.resolved_at is not None or not alert.acknowledged or until is None:
            return
        self._moments.append(until)
        if until > self._now:
            return
        self._note(alert, "acknowledgement_expired", f"of {alert.acknowledged_by or 'somebody'}")
        self._alerts[alert.id] = replace(
            alert, acknowledged=False, acknowledged_until=None, notified_at=None, escalation_level=0
        )
        for where, group in self._groups.items():
            if alert.id in group.told:
                self._put(where, replace(group, told=group.told - {alert.id}))

    def _mute_and_unmute(self) -> None:
        alerts = list(self._alerts.values())
        for silence in self._board.silences:
            self._moments.append(silence.expires_at)
        for alert in alerts:
            if alert.resolved_at is not None:
                continue
            reason = reason_for_silence(alert, alerts, self._board.silences, self._settings.inhibits, self._now)
            if reason == alert.muted:
                continue
            told = replace(alert, muted=reason)
            self._alerts[alert.id] = told
            self._note(alert, "muted" if reason else "unmuted", reason or f"no longer: {alert.muted}")
            if reason:
                self._muted.append(told)

    # --- groups

    def _gathered(self) -> Iterable[tuple[str, str, Route, list[Alert]]]:
        """The alerts of each route and group, also of groups of which none is left."""
        found: dict[tuple[str, str], list[Alert]] = {where: [] for where in self._groups}
        routes: dict[str, Route] = dict(self._settings.routes)
        for alert in self._alerts.values():
            for name, route in routes_of(alert, self._settings.routes):
                routes.setdefault(name, route)
                found.setdefault((name, group_key(route, alert)), []).append(alert)
        return [(name, key, routes.get(name, Route()), members) for (name, key), members in sorted(found.items())]

    def _look_at(self, name: str, key: str, route: Route, members: Sequence[Alert]) -> None:
        where = (name, key)
        firing = [alert for alert in members if alert.resolved_at is None and not alert.muted]
        group = self._groups.get(where)
        told = group.told if group else frozenset()
        over = [alert for alert in members if alert.resolved_at is not None and alert.id in told]
        if group is None:
            if not firing:
                return
            group = Group(route=name, group_key=key, first_at=self._now)
            self._put(where, group)
        news = [alert for alert in firing if alert.id not in told]
        due, kind = self._due(group, route, news, over, firing)
        if due is None:
            present = {alert.id for alert in members}
            if not firing and not (told & present):
                self._close(where, group)
            return
        self._moments.append(due)
        if due <= self._now:
            self._tell(where, group, route, kind=kind, firing=firing, over=over)

    def _due(
        self, group: Group, route: Route, news: Sequence[Alert], over: Sequence[Alert], firing: Sequence[Alert]
    ) -> tuple[datetime | None, Kind]:
        """When the group is told next, and as what."""
        if group.notified_at is None:
            return (group.first_at + timedelta(seconds=route.group_wait), "firing") if firing else (None, "firing")
        if news or over:
            return group.notified_at + timedelta(seconds=route.group_interval), "firing" if news else "resolved"
        if firing:
            return group.notified_at + timedelta(seconds=route.repeat_interval), "repeat"
        return None, "repeat"

    def _tell(
        self,
        where: tuple[str, str],
        group: Group,
        route: Route,
        *,
        kind: Kind,
        firing: Sequence[Alert],
        over: Sequence[Alert],
    ) -> None:
        channels = dict.fromkeys(route.channels)
        for alert in over:  # who was told by an escalation hears the end as well
            for step in self._steps(alert, route)[: alert.escalation_level]:
                channels.update(dict.fromkeys(step.channels))
        self._notices.append(
            Notice(
                kind="resolved" if not firing else kind,
                route=group.route,
                group_key=group.group_key,
                channels=tuple(channels),
                firing=tuple(firing),
                resolved=tuple(over),
            )
        )
        for alert in firing:
            if alert.notified_at is None:
                self._alerts[alert.id] = replace(self._alerts[alert.id], notified_at=self._now)
        told = (group.told | {alert.id for alert in firing}) - {alert.id for alert in over}
        self._put(where, replace(group, notified_at=self._now, told=told))

    def _put(self, where: tuple[str, str], group: Group) -> None:
        self._groups[where] = group
        self._changed.add(where)

    def _close(self, where: tuple[str, str], group: Group) -> None:
        del self._groups[where]
        if where in self._board.groups:
            self._closed.append(group)

    # --- escalation

    def _steps(self, alert: Alert, route: Route) -> tuple[Step, ...]:
        rule = rule_of(self._settings.rules, alert.alert_type)
        own = rule.escalation if rule is not None else None
        return route.escalation if own is None else own

    def _escalate(self) -> None:
        """The next step, for each alert of which somebody was told and that nobody acknowledged in time."""
        for alert in list(self._alerts.values()):
            if alert.resolved_at is not None or alert.muted or alert.notified_at is None:
                continue
            name, route = routes_of(alert, self._settings.routes)[0]
            steps = self._steps(alert, route)
            level = alert.escalation_level
            while level < len(steps):
                due = alert.notified_at + timedelta(seconds=sum(step.after for step in steps[: level + 1]))
                self._moments.append(due)
                if due > self._now:
                    break
                level += 1
                channels = steps[level - 1].channels
                self._note(alert, "escalated", f"step {level}: {', '.join(channels)}")
                self._notices.append(
                    Notice(
                        kind="escalation",
                        route=name,
                        group_key=group_key(route, alert),
                        channels=channels,
                        firing=(alert,),
                        level=level,
                    )
                )
            if level != alert.escalation_level:
                self._alerts[alert.id] = replace(alert, escalation_level=level)

    def _settle(self) -> tuple[int, ...]:
        """Resolved alerts of which nobody has to be told any more."""
        awaited = {number for group in self._groups.values() for number in group.told}
        settled = []
        for alert in self._alerts.values():
            if alert.resolved_at is None or alert.id in awaited:
                continue
            settled.append(alert.id)
            if alert.notified_at is None:
                self._note(alert, "untold", f"over before anybody was told: {alert.muted}".rstrip(": "))
        return tuple(settled)
