"""The service levels: what each is, over which time, and what it should be; pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from msgspec import Meta, Struct

from actors.service_levels.durations import quantile
from actors.service_levels.facts import Facts, Windows
from tds_runtime.values import Duration

Unit = Literal["percent", "seconds", "tasks", "actions"]
Sense = Literal["above", "below"]
Percent = Annotated[float, Meta(ge=0, le=100)]

WHOLE = 100.0


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[service_levels]`: the targets, in percent, as durations or as numbers.

    smallest_sample: tasks that must have ended before their success rate is judged.
    interventions: actions of people in the window; fewer are fine.
    """

    success_rate: Percent = 99.5
    smallest_sample: Annotated[int, Meta(ge=1)] = 100
    latency_p95: Duration = Duration("1s")
    latency_p99: Duration = Duration("60s")
    availability: Percent = 99.5
    scheduled_jobs: Percent = 99.0
    auto_recovery: Percent = 85.0
    recovery: Duration = Duration("5m")
    dead_letters: Annotated[int, Meta(ge=1)] = 10
    dead_letters_within: Duration = Duration("24h")
    acknowledgement: Duration = Duration("5m")
    interventions: Annotated[int, Meta(ge=1)] = 7


DEFAULTS = Options()


class Level(Struct, frozen=True, kw_only=True):
    """One service level as it stands.

    `value` is None while there is nothing to tell it from, `sample` how many things it was told from. `met` is None
    when there is no target, no value or too little to judge by; `note` then says which.
    """

    name: str
    title: str
    formula: str
    window: str
    unit: Unit
    value: float | None
    target: float | None
    sense: Sense
    met: bool | None
    sample: int
    note: str = ""


class _Definition(Struct, frozen=True, kw_only=True):
    """How one level is told: `window` names the field of `Windows` that it looks back over, "" is of this moment."""

    name: str
    title: str
    formula: str
    window: str = ""
    unit: Unit
    sense: Sense
    value: Callable[[Facts], float | None]
    sample: Callable[[Facts], int]
    target: Callable[[Options], float | None]


def _share(
    name: str,
    title: str,
    formula: str,
    *,
    window: str,
    good: Callable[[Facts], int],
    of_all: Callable[[Facts], int],
    target: Callable[[Options], float],
) -> _Definition:
    """Percent with two decimals, never rounded up: 99.999 % is not all. None of nothing."""
    return _Definition(
        name=name,
        title=title,
        formula=formula,
        window=window,
        unit="percent",
        sense="above",
        value=lambda facts: math.floor(1e4 * good(facts) / of_all(facts) + 1e-6) / 100 if of_all(facts) else None,
        sample=of_all,
        target=target,
    )


def _latency(percentile: int, target: Callable[[Options], float | None]) -> _Definition:
    return _Definition(
        name=f"webhook_latency_p{percentile}",
        title=f"Webhook received to row committed, p{percentile}",
        formula=f"percentile {percentile} of (transaction that wrote the row - first webhook of the task stored)",
        window="deliveries",
        unit="seconds",
        sense="below",
        value=lambda facts: quantile(facts.deliveries, percentile / 100),
        sample=lambda facts: sum(facts.deliveries.values()),
        target=target,
    )


_DEFINITIONS = (
    _share(
        "sync_success_rate",
        "Tasks that were completed",
        "completed / (completed + dead-lettered)",
        window="tasks",
        good=lambda facts: facts.completed,
        of_all=lambda facts: facts.ended,
        target=lambda options: options.success_rate,
    ),
    _latency(50, lambda _options: None),
    _latency(95, lambda options: options.latency_p95),
    _latency(99, lambda options: options.latency_p99),
    _share(
        "availability",
        "Minutes in which deliveries were taken",
        "minutes in which /readyz's conditions held and a write worked / all minutes",
        window="availability",
        good=lambda facts: facts.available_minutes,
        of_all=lambda facts: facts.minutes,
        target=lambda options: options.availability,
    ),
    _share(
        "scheduled_jobs",
        "Scheduled runs that succeeded",
        "slots that ran / (slots that ran + slots that failed)",
        window="slots",
        good=lambda facts: facts.slots_done,
        of_all=lambda facts: facts.slots_done + facts.slots_failed,
        target=lambda options: options.scheduled_jobs,
    ),
    _share(
        "auto_recovery",
        "Faults that ended without a person",
        "faults and alerts that ended by themselves / all that ended or are overdue",
        window="faults",
        good=lambda facts: facts.recovered_alone,
        of_all=lambda facts: facts.faults,
        target=lambda options: options.auto_recovery,
    ),
    _Definition(
        name="time_to_recovery",
        title="Time to recovery",
        formula="mean time from a fault's beginning to its end",
        window="faults",
        unit="seconds",
        sense="below",
        value=lambda facts: round(facts.recovery_seconds, 3) if facts.faults else None,
        sample=lambda facts: facts.faults,
        target=lambda options: options.recovery,
    ),
    _share(
        "dead_letters_resolved",
        "Dead letters that were not left for too long",
        "dead letters resolved in time or not due yet / all dead letters",
        window="letters",
        good=lambda facts: facts.letters - facts.letters_overdue,
        of_all=lambda facts: facts.letters,
        target=lambda _options: WHOLE,
    ),
    _Definition(
        name="dead_letters_open",
        title="Dead letters that wait for a decision",
        formula="unresolved dead letters",
        unit="tasks",
        sense="below",
        value=lambda facts: float(facts.letters_open),
        sample=lambda facts: facts.letters_open,
        target=lambda options: float(options.dead_letters),
    ),
    _Definition(
        name="time_to_acknowledge",
        title="Time to acknowledge an alert",
        formula="mean time from an alert's opening to its acknowledgement",
        window="acknowledgements",
        unit="seconds",
        sense="below",
        value=lambda facts: round(facts.acknowledged_seconds, 3) if facts.acknowledged else None,
        sample=lambda facts: facts.acknowledged,
        target=lambda options: options.acknowledgement,
    ),
    _Definition(
        name="manual_interventions",
        title="Manual interventions",
        formula="actions of people in the audit trail, acknowledgements and silences aside",
        window="actions",
        unit="actions",
        sense="below",
        value=lambda facts: float(facts.actions),
        sample=lambda facts: facts.actions,
        target=lambda options: float(options.interventions),
    ),
)
NAMES = tuple(definition.name for definition in _DEFINITIONS)
"""Every level, in the order in which they are shown."""


def told(facts: Facts, options: Options, windows: Windows) -> tuple[Level, ...]:
    """Every level, in the order of `NAMES`."""
    return tuple(_level(definition, facts, options, windows) for definition in _DEFINITIONS)


def missed(levels: Sequence[Level]) -> tuple[str, ...]:
    """The names of those that are not met."""
    return tuple(level.name for level in levels if level.met is False)


def _level(one: _Definition, facts: Facts, options: Options, windows: Windows) -> Level:
    value, target, sample = one.value(facts), one.target(options), one.sample(facts)
    note = _note(one, value, target, sample, options)
    return Level(
        name=one.name,
        title=one.title,
        formula=one.formula,
        window=str(getattr(windows, one.window)) if one.window else "now",
        unit=one.unit,
        value=value,
        target=None if target is None else float(target),
        sense=one.sense,
        met=None if note or value is None or target is None else _reaches(value, target, one.sense),
        sample=sample,
        note=note,
    )


def _note(one: _Definition, value: float | None, target: float | None, sample: int, options: Options) -> str:
    """Why a level is not judged; "" when it is."""
    if value is None:
        return "no data yet"
    if target is None:
        return "no target"
    if one.name == "sync_success_rate" and sample < options.smallest_sample:
        return f"not judged by fewer than {options.smallest_sample} tasks"
    return ""


def _reaches(value: float, target: float, sense: Sense) -> bool:
    """Better than the target, not as good as; nothing is better than all."""
    return value < target if sense == "below" else value > target or value >= WHOLE
