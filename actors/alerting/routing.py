"""What `[route.NAME]`, `[[inhibit]]` and `[alerter]` may say: whom an alert concerns, and when nobody is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from actors.alerting.rules import Severity, Step
from tds_runtime.values import Duration, Secret

DEFAULT_ROUTE = "default"
LOG = "log"
"""The channel that is always there."""

Words = str | tuple[str, ...]


class Alert(Struct, frozen=True, kw_only=True):
    """One alert as it is stored."""

    id: int
    alert_type: str
    severity: Severity
    cause: str
    title: str
    message: str = ""
    rule: str = ""
    runbook: str = ""
    labels: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    occurrences: int = 1
    created_at: datetime
    first_seen_at: datetime
    last_seen_at: datetime
    acknowledged: bool = False
    acknowledged_by: str | None = None
    acknowledged_until: datetime | None = None
    comment: str | None = None
    notified_at: datetime | None = None
    escalation_level: int = 0
    muted: str = ""
    resolved_at: datetime | None = None

    def value(self, name: str) -> str:
        """What a matcher compares: type, severity, cause, rule, or a label."""
        match name:
            case "type":
                return self.alert_type
            case "severity" | "cause" | "rule":
                return str(getattr(self, name))
            case _:
                return str(self.labels.get(name, self.metadata.get(name, "")))


class Matchers(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which alerts are meant: all that is said must fit; a list means one of them. Nothing said means every alert."""

    type: Words = ()
    severity: Severity | tuple[Severity, ...] = ()
    cause: Words = ()
    labels: dict[str, Words] = {}

    def match(self, alert: Alert) -> bool:
        """Whether an alert is one of them."""
        named: dict[str, Words] = {"type": self.type, "severity": self.severity, "cause": self.cause, **self.labels}
        return all(_fits(alert.value(name), words) for name, words in named.items() if words != ())

    @property
    def is_empty(self) -> bool:
        """Whether it means every alert."""
        return self == Matchers()


def _fits(value: str, words: Words) -> bool:
    return value == words if isinstance(words, str) else value in words


class Route(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[route.NAME]`: which alerts go to which channels. The first route that matches takes the alert.

    match: which. channels: where to. go_on: let later routes look at it, too.
    group_by: alerts that agree in these (type, severity, cause, rule or a label) are told together.
    group_wait: how long the first one waits for company. group_interval: until news of a group that was told is told.
    repeat_interval: until what still fires is told again. escalation: whom else to tell while nobody acknowledges.
    """

    match: Matchers = Matchers()
    channels: Annotated[tuple[str, ...], Meta(min_length=1)] = (LOG,)
    go_on: bool = False
    group_by: tuple[str, ...] = ("type",)
    group_wait: Duration = Duration("30s")
    group_interval: Duration = Duration("5m")
    repeat_interval: Duration = Duration("4h")
    escalation: tuple[Step, ...] = ()


class Inhibit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[[inhibit]]`: while an alert of `source` fires, nobody is told of `target` where both agree in `equal`."""

    source: Matchers
    target: Matchers = Matchers()
    equal: tuple[str, ...] = ()

    def mutes(self, source: Alert, target: Alert) -> bool:
        """Whether one alert mutes the other; none mutes itself, nor another of its own source."""
        return (
            source.id != target.id
            and self.source.match(source)
            and self.target.match(target)
            and not self.source.match(target)
            and all(source.value(name) == target.value(name) for name in self.equal)
        )


class Silence(Struct, frozen=True, kw_only=True):
    """Nobody is told of these alerts until then: who said so, and why."""

    id: int
    matchers: Matchers
    author: str
    comment: str
    created_at: datetime
    expires_at: datetime


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[alerter]`.

    every: between two looks while something is going on; else it is `idle`.
    acknowledged_for: after so long an acknowledgement is void and people are told again.
    flood, flood_window: notifications that a channel takes at most in that time; the rest comes as one summary.
    heartbeat_url, heartbeat_every: an address that is called while all is well; who watches it notices our silence.
    """

    every: Duration = Duration("5s")
    idle: Duration = Duration("45s")
    acknowledged_for: Duration = Duration("24h")
    flood: Annotated[int, Meta(ge=1)] = 20
    flood_window: Duration = Duration("10m")
    heartbeat_url: Secret = Secret("")
    heartbeat_every: Duration = Duration("60s")


class Group(Struct, frozen=True, kw_only=True):
    """What was told together: since when it waits, when it was told last, and of which alerts."""

    route: str
    group_key: str
    first_at: datetime
    notified_at: datetime | None = None
    told: frozenset[int] = field(default_factory=frozenset)


def routes_of(alert: Alert, routes: Mapping[str, Route]) -> list[tuple[str, Route]]:
    """The routes that take an alert; where none does, it goes to the log."""
    taken: list[tuple[str, Route]] = []
    for name, route in routes.items():
        if route.match.match(alert):
            taken.append((name, route))
            if not route.go_on:
                break
    return taken or [(DEFAULT_ROUTE, Route())]


def group_key(route: Route, alert: Alert) -> str:
    """What the alerts of one notification have in common."""
    return " / ".join(f"{name}={alert.value(name)}" for name in route.group_by)


def reason_for_silence(
    alert: Alert, alerts: Sequence[Alert], silences: Sequence[Silence], inhibits: Sequence[Inhibit], now: datetime
) -> str:
    """Why nobody is told of an alert; "" when somebody is."""
    if alert.acknowledged:
        until = f" until {_moment(alert.acknowledged_until)}" if alert.acknowledged_until else ""
        return f"acknowledged by {alert.acknowledged_by or 'somebody'}{until}: {alert.comment or ''}".rstrip(": ")
    for silence in silences:
        if silence.created_at <= now < silence.expires_at and silence.matchers.match(alert):
            return f"silence {silence.id} by {silence.author} until {_moment(silence.expires_at)}: {silence.comment}"
    for inhibit in inhibits:
        for source in alerts:
            if source.resolved_at is None and inhibit.mutes(source, alert):
                return f"inhibited by alert {source.id} ({source.alert_type})"
    return ""


def _moment(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
