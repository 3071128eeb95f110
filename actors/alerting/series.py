"""Whether a rule holds for one key, by what was seen of it: one function a kind, state in, state out, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from actors.alerting.observations import Observation
from actors.alerting.rules import Rule

BUCKETS = 60
"""Parts of a window that are told apart."""
MOST_TERMS = 10_000
"""Terms that one series remembers; the ones not seen for longest are forgotten first."""


class Bucket(Struct, frozen=True, array_like=True):
    """What was seen from `at` on for one part of a window: matches, of how many, and values for their average."""

    at: float
    count: float = 0.0
    total: float = 0.0
    values: float = 0.0
    readings: int = 0


class Series(Struct, frozen=True, kw_only=True):
    """One key of one rule: its windows, and how far it is on the way to an alert.

    `begun` is when it was seen first, `seen` when last; `latched` that it holds until told otherwise. `since` is the
    beginning of the present stretch of holding, `held` its latest moment, `firing` that there is an alert.
    `count`, `first`, `last` and `fields` are of the present stretch, for the alert's text; `value` is what was judged.
    """

    begun: float
    seen: float
    buckets: tuple[Bucket, ...] = ()
    terms: dict[str, float] = {}
    latest: str | None = None
    latched: bool = False
    value: float | None = None
    since: float | None = None
    held: float = 0.0
    firing: bool = False
    count: float = 0.0
    first: float = 0.0
    last: float = 0.0
    fields: dict[str, str | float] = {}


class Verdict(Struct, frozen=True):
    """Whether it holds now, whether it was ended by hand or event, and the figure that decided."""

    holds: bool
    over: bool = False
    value: float | None = None


def take(rule: Rule, series: Series, seen: Sequence[Observation], now: float) -> tuple[Series, Verdict]:
    """The series with what was seen, and the verdict at `now`."""
    windowed = _windowed(rule, series, seen, now)
    return _KINDS[rule.kind](rule, windowed, seen, now)


def _windowed(rule: Rule, series: Series, seen: Sequence[Observation], now: float) -> Series:
    if not seen:
        return replace(series, buckets=_recent(rule, series.buckets, now))
    matches = [one for one in seen if not one.over]
    buckets = list(_recent(rule, series.buckets, now)) if rule.kind in _IN_WINDOWS else []
    if rule.kind in _IN_WINDOWS:
        for one in matches:
            _add(rule, buckets, one, now)
    return replace(series, seen=now, buckets=tuple(buckets))


def _recent(rule: Rule, buckets: Sequence[Bucket], now: float) -> tuple[Bucket, ...]:
    """What can still matter: a spike compares with the window before."""
    reach = (2 if rule.kind == "spike" else 1) * rule.window
    return tuple(bucket for bucket in buckets if now - reach < bucket.at <= now)


def _add(rule: Rule, buckets: list[Bucket], one: Observation, now: float) -> None:
    width = rule.window / BUCKETS
    at = min(max(one.last, now - rule.window), now)
    counts = one.value is None or rule.is_counter or rule.compares(one.value)
    count = one.count if counts else 0.0
    values, readings = (0.0, 0) if one.value is None else (one.value, 1)
    for index in range(len(buckets) - 1, -1, -1):
        known = buckets[index]
        if known.at <= at < known.at + width:
            buckets[index] = Bucket(
                known.at, known.count + count, known.total + one.total, known.values + values, known.readings + readings
            )
            return
    buckets.append(Bucket(at, count, one.total, values, readings))
    buckets.sort(key=lambda bucket: bucket.at)


# --- the kinds


def _any(rule: Rule, series: Series, seen: Sequence[Observation], now: float) -> tuple[Series, Verdict]:
    if rule.metric:
        if not seen:
            return series, Verdict(series.latched, value=series.value)
        value = seen[-1].value
        holds = value is not None and rule.compares(value)
        return replace(series, latched=holds, value=value), Verdict(holds, value=value)
    if rule.until is None:
        return series, Verdict(bool(seen))
    latched, over = series.latched, False
    for one in seen:
        latched, over = not one.over, one.over
    if latched and rule.lapses and now - max([series.last, *(one.last for one in seen)]) >= rule.lapses:
        latched, over = False, True
    return replace(series, latched=latched), Verdict(latched, over=over)


def _frequency(rule: Rule, series: Series, _seen: Sequence[Observation], _now: float) -> tuple[Series, Verdict]:
    count = sum(bucket.count for bucket in series.buckets)
    if rule.share is None:
        return series, Verdict(count >= rule.count, value=count)
    total = sum(bucket.total for bucket in series.buckets)
    percent = 100 * count / total if total else 0.0
    return series, Verdict(total >= rule.at_least and percent > rule.share, value=percent)


def _spike(rule: Rule, series: Series, _seen: Sequence[Observation], now: float) -> tuple[Series, Verdict]:
    recent = [bucket for bucket in series.buckets if bucket.at > now - rule.window]
    before = [bucket for bucket in series.buckets if bucket.at <= now - rule.window]
    one, other = _weight(rule, recent), _weight(rule, before)
    if now - series.begun < 2 * rule.window:
        return series, Verdict(False, value=one)  # there is no window before yet to compare with
    enough = one >= rule.at_least if not (rule.metric and not rule.is_counter) else bool(before)
    return series, Verdict(enough and one >= rule.factor * other and one > 0, value=one)


def _weight(rule: Rule, buckets: Sequence[Bucket]) -> float:
    """Of events and counters how many; of a gauge how high, on average."""
    if not rule.metric or rule.is_counter:
        return sum(bucket.count for bucket in buckets)
    readings = sum(bucket.readings for bucket in buckets)
    return sum(bucket.values for bucket in buckets) / readings if readings else 0.0


def _flatline(rule: Rule, series: Series, _seen: Sequence[Observation], now: float) -> tuple[Series, Verdict]:
    count = sum(bucket.count for bucket in series.buckets)
    return series, Verdict(now - series.begun >= rule.window and count < rule.count, value=count)


def _change(_rule: Rule, series: Series, seen: Sequence[Observation], _now: float) -> tuple[Series, Verdict]:
    latest, changed = series.latest, False
    for one in seen:
        changed = changed or (latest is not None and one.term != latest)
        latest = one.term if one.term is not None else latest
    return replace(series, latest=latest), Verdict(changed)


def _new_term(rule: Rule, series: Series, seen: Sequence[Observation], now: float) -> tuple[Series, Verdict]:
    """A term that is new once the series is a window old; before that it only learns."""
    known = {term: at for term, at in series.terms.items() if now - at < rule.window}
    fresh = [one for one in seen if one.term is not None and one.term not in known]
    terms = _remembered(known, seen)
    return replace(series, terms=terms), Verdict(bool(fresh) and now - series.begun >= rule.window)


def _cardinality(rule: Rule, series: Series, seen: Sequence[Observation], now: float) -> tuple[Series, Verdict]:
    terms = {term: at for term, at in _remembered(series.terms, seen).items() if now - at < rule.window}
    distinct = float(len(terms))
    is_complete = now - series.begun >= rule.window
    holds = (rule.above is not None and distinct > rule.above) or (
        rule.below is not None and distinct < rule.below and is_complete
    )
    return replace(series, terms=terms), Verdict(holds, value=distinct)


def _remembered(known: dict[str, float], seen: Sequence[Observation]) -> dict[str, float]:
    terms = dict(known)
    for one in seen:
        if one.term is not None:
            terms[one.term] = max(one.last, terms.get(one.term, one.last))
    if len(terms) > MOST_TERMS:
        terms = dict(sorted(terms.items(), key=lambda item: item[1])[-MOST_TERMS:])
    return terms


_IN_WINDOWS = frozenset({"frequency", "spike", "flatline"})
_KINDS: dict[str, Callable[[Rule, Series, Sequence[Observation], float], tuple[Series, Verdict]]] = {
    "any": _any,
    "frequency": _frequency,
    "spike": _spike,
    "flatline": _flatline,
    "change": _change,
    "new_term": _new_term,
    "cardinality": _cardinality,
}
