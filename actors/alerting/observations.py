"""From events and samples to what rules ask for: pure, a batch at a time, on whichever node they happened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from actors.alerting.rules import Filter, Rule
from tds_runtime.database import storable
from tds_runtime.metrics import Sample

OWN_ROOM = "alerts"
"""What the alerter itself logs is no food for it."""
MOST_KEYS = 1_000
"""Alerts that one rule may have at once; what has other keys is one alert more."""
OTHERS = "(others)"
_LONGEST = 300
_LARGEST = 2**63
_PLAIN = (str, bool, int, float)


class Observation(Struct, frozen=True, kw_only=True):
    """Matches of one rule and key, folded: how many, the first and the last, and the fields of the last.

    Times are seconds since the epoch. `value` is a sample's, `total` what a share is a share of; `over` ends the alert.
    """

    rule: str
    key: str = ""
    count: float = 1.0
    first: float
    last: float
    value: float | None = None
    total: float = 0.0
    term: str | None = None
    over: bool = False
    fields: dict[str, str | float] = {}


def wanted(rules: Mapping[str, Rule]) -> frozenset[str] | None:
    """The names of the events that some rule asks for; None when one asks for any."""
    names: set[str] = set()
    for rule in rules.values():
        filters = [rule.filter] if rule.event or rule.where else []
        for filtering in [*filters, *([rule.until] if rule.until else [])]:
            if not filtering.names:
                return None
            names.update(filtering.names)
    return frozenset(names)


class Finder:
    """The rules over events, sorted by the events that they ask for: most events concern few rules or none."""

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        self._named: dict[str, list[_Asked]] = {}
        self._of_any: list[_Asked] = []
        for name, rule in rules.items():
            if rule.enabled and (rule.event or rule.where):
                self._add(_Asked(name, rule, rule.filter))

    def _add(self, asked: _Asked) -> None:
        names = (*asked.filter.names, *(asked.rule.until.names if asked.rule.until else ()))
        if not asked.filter.names or (asked.rule.until and not asked.rule.until.names):
            self._of_any.append(asked)
            return
        for name in dict.fromkeys(names):
            self._named.setdefault(name, []).append(asked)

    def find(self, events: Iterable[Mapping[str, Any]]) -> list[Observation]:
        """What the rules find in these events; matches that differ in nothing but time are one, where order allows it.

        A stranger who chooses a key cannot make a batch long: beyond `MOST_KEYS` of a rule all the rest is one.
        """
        batch = _Batch()
        for event in events:
            if event.get("room") == OWN_ROOM:
                continue
            for asked in (*self._named.get(event["event"], ()), *self._of_any):
                matches = asked.filter.matches(event)
                until = asked.rule.until
                if matches or (until is not None and until.matches(event)):
                    batch.add(asked, event, over=not matches)
        return [cell.observation() for cell in batch.cells]


class _Asked(Struct, frozen=True):
    """One rule over events, with its filter made once."""

    name: str
    rule: Rule
    filter: Filter

    @property
    def is_ordered(self) -> bool:
        """Whether it matters what came before what."""
        return self.rule.kind == "change" or self.rule.until is not None


class _Cell(Struct):
    """Matches that are told as one; only the last event's fields are looked at."""

    asked: _Asked
    key: str
    term: str | None
    over: bool
    first: str
    event: Mapping[str, Any]
    count: int = 1

    def observation(self) -> Observation:
        return Observation(
            rule=self.asked.name,
            key=self.key,
            count=float(self.count),
            first=moment(self.first),
            last=moment(str(self.event["timestamp"])),
            term=self.term,
            over=self.over,
            fields={key: _cut(value) for key, value in self.event.items() if isinstance(value, _PLAIN)},
        )


class _Batch:
    """The cells of one batch, in the order in which they began."""

    def __init__(self) -> None:
        self.cells: list[_Cell] = []
        self._newest: dict[tuple[str, str, str | None], _Cell] = {}
        self._keys: dict[str, set[str]] = {}

    def add(self, asked: _Asked, event: Mapping[str, Any], *, over: bool) -> None:
        key = self._bounded(asked.name, key_of(asked.rule, event))
        term = None if over or not asked.rule.term else _text(event.get(asked.rule.term))
        place = (asked.name, key, None if asked.is_ordered else term)
        cell = self._newest.get(place)
        if cell is not None and cell.term == term and cell.over == over:
            cell.count += 1
            cell.event = event
            return
        cell = self._newest[place] = _Cell(asked, key, term, over, str(event["timestamp"]), event)
        self.cells.append(cell)

    def _bounded(self, name: str, key: str) -> str:
        keys = self._keys.setdefault(name, set())
        if key not in keys and len(keys) >= MOST_KEYS:
            return OTHERS
        keys.add(key)
        return key


def key_of(rule: Rule, fields: Mapping[str, Any]) -> str:
    """What tells one alert of a rule from another: the values of its key fields."""
    return " / ".join(_text(fields.get(name)) for name in rule.key)


def moment(timestamp: str) -> float:
    """When an event happened, in seconds since the epoch."""
    return datetime.fromisoformat(timestamp).timestamp()


def _text(value: object) -> str:
    return "" if value is None else storable(str(value)[:_LONGEST])


def _cut(value: str | float) -> str | float:
    if isinstance(value, str):
        return storable(value[:_LONGEST])
    return value if abs(value) < _LARGEST else storable(str(value)[:_LONGEST])  # NaN is not smaller than anything


# --- samples


class Reader:
    """Reads samples for the rules over metrics; remembers counters, so that it can tell their growth."""

    def __init__(self) -> None:
        self._counters: dict[tuple[str, ...], float] = {}

    def read(self, rules: Mapping[str, Rule], samples: Sequence[Sample], now: float) -> list[Observation]:
        """One observation a rule and key (and term). A label `node` tells nodes apart."""
        asked = {rule.metric for rule in rules.values() if rule.enabled and rule.metric}
        known = [sample for sample in samples if sample.name in asked and math.isfinite(sample.value)]
        growth = {_identity(sample): self._grown(sample) for sample in known if _counts(sample.name)}
        return [
            observation
            for name, rule in rules.items()
            if rule.enabled and rule.metric
            for observation in _readings(name, rule, known, growth, now)
        ]

    def _grown(self, sample: Sample) -> float:
        """How much a counter has grown since it was read last; one that is seen first, or began anew, tells nothing."""
        identity = _identity(sample)
        before = self._counters.get(identity)
        self._counters[identity] = sample.value
        return 0.0 if before is None or sample.value < before else sample.value - before


def _counts(metric: str) -> bool:
    return Rule(metric=metric, above=0).is_counter


def _identity(sample: Sample) -> tuple[str, ...]:
    return (sample.name, *(part for pair in sorted(sample.labels.items()) for part in pair))


def _readings(
    name: str, rule: Rule, samples: Sequence[Sample], growth: Mapping[tuple[str, ...], float], now: float
) -> Iterable[Observation]:
    groups: dict[tuple[str, str | None], list[Sample]] = {}
    totals: dict[str, float] = {}
    for sample in samples:
        if sample.name != rule.metric:
            continue
        key = key_of(rule, sample.labels)
        totals[key] = totals.get(key, 0.0) + growth.get(_identity(sample), 0.0)
        if all(_is_one_of(sample.labels.get(label), value) for label, value in rule.labels.items()):
            term = _text(sample.labels.get(rule.term)) if rule.term else None
            groups.setdefault((key, term), []).append(sample)
    for (key, term), members in groups.items():
        counted = sum(growth.get(_identity(sample), 0.0) for sample in members)
        value = counted if rule.is_counter else _combined(rule, members)
        yield Observation(
            rule=name, key=key, first=now, last=now, value=value, total=totals[key], term=term,
            count=counted if rule.is_counter else 1.0, fields={**_common(members), "value": value},
        )  # fmt: skip


def _is_one_of(value: str | None, wanted_value: str | tuple[str, ...]) -> bool:
    return value == wanted_value if isinstance(wanted_value, str) else value in wanted_value


def _combined(rule: Rule, members: Sequence[Sample]) -> float:
    """The value of a group: nodes see the same gauge, so of each series the greatest, then all series together."""
    series: dict[tuple[tuple[str, str], ...], float] = {}
    worst = min if rule.combine == "min" else max
    for sample in members:
        labels = tuple(sorted(pair for pair in sample.labels.items() if pair[0] != "node" or "node" in rule.key))
        series[labels] = worst(series.get(labels, sample.value), sample.value)
    match rule.combine:
        case "sum":
            return math.fsum(series.values())
        case "max":
            return max(series.values())
        case _:
            return min(series.values())


def _common(members: Sequence[Sample]) -> dict[str, str | float]:
    """The labels that all members agree on."""
    first, *rest = members
    return {
        label: value for label, value in first.labels.items() if all(one.labels.get(label) == value for one in rest)
    }
