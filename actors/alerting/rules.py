"""What `[alert.NAME]` may say: which events or samples are worth an alert, and how the alert speaks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from tds_runtime.values import Duration

Kind = Literal["any", "frequency", "spike", "flatline", "change", "new_term", "cardinality", "stored"]
Severity = Literal["info", "warning", "error", "critical"]
NoData = Literal["keep", "fire", "resolve"]
Scalar = str | bool | int | float

_PLACE = re.compile(r"\{(\w+)\}")
_COUNTER = ("_total", "_count", "_sum")
WINDOWED = frozenset({"frequency", "spike", "flatline", "cardinality"})
TERMED = frozenset({"change", "new_term", "cardinality"})


class Bounds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A test of a number or of a presence: all that is said must hold."""

    above: float | None = None
    below: float | None = None
    present: bool | None = None

    def holds(self, value: object) -> bool:
        """Whether a field's value (None: the event has none) passes."""
        if self.present is not None and self.present != (value is not None):
            return False
        if self.above is None and self.below is None:
            return True
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (self.above is None or value > self.above) and (self.below is None or value < self.below)


Test = Scalar | tuple[Scalar, ...] | Bounds


class Filter(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Events by name and by their fields; no name is any event."""

    event: str | tuple[str, ...] = ()
    where: dict[str, Test] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names, () for any."""
        return (self.event,) if isinstance(self.event, str) else self.event

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether an event has one of the names, and fields that pass every test."""
        if self.names and event.get("event") not in self.names:
            return False
        return all(passes(test, event.get(name)) for name, test in self.where.items())


class Step(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of an escalation: whom to tell when nobody acknowledged for `after` since the step before."""

    channels: Annotated[tuple[str, ...], Meta(min_length=1)]
    after: Duration = Duration("5m")


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[alert.NAME]`.

    kind: `any` each match; `frequency` `count` matches (or `share` percent of all) in `window`; `spike` `factor` times
        the window before; `flatline` fewer than `count` in `window`; `change` another `term` than before; `new_term`
        a `term` not seen for `window`; `cardinality` more or fewer distinct terms in `window` than `above` / `below`;
        `stored` found by healer or reconciler, whose sections hold the thresholds: here stands how it is told.
    type: of the alert, the rule's name when nothing is said. key: fields (labels, `node`) each of whose values has an
        alert of its own. until: events that end it at once. lapses: with
        until, it is over as well when no match came for so long (who would have said that it ended may be gone).
    metric, labels: samples instead of events; `above`, `below` compare; `combine` series of one key. A counter
        (`..._total`) is read as its growth.
    for: so long it must hold before it is one. keep_firing: so long it stays one after that.
    no_data: of a metric that gave no sample for `no_data_after`.
    title, message: with `{field}` from the event or the labels, `{count}`, `{value}`, `{first}`, `{last}`, `{key}`.
    escalation: instead of the route's. direct: told without the database while that is away.
    """

    enabled: bool = True
    kind: Kind = "any"
    type: str = ""
    event: str | tuple[str, ...] = ()
    where: dict[str, Test] = {}
    until: Filter | None = None
    lapses: Duration = Duration(0)
    metric: str = ""
    labels: dict[str, str | tuple[str, ...]] = {}
    combine: Literal["sum", "max", "min"] = "sum"
    above: float | None = None
    below: float | None = None
    count: Annotated[int, Meta(ge=1)] = 1
    share: Annotated[float, Meta(gt=0, le=100)] | None = None
    at_least: Annotated[int, Meta(ge=1)] = 1
    factor: Annotated[float, Meta(gt=1)] = 2.0
    window: Duration = Duration("5m")
    term: str = ""
    key: tuple[str, ...] = ()
    for_: Duration = field(default=Duration(0), name="for")
    keep_firing: Duration = Duration("5m")
    no_data: NoData = "resolve"
    no_data_after: Duration = Duration("5m")
    severity: Severity = "warning"
    title: str = ""
    message: str = ""
    runbook: str = ""
    escalation: tuple[Step, ...] | None = None
    direct: bool = False

    def __post_init__(self) -> None:
        for problem in _problems(self):
            raise ValueError(problem)

    @property
    def filter(self) -> Filter:
        """Which events it is about."""
        return Filter(event=self.event, where=self.where)

    @property
    def is_counter(self) -> bool:
        """Whether its metric only ever grows."""
        return self.metric.endswith(_COUNTER)

    def compares(self, value: float) -> bool:
        """Whether a sample's value is beyond a bound; without bounds every value is."""
        if self.above is None and self.below is None:
            return True
        return (self.above is not None and value > self.above) or (self.below is not None and value < self.below)


def _problems(rule: Rule) -> list[str]:
    """What cannot be meant, in the order in which a person would mend it."""
    has_events, has_metric = bool(rule.event or rule.where), bool(rule.metric)
    found = []
    if rule.kind == "stored" and (has_events or has_metric):
        found.append("a stored alert is found by the daemon itself: it takes neither event nor metric")
    if rule.kind != "stored" and has_events == has_metric:
        found.append("say either event (with where) or metric (with labels)")
    if rule.kind in TERMED and not rule.term:
        found.append(f"{rule.kind} needs a term: the field whose values are looked at")
    if rule.kind in WINDOWED | {"new_term"} and not rule.window:
        found.append(f"{rule.kind} needs a window")
    if rule.kind == "any" and has_metric and rule.above is None and rule.below is None:
        found.append("any over a metric needs above or below")
    if rule.kind == "cardinality" and rule.above is None and rule.below is None:
        found.append("cardinality needs above or below")
    if rule.share is not None and not (rule.kind == "frequency" and rule.is_counter):
        found.append("share is for a frequency over a counter")
    if rule.for_ and has_events and rule.until is None and rule.kind not in WINDOWED:
        found.append("an event lasts no time: for needs until, or a kind with a window")
    if rule.direct and not (has_metric and rule.kind == "any"):
        found.append("only an any over a metric can be told without the database")
    return found


def passes(test: Test, value: object) -> bool:
    """Whether a field's value is what a test asks for."""
    if isinstance(test, Bounds):
        return test.holds(value)
    return value in test if isinstance(test, tuple) else value == test


def fill(template: str, fields: Mapping[str, object]) -> str:
    """The template with its places filled; a field that is not there is a question mark. Nothing in it is a program."""
    return _PLACE.sub(lambda place: _shown(fields.get(place[1])), template)


def _shown(value: object) -> str:
    if value is None:
        return "?"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def rule_of(rules: Mapping[str, Rule], alert_type: str) -> Rule | None:
    """The rule that says how alerts of a type are told."""
    own = rules.get(alert_type)
    if own is not None and not own.type:
        return own
    return next((rule for rule in rules.values() if rule.type == alert_type), own)
