"""Rules over events and samples, judged in virtual time: nothing here reads a clock."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import schedules
from actors.alerting import observations, ways
from actors.alerting.evaluation import Change, evaluate, next_look
from actors.alerting.observations import MOST_KEYS, OTHERS, Finder, Observation, Reader
from actors.alerting.rules import Bounds, Filter, Rule, fill, rule_of
from actors.alerting.series import Series
from actors.configuration import Config
from tds_runtime import config
from tds_runtime.decoding import decode_own
from tds_runtime.errors import ConfigError
from tds_runtime.metrics import Sample

ROOT = Path(__file__).parents[1]
START = 1_800_000_000.0


def event(name: str, at: float = 0.0, **fields: Any) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(START + at, UTC).isoformat(timespec="milliseconds")
    return {"timestamp": stamp, "level": "warning", "event": name, **fields}


def rule(**said: Any) -> Rule:
    return msgspec.convert(said, Rule, dec_hook=decode_own)


class Judge:
    """One rule under way; times are seconds since its start."""

    def __init__(self, **said: Any) -> None:
        self.rules = {"r": rule(**said)}
        self.state: dict[str, dict[str, Series]] = {}
        self.reader = Reader()

    def __call__(self, at: float, *events: Mapping[str, Any]) -> list[Change]:
        return self.see(at, Finder(self.rules).find(events))

    def sample(self, at: float, *samples: Sample) -> list[Change]:
        return self.see(at, self.reader.read(self.rules, samples, START + at))

    def see(self, at: float, seen: Iterable[Observation]) -> list[Change]:
        self.state, changes = evaluate(self.rules, self.state, seen, START + at)
        self.state = msgspec.json.decode(msgspec.json.encode(self.state), type=dict[str, dict[str, Series]])
        return changes


def gauge(value: float, name: str = "depth", **labels: str) -> Sample:
    return Sample(name=name, labels=labels, value=value)


def whats(changes: Iterable[Change]) -> list[str]:
    return [change.what for change in changes]


# --- matching


@pytest.mark.parametrize(
    ("where", "fields", "expected"),
    [
        ({"phase": "open"}, {"phase": "open"}, True),
        ({"phase": "open"}, {"phase": "closed"}, False),
        ({"phase": ("open", "half_open")}, {"phase": "half_open"}, True),
        ({"final": True}, {"final": True}, True),
        ({"code": 45}, {"code": 45}, True),
        ({"code": 45}, {}, False),
        ({"seconds": Bounds(above=5)}, {"seconds": 6}, True),
        ({"seconds": Bounds(above=5)}, {"seconds": "6"}, False),
        ({"seconds": Bounds(above=5, below=7)}, {"seconds": 8}, False),
        ({"seconds": Bounds(above=0)}, {"seconds": True}, False),
        ({"user": Bounds(present=True)}, {"user": "x"}, True),
        ({"user": Bounds(present=False)}, {"user": "x"}, False),
        ({"user": Bounds(present=False)}, {}, True),
    ],
)
def test_fields_are_compared_not_searched(where: Any, fields: dict[str, Any], expected: bool) -> None:
    """A condition is a value, one of some, a bound or a presence; never an expression over text."""
    assert Filter(event="a.b", where=where).matches({"event": "a.b", **fields}) is expected
    assert not Filter(event="a.b", where=where).matches({"event": "c.d", **fields})


def test_templates_are_filled_and_nothing_more() -> None:
    """A place takes a field; attributes, indices and unknown names are no way into the process."""
    said = fill("{name} of {missing}: {name.__class__} {0} {value}", {"name": "x", "value": 12.3456789})
    assert said == "x of ?: {name.__class__} ? 12.3457"


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"kind": "any"}, "either event"),
        ({"event": "a.b", "metric": "m", "above": 1}, "either event"),
        ({"kind": "change", "event": "a.b"}, "needs a term"),
        ({"metric": "m"}, "above or below"),
        ({"kind": "cardinality", "event": "a.b", "term": "x"}, "above or below"),
        ({"event": "a.b", "for": "1m"}, "lasts no time"),
        ({"kind": "stored", "event": "a.b"}, "neither event nor metric"),
        ({"kind": "frequency", "metric": "m", "share": 5}, "over a counter"),
        ({"event": "a.b", "direct": True}, "without the database"),
        ({"kind": "flatline", "event": "a.b", "window": 0}, "needs a window"),
        ({"event": "a.b", "colour": "red"}, "colour"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(said: dict[str, Any], problem: str) -> None:
    """With a sentence that says what to change."""
    with pytest.raises(msgspec.ValidationError, match=problem):
        rule(**said)


def test_the_names_that_are_asked_for_are_known() -> None:
    """The tap keeps what some rule wants, ends of alerts included; a rule over any event wants all."""
    rules = {
        "a": rule(event=["a.b", "c.d"], until={"event": "e.f"}),
        "b": rule(metric="m", above=1),
        "c": rule(kind="stored"),
    }
    assert observations.wanted(rules) == {"a.b", "c.d", "e.f"}
    assert observations.wanted({**rules, "d": rule(where={"level": "error"})}) is None


def test_matches_in_a_row_are_one_observation() -> None:
    """Of a hundred equal lines what travels is one row: how many, the first, the last, the last one's fields."""
    rules = {"r": rule(event="a.b", key=["entity"])}
    seen = Finder(rules).find([event("a.b", n / 10, entity="product", n=n) for n in range(100)])
    [one] = seen
    assert (one.count, one.first, round(one.last - one.first, 3), one.key) == (100, START, 9.9, "product")
    assert one.fields["n"] == 99


def test_batches_are_bounded() -> None:
    """Ten thousand events with keys of a stranger's choice make a batch of bounded length, and none is lost."""
    rules = {"keys": rule(event="a.b", key=["client"]), "terms": rule(kind="new_term", event="a.b", term="code")}
    seen = Finder(rules).find([event("a.b", client=str(n), code=str(n % 7)) for n in range(10_000)])
    assert len(seen) == MOST_KEYS + 1 + 7
    assert sum(one.count for one in seen) == 20_000


def test_order_is_kept_where_it_matters() -> None:
    """Open, closed, open is open; a, b, a are two changes."""
    rules = {
        "until": rule(event="x.y", where={"p": 1}, until={"event": "x.y", "where": {"p": 0}}),
        "change": rule(kind="change", event="x.y", term="p"),
    }
    seen = Finder(rules).find([event("x.y", p=p) for p in (1, 0, 1, 1)])
    assert [(one.over, one.count) for one in seen if one.rule == "until"] == [(False, 1), (True, 1), (False, 2)]
    assert [one.term for one in seen if one.rule == "change"] == ["1", "0", "1"]


def test_the_alerter_does_not_listen_to_itself() -> None:
    """A failing channel must not make alerts about itself for ever."""
    rules = {"r": rule(where={"level": "warning"})}
    assert Finder(rules).find([event("notification.failed", room="alerts")]) == []
    assert len(Finder(rules).find([event("notification.failed", room="else")])) == 1


# --- the seven kinds


def test_any_opens_renews_and_ends_after_its_grace() -> None:
    """Each match while it fires renews it; `keep_firing` after the last one it is over, and may begin anew."""
    judge = Judge(event="a.b", keep_firing="5m", title="{what} broke", severity="error")
    [opened] = judge(0, event("a.b", what="it"))
    assert (opened.what, opened.title, opened.severity, opened.type) == ("opened", "it broke", "error", "r")
    assert whats(judge(100, event("a.b", 100, what="it"))) == ["renewed"]
    assert judge(399) == []
    assert whats(judge(400)) == ["resolved"]
    assert whats(judge(500, event("a.b", 500))) == ["opened"]


def test_until_ends_an_alert_at_once() -> None:
    """A breaker that closes needs no grace; `for` counts from the first event, although no second one comes."""
    judge = Judge(
        event="breaker.changed", where={"phase": "open"}, key=["upstream"],
        until={"event": "breaker.changed", "where": {"phase": "closed"}}, **{"for": "2m"},
    )  # fmt: skip
    assert judge(0, event("breaker.changed", phase="open", upstream="books")) == []
    assert judge(119) == []
    [opened] = judge(120)
    assert (opened.cause, opened.labels) == ("books", {"upstream": "books"})
    assert whats(judge(1000)) == []
    assert whats(judge(1001, event("breaker.changed", 1001, phase="closed", upstream="books"))) == ["resolved"]


def test_an_end_that_nobody_tells_comes_by_itself() -> None:
    """Who would have said that it is over was restarted: without another match for `lapses` it is over."""
    judge = Judge(event="x.y", until={"event": "x.z"}, lapses="1h", keep_firing="1m")
    assert whats(judge(0, event("x.y"))) == ["opened"]
    assert whats(judge(3000, event("x.y", 3000))) == ["renewed"]
    assert judge(6599) == []
    assert next_look(judge.rules, judge.state, START + 6590) == 10
    assert whats(judge(6600)) == ["resolved"]


def test_what_ends_in_time_was_never_an_alert() -> None:
    """Closed within `for`: nobody hears of it."""
    judge = Judge(event="b.c", where={"p": 1}, until={"event": "b.c", "where": {"p": 0}}, **{"for": "2m"})
    judge(0, event("b.c", p=1))
    judge(60, event("b.c", 60, p=0))
    assert judge(600) == []


def test_frequency_needs_so_many_in_its_window() -> None:
    """Nine in ten minutes are none, ten are; the alert tells of all ten with the first and the last time."""
    judge = Judge(kind="frequency", event="a.b", count=10, window="10m", keep_firing=0)
    assert [judge(n * 30.0, event("a.b", n * 30.0)) for n in range(9)] == [[]] * 9
    [opened] = judge(270, event("a.b", 270))
    assert opened.count == 10
    assert (opened.first, opened.last) == (START, START + 270)
    assert whats(judge(860)) == ["resolved"]


def test_frequency_forgets_what_left_the_window() -> None:
    """One a minute never makes ten in five minutes."""
    judge = Judge(kind="frequency", event="a.b", count=10, window="5m")
    assert [change for n in range(60) for change in judge(n * 60.0, event("a.b", n * 60.0))] == []


def test_a_share_counts_growth_and_needs_enough() -> None:
    """5 % of attempts: one of two is no alert, six of a hundred are; a counter that began anew counts nothing."""
    judge = Judge(
        kind="frequency", metric="attempts_total", labels={"outcome": ["buried", "retried"]}, share=5, at_least=20,
        window="15m", title="{value} %",
    )  # fmt: skip

    def look(at: float, ok: float, bad: float) -> list[Change]:
        return judge.sample(
            at, gauge(ok, "attempts_total", outcome="applied"), gauge(bad, "attempts_total", outcome="buried")
        )

    assert look(0, 1000, 500) == []
    assert look(15, 1001, 501) == []
    assert look(30, 1095, 505) == []
    assert whats(look(45, 1095, 506)) == ["opened"]
    assert look(60, 0, 0) == []


def test_spike_compares_with_the_window_before() -> None:
    """Twice as many as in the window before, and not while there is no such window."""
    judge = Judge(kind="spike", event="a.b", window="10m", factor=2, at_least=5)
    for n in range(20):
        assert judge(n * 60.0, event("a.b", n * 60.0)) == []
    burst = [event("a.b", 1200 + n) for n in range(11)]
    assert whats(judge(1211, *burst)) == ["opened"]


def test_a_spike_of_a_gauge_compares_averages() -> None:
    """A gauge is no count: how often it was read does not matter."""
    judge = Judge(kind="spike", metric="depth", window="1m", factor=3)
    for n in range(9):
        assert judge.sample(n * 15.0, gauge(10)) == []
    changes = [change for n in range(9, 14) for change in judge.sample(n * 15.0, gauge(100))]
    assert whats(changes) == ["opened"]


def test_flatline_notices_what_does_not_come() -> None:
    """After a whole window without enough events, also when there never was one."""
    judge = Judge(kind="flatline", event="heartbeat.seen", window="6h", keep_firing=0)
    assert judge(0) == []
    assert judge(6 * 3600 - 1) == []
    assert whats(judge(6 * 3600)) == ["opened"]
    assert whats(judge(6 * 3600 + 60, event("heartbeat.seen", 6 * 3600 + 60))) == ["resolved"]
    assert next_look(judge.rules, judge.state, START + 6 * 3600 + 60) == 6 * 3600


def test_change_tells_of_another_value() -> None:
    """Per key; the first value is known, not changed."""
    judge = Judge(kind="change", event="node.seen", term="version", key=["node"])
    assert judge(0, event("node.seen", node="a", version="1"), event("node.seen", node="b", version="2")) == []
    assert judge(10, event("node.seen", 10, node="a", version="1")) == []
    [opened] = judge(20, event("node.seen", 20, node="a", version="2"))
    assert opened.cause == "a"


def test_new_term_learns_for_a_window_first() -> None:
    """What was seen in the window is no news; after a window of silence it is."""
    judge = Judge(kind="new_term", event="task.failed", term="code", window="1d", keep_firing=0)
    assert judge(0, event("task.failed", code="timeout")) == []
    assert judge(3600, event("task.failed", 3600, code="deadlock")) == []
    day = 86_400.0
    assert judge(day, event("task.failed", day, code="deadlock")) == []
    assert whats(judge(day + 1, event("task.failed", day + 1, code="23514"))) == ["opened"]


def test_cardinality_counts_distinct_terms() -> None:
    """More than three clients in ten minutes; the same one again is no other."""
    judge = Judge(kind="cardinality", event="webhook.refused", term="client", above=3, window="10m", keep_firing=0)
    for n in range(10):
        assert judge(n, event("webhook.refused", n, client=f"10.0.0.{n % 3}")) == []
    [opened] = judge(11, event("webhook.refused", 11, client="10.0.0.9"))
    assert opened.metadata["value"] == 4
    assert whats(judge(700)) == ["resolved"]


def test_cardinality_below_waits_for_a_whole_window() -> None:
    """Fewer nodes than there should be is known only after everybody had time to speak."""
    judge = Judge(kind="cardinality", event="node.seen", term="node", below=2, window="1m")
    assert judge(0, event("node.seen", node="a")) == []
    assert whats(judge(61, event("node.seen", 61, node="a"))) == ["opened"]


# --- samples


def test_a_gauge_must_hold_for_its_time() -> None:
    """A dip within `for` begins it anew; `keep_firing` bridges a dip later."""
    judge = Judge(metric="depth", above=1000, keep_firing="1m", **{"for": "2m"})
    judge.sample(0, gauge(1500))
    judge.sample(60, gauge(900))
    judge.sample(75, gauge(1500))
    assert judge.sample(180, gauge(1500)) == []
    assert whats(judge.sample(195, gauge(1500))) == ["opened"]
    assert judge.sample(200, gauge(900)) == []
    assert judge.sample(240, gauge(1500)) == []
    assert judge.sample(270, gauge(900)) == []
    assert whats(judge.sample(300, gauge(900))) == ["resolved"]


def test_series_are_combined_by_key_and_nodes_see_the_same() -> None:
    """Two nodes that read one queue are not twice the queue; two entities are."""
    judge = Judge(metric="tasks", labels={"status": "pending"}, above=10)
    both = [
        gauge(6, "tasks", entity=entity, status="pending", node=node) for entity in ("a", "b") for node in ("1", "2")
    ]
    [opened] = judge.sample(0, *both, gauge(999, "tasks", entity="a", status="failed", node="1"))
    assert opened.metadata["value"] == 12


def test_node_can_be_the_key() -> None:
    """What is of one process is told of that process."""
    judge = Judge(metric="refused", above=0, key=["node"], combine="max")
    changes = judge.sample(0, gauge(1, "refused", node="one"), gauge(0, "refused", node="two"))
    assert [change.cause for change in changes] == ["one"]


@pytest.mark.parametrize(("no_data", "expected"), [("fire", "opened"), ("resolve", "resolved"), ("keep", None)])
def test_no_data_means_what_is_said(no_data: str, expected: str | None) -> None:
    """A metric that gives no samples: an alert of its own, the end of one, or no change."""
    judge = Judge(metric="depth", above=10, no_data=no_data, no_data_after="2m", keep_firing=0)
    judge.sample(0, gauge(5 if no_data == "fire" else 50))
    judge.sample(119)
    changes = judge.sample(120)
    assert whats(changes) == ([expected] if expected else [])


# --- all together


def test_a_rule_that_goes_ends_its_alerts() -> None:
    """Removed or switched off: what it had opened is resolved, with that as the reason."""
    judge = Judge(event="a.b")
    judge(0, event("a.b"))
    judge.rules = {}
    [resolved] = judge(1)
    assert (resolved.what, resolved.reason) == ("resolved", "its rule is gone")


def test_a_changed_rule_goes_on_with_what_fires() -> None:
    """A reload with another title or window does not end and reopen what is an alert already."""
    judge = Judge(event="a.b", keep_firing="5m")
    judge(0, event("a.b"))
    judge.rules = {"r": rule(event="a.b", keep_firing="10m", title="new words")}
    assert judge(1) == []
    assert whats(judge(599)) == []
    assert whats(judge(600)) == ["resolved"]


def test_keys_are_bounded() -> None:
    """A key that a stranger chooses cannot fill the memory: the surplus shares one alert."""
    judge = Judge(event="a.b", key=["client"])
    changes = judge(0, *[event("a.b", client=str(n)) for n in range(MOST_KEYS + 50)])
    causes = {change.cause for change in changes}
    assert len(causes) == MOST_KEYS + 1
    assert OTHERS in causes


def test_keys_are_forgotten() -> None:
    """A key that was quiet for long leaves nothing behind."""
    judge = Judge(kind="frequency", event="a.b", key=["entity"], count=5, window="1m")
    judge(0, event("a.b", entity="x"))
    assert judge.state["r"]
    judge(3600)
    assert judge.state["r"] == {}


steps = st.lists(st.tuples(st.floats(0.5, 400.0), st.booleans()), max_size=60)


@given(steps, st.sampled_from(["any", "frequency", "flatline", "spike"]))
def test_opening_and_resolving_take_turns(given_steps: list[tuple[float, bool]], kind: str) -> None:
    """Whatever comes when: an alert is opened once before it is resolved, and renewed only in between."""
    judge = Judge(kind=kind, event="a.b", count=2, window="5m", keep_firing="1m")
    at, is_open = 0.0, False
    for pause, happens in given_steps:
        at += pause
        for change in judge(at, *([event("a.b", at)] if happens else [])):
            assert change.what == ("opened" if not is_open else change.what)
            assert is_open or change.what == "opened"
            is_open = change.what != "resolved"


@given(steps)
def test_every_match_is_counted_once(given_steps: list[tuple[float, bool]]) -> None:
    """What an alert tells in all its changes is exactly what happened while it fired."""
    judge = Judge(event="a.b", keep_firing="1m")
    at, told, happened = 0.0, 0, 0
    for pause, happens in given_steps:
        at += pause
        told += sum(
            change.count for change in judge(at, *([event("a.b", at)] if happens else [])) if change.what != "resolved"
        )
        happened += happens
    assert told == happened


@given(st.lists(st.floats(0, 3600), min_size=1, max_size=200), st.integers(1, 20))
def test_frequency_agrees_with_counting_by_hand(moments: list[float], count: int) -> None:
    """It never fires for fewer than `count` in window plus one part of it, and always for `count` in nine tenths."""
    judge = Judge(kind="frequency", event="a.b", count=count, window="10m", keep_firing=0)
    known: list[float] = []
    for at in sorted(moments):
        known.append(at)
        judge(at, event("a.b", at))
        fires = judge.state["r"][""].firing
        surely = sum(at - 540 < one for one in known) >= count
        perhaps = sum(at - 611 < one for one in known) >= count
        assert surely <= fires <= perhaps


# --- the default rules


def defaults() -> Config:
    return config.load(ROOT / "tds.toml", Config, {}, defaults=schedules.defaults).value


def test_the_default_rules_are_there() -> None:
    """Everything that an operator must hear of has its rule, and each severity is what was agreed."""
    rules = defaults().alert
    severities = {
        "failure_rate": "critical", "queue_depth": "warning", "sync_lag": "warning", "dlq_overflow": "error",
        "node_lost": "critical", "match_rate": "warning", "webhook_silence": "warning", "stuck_task": "warning",
        "schedule_failed": "error", "service_level": "warning", "database_down": "critical",
        "source_refused": "critical", "breaker_open": "warning", "actor_quarantined": "error",
        "config_refused": "error", "log_dropped": "warning", "missing_record": "warning",
    }  # fmt: skip
    assert {name: one.severity for name, one in rules.items()} == severities
    assert [name for name, one in rules.items() if not (ROOT / one.runbook).is_file()] == []
    ways.check(defaults().alerting, {})


def test_every_metric_that_a_default_rule_asks_for_exists() -> None:
    """A misspelt metric would never fire."""
    from tds_runtime.metrics import Metrics  # noqa: PLC0415 - only here

    known = {description.name for description in Metrics().catalogue()}
    asked = {one.metric for one in defaults().alert.values() if one.metric}
    assert len(asked) >= 5
    assert asked - known == set()


def test_every_event_that_a_default_rule_asks_for_exists() -> None:
    """A misspelt event would never fire: each stands in the source."""
    sources = "".join(
        path.read_text() for package in ("actors", "tds_runtime") for path in (ROOT / package).rglob("*.py")
    )
    names = observations.wanted(defaults().alert)
    assert names is not None
    assert [name for name in names if f'"{name}"' not in sources] == []


def test_a_mistake_in_a_rule_is_named_with_its_line(tmp_path: Path) -> None:
    """As everywhere in the configuration; and editors know the sections."""
    file = tmp_path / "tds.toml"
    file.write_text('[database]\ndsn = "x"\n[alert.lag]\nmetric = "m"\nabove = 1\nfro = "1m"\n')
    with pytest.raises(ConfigError) as caught:
        config.load(file, Config, {}, defaults=schedules.defaults)
    [problem] = caught.value.problems
    assert (problem.line, problem.message) == (6, "there is no setting alert.lag.fro")
    known = config.schema(Config)["$defs"]
    assert {"Rule", "Route", "Channel", "Inhibit"} <= set(known)
    assert "for" in known["Rule"]["properties"]


def test_a_route_to_nowhere_is_refused() -> None:
    """With the name that was meant."""
    raw = tomllib.loads('[route.x]\nchannels = ["opps"]\n[channel.ops]\ntype = "log"\n[database]\ndsn = "x"\n')
    found = msgspec.convert(raw, Config, dec_hook=decode_own)
    with pytest.raises(ConfigError, match=r"route.x.channels: there is no \[channel.opps\]; did you mean ops"):
        ways.check(found.alerting, found.channel)


def test_an_alert_finds_the_rule_that_tells_it() -> None:
    """By the type that the rule gives, or by its name."""
    rules = {"a": rule(event="x.y", type="b"), "c": rule(kind="stored")}
    assert rule_of(rules, "b") is rules["a"]
    assert rule_of(rules, "c") is rules["c"]
    assert rule_of(rules, "d") is None
