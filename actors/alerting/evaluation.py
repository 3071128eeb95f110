"""Judges all rules: from what holds to what is pending, firing and resolved. State in, state out, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from actors.alerting.observations import MOST_KEYS, OTHERS, Observation
from actors.alerting.rules import WINDOWED, Rule, Severity, fill
from actors.alerting.series import Series, Verdict, take

Alerts = Mapping[str, Mapping[str, Series]]
"""By rule, then by key."""


class Change(Struct, frozen=True, kw_only=True):
    """What becomes of one alert: opened or renewed with what it says now, or resolved for a reason.

    `count` is how many were seen since the last change; times are seconds since the epoch.
    """

    what: Literal["opened", "renewed", "resolved"]
    rule: str
    type: str
    cause: str
    severity: Severity = "warning"
    title: str = ""
    message: str = ""
    runbook: str = ""
    labels: dict[str, str | float] = {}
    metadata: dict[str, str | float] = {}
    count: int = 1
    first: float = 0.0
    last: float = 0.0
    reason: str = ""


def evaluate(
    rules: Mapping[str, Rule], state: Alerts, seen: Iterable[Observation], now: float
) -> tuple[dict[str, dict[str, Series]], list[Change]]:
    """Judge every rule at `now`; rules that are gone or switched off end their alerts."""
    by_rule: dict[str, dict[str, list[Observation]]] = {}
    for one in seen:
        by_rule.setdefault(one.rule, {}).setdefault(one.key, []).append(one)
    judged: dict[str, dict[str, Series]] = {}
    changes: list[Change] = []
    for name, rule in rules.items():
        if not rule.enabled or rule.kind == "stored":
            continue
        known, found = _rule(name, rule, state.get(name, {}), by_rule.get(name, {}), now)
        judged[name] = known
        changes += found
    for name, left in state.items():
        if name not in judged:
            gone = rules.get(name, Rule(kind="stored"))
            changes += [_resolved(name, gone, key, "its rule is gone") for key, one in left.items() if one.firing]
    return judged, changes


def _rule(
    name: str, rule: Rule, before: Mapping[str, Series], seen: Mapping[str, Sequence[Observation]], now: float
) -> tuple[dict[str, Series], list[Change]]:
    keys = dict.fromkeys([*before, *seen])
    if not rule.key:
        keys[""] = None  # what has no key is watched from the start: a flatline needs no first event
    judged: dict[str, Series] = {}
    changes: list[Change] = []
    for key in keys:
        name_of = key if key in before or len(judged) < MOST_KEYS else OTHERS
        series = judged.get(name_of) or before.get(name_of) or Series(begun=now, seen=now)
        after, found = judge(name, rule, name_of, series, seen=seen.get(key, ()), now=now)
        changes += found
        if not _is_forgotten(rule, after, now):
            judged[name_of] = after
    return judged, changes


def judge(
    name: str, rule: Rule, key: str, series: Series, *, seen: Sequence[Observation], now: float
) -> tuple[Series, list[Change]]:
    """One key of one rule."""
    after, verdict = take(rule, series, seen, now)
    verdict = _without_data(rule, series, after, verdict, now)
    after = _told(rule, after, seen, verdict)
    if verdict.holds:
        after = replace(after, since=now if after.since is None else after.since, held=now)
    return _phase(name, rule, key, after, seen=seen, verdict=verdict, now=now)


def _phase(
    name: str, rule: Rule, key: str, series: Series, *, seen: Sequence[Observation], verdict: Verdict, now: float
) -> tuple[Series, list[Change]]:
    if not series.firing:
        if not verdict.holds:
            return _idle(series), []
        assert series.since is not None
        if now - series.since < rule.for_:
            return series, []
        opened = _change("opened", name, rule, key, series, count=int(max(series.count, 1)))
        return replace(series, firing=True), [opened]
    if verdict.holds:
        news = sum(one.count for one in seen if not one.over)
        renewed = [_change("renewed", name, rule, key, series, count=int(news))] if _tells_more(rule, news) else []
        return series, renewed
    if verdict.over or now - series.held >= rule.keep_firing:
        return _idle(replace(series, firing=False)), [_resolved(name, rule, key, "")]
    return series, []


def _tells_more(rule: Rule, news: float) -> bool:
    """An alert over events is renewed by each; a gauge that still is where it was tells nothing new."""
    return news > 0 and (not rule.metric or rule.is_counter)


def _idle(series: Series) -> Series:
    return replace(series, since=None, count=0.0, first=0.0, last=0.0, fields={})


def _told(rule: Rule, series: Series, seen: Sequence[Observation], verdict: Verdict) -> Series:
    """Keep what the alert's text needs: until it fires, what has a window tells of that window."""
    matches = [one for one in seen if not one.over]
    told = replace(series, value=verdict.value)
    if matches:
        first = min(one.first for one in matches)
        told = replace(
            told,
            count=series.count + sum(one.count for one in matches),
            first=min(first, series.first or first),
            last=max(series.last, *(one.last for one in matches)),
            fields=matches[-1].fields,
        )
    if rule.kind in WINDOWED and not series.firing and series.buckets:
        counted = sum(bucket.count for bucket in series.buckets)
        told = replace(told, count=counted, first=series.buckets[0].at)
    return told


def _without_data(rule: Rule, before: Series, after: Series, verdict: Verdict, now: float) -> Verdict:
    """What a metric that gives no samples means."""
    if not rule.metric or now - after.seen < rule.no_data_after:
        return verdict
    match rule.no_data:
        case "fire":
            return Verdict(True)
        case "resolve":
            return Verdict(False)
        case _:
            return Verdict(before.firing)


def _is_forgotten(rule: Rule, series: Series, now: float) -> bool:
    """A key that has nothing in its windows any more, so that the number of keys stays bounded."""
    if not rule.key or series.firing or series.since is not None or (series.latched and not rule.metric):
        return False
    return now - series.seen > 2 * max(rule.window, rule.no_data_after) and rule.kind != "flatline"


def _change(
    what: Literal["opened", "renewed"], name: str, rule: Rule, key: str, series: Series, *, count: int
) -> Change:
    first, last = series.first or series.since or 0.0, series.last or series.held
    said = {
        **series.fields,
        "rule": name,
        "key": key,
        "count": int(series.count),
        "value": series.value,
        "first": stamp(first),
        "last": stamp(last),
    }
    kind = rule.type or name
    return Change(
        what=what,
        rule=name,
        type=kind,
        cause=key or name,
        severity=rule.severity,
        title=fill(rule.title, said) if rule.title else f"{kind} {key}".rstrip(),
        message=fill(rule.message, said),
        runbook=rule.runbook,
        labels={label: series.fields[label] for label in rule.key if label in series.fields},
        metadata={**series.fields, **({} if series.value is None else {"value": series.value})},
        count=count,
        first=first,
        last=last,
    )


def _resolved(name: str, rule: Rule, key: str, reason: str) -> Change:
    return Change(what="resolved", rule=name, type=rule.type or name, cause=key or name, reason=reason)


def stamp(seconds: float) -> str:
    """A moment as people read it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")


def next_look(rules: Mapping[str, Rule], state: Alerts, now: float) -> float | None:
    """Seconds until time alone may change a verdict; None when nothing is pending, firing or in a window."""
    waits = [
        wait
        for name, known in state.items()
        if name in rules
        for series in known.values()
        for wait in _waits(rules[name], series, now)
    ]
    return min(waits, default=None)


def _waits(rule: Rule, series: Series, now: float) -> Iterable[float]:
    if series.firing and not series.latched:
        yield max(series.held + rule.keep_firing - now, 0.0)
    if series.since is not None and not series.firing:
        yield max(series.since + rule.for_ - now, 0.0)
    if series.latched and rule.lapses:
        yield max(series.last + rule.lapses - now, 0.0)
    if rule.kind == "flatline" and not series.firing:
        ends = [bucket.at for bucket in series.buckets] or [series.begun]
        yield max(max(ends) + rule.window - now, 0.0)
