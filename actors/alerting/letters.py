"""What people read: a notice as a subject, a text and the data behind it, redacted, the same for every channel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from actors.alerting.planning import Notice
from actors.alerting.routing import Alert
from actors.alerting.rules import Rule, Severity, rule_of

MOST_SHOWN = 10
"""Alerts that one letter spells out; the others are counted."""
LONGEST = 3_500
"""Characters of a text: what every channel takes."""
DOUBT = "(Perhaps a repeat: an earlier attempt ended without an answer.)"

_RANK: dict[Severity, int] = {"info": 0, "warning": 1, "error": 2, "critical": 3}


class Item(Struct, frozen=True, kw_only=True):
    """One alert in a letter."""

    id: int
    type: str
    severity: Severity
    status: str
    title: str
    message: str
    cause: str
    count: int
    first_seen_at: datetime
    last_seen_at: datetime
    created_at: datetime
    resolved_at: datetime | None
    runbook: str
    labels: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


class Letter(Struct, frozen=True, kw_only=True):
    """What is told; `alerts` are the spelt-out ones for channels that take data, `total` is how many there are."""

    subject: str
    text: str
    kind: str
    severity: Severity
    route: str = ""
    group_key: str = ""
    total: int = 0
    alerts: tuple[Item, ...] = ()


def compose(notice: Notice, rules: Mapping[str, Rule], redact: Callable[[str], str] = str) -> Letter:
    """The letter of a notice, with nothing secret in it."""
    alerts = (*notice.firing, *notice.resolved)
    items = tuple(_item(alert, rules, redact) for alert in alerts)
    shown = items[:MOST_SHOWN]
    severity = max((item.severity for item in items), key=lambda one: _RANK[one])
    more = [f"... and {len(items) - len(shown)} more."] if len(items) > len(shown) else []
    return Letter(
        subject=redact(_subject(notice, items, severity)),
        text="\n\n".join([*map(_paragraph, shown), *more])[:LONGEST],
        kind=notice.kind,
        severity=severity,
        route=notice.route,
        group_key=redact(notice.group_key),
        total=len(items),
        alerts=shown,
    )


def summary(held: Mapping[str, int], window: str) -> Letter:
    """What a channel was spared by its flood cap."""
    total = sum(held.values())
    lines = [f"{count} x {subject}" for subject, count in list(held.items())[:MOST_SHOWN]]
    more = [f"... and {len(held) - MOST_SHOWN} more kinds."] if len(held) > MOST_SHOWN else []
    text = "\n".join([f"More came than this channel takes in {window}:", *lines, *more])
    return Letter(
        subject=f"[summary] {total} notifications were held back",
        text=text[:LONGEST], kind="summary", severity="warning", total=total,
    )  # fmt: skip


def trial(channel: str) -> Letter:
    """What the test of a channel sends."""
    return Letter(
        subject=f"[test] The channel {channel} works",
        text="Somebody tries this channel of tds-runtime. Nothing is wrong.",
        kind="test",
        severity="info",
    )


def doubted(letter: Letter) -> Letter:
    """The same letter, honest about that it may have come before."""
    return replace(letter, text=f"{letter.text}\n\n{DOUBT}")


def _subject(notice: Notice, items: Sequence[Item], severity: Severity) -> str:
    first = items[0]
    also = f" (and {len(items) - 1} more)" if len(items) > 1 else ""
    match notice.kind:
        case "resolved":
            return f"[resolved] {first.title}{also}"
        case "repeat":
            return f"[{severity}, still] {first.title}{also}"
        case "escalation":
            return f"[{severity}, not acknowledged] {first.title}{also}"
        case _:
            return f"[{severity}] {first.title}{also}"


def _item(alert: Alert, rules: Mapping[str, Rule], redact: Callable[[str], str]) -> Item:
    rule = rule_of(rules, alert.alert_type)
    runbook = alert.runbook or (rule.runbook if rule is not None else "")
    return Item(
        id=alert.id,
        type=alert.alert_type,
        severity=alert.severity,
        status="firing" if alert.resolved_at is None else "resolved",
        title=redact(alert.title),
        message=redact(_advice(alert, rule)),
        cause=redact(alert.cause),
        count=alert.occurrences,
        first_seen_at=alert.first_seen_at,
        last_seen_at=alert.last_seen_at,
        created_at=alert.created_at,
        resolved_at=alert.resolved_at,
        runbook=runbook,
        labels=_redacted(alert.labels, redact),
        metadata=_redacted(alert.metadata, redact),
    )


def _advice(alert: Alert, rule: Rule | None) -> str:
    """What the alert says, and for one that no rule has worded what its rule says to do."""
    own = rule.message if rule is not None and rule.kind == "stored" else ""
    return "\n".join(line for line in dict.fromkeys((alert.message, own)) if line)


def _redacted(fields: Mapping[str, Any], redact: Callable[[str], str]) -> dict[str, Any]:
    return {name: redact(value) if isinstance(value, str) else value for name, value in fields.items()}


def _paragraph(item: Item) -> str:
    state = item.severity if item.resolved_at is None else f"resolved {_moment(item.resolved_at)}"
    lines = [f"{item.title} [{state}]"]
    if item.message:
        lines.append(item.message)
    if item.count > 1:
        seen = f"{_moment(item.first_seen_at)} to {_moment(item.last_seen_at)}"
        lines.append(f"Seen {item.count} times, {seen}.")
    else:
        lines.append(f"Since {_moment(item.first_seen_at)}.")
    if item.runbook:
        lines.append(f"What to do: {item.runbook}")
    if item.resolved_at is None:
        lines.append(f'Seen it? tds-runtime alert acknowledge {item.id} --comment "..."')
    return "\n".join(lines)


def _moment(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
