"""Who is told when, in virtual time: the board and the plan are values, so days pass in microseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from actors.alerting import letters
from actors.alerting.letters import compose
from actors.alerting.outbox import outgoing_of
from actors.alerting.planning import Board, Group, Notice, Plan, Settings, plan
from actors.alerting.routing import Alert, Inhibit, Matchers, Options, Route, Silence
from actors.alerting.rules import Rule, Step
from actors.alerting.storing import Pressure
from tds_runtime.values import Duration

START = datetime(2026, 11, 27, 8, tzinfo=UTC)
MINUTE = 60.0


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def alert(number: int = 1, **said: Any) -> Alert:
    fields: dict[str, Any] = {
        "alert_type": "queue_depth", "severity": "warning", "cause": "queue", "title": f"alert {number}",
        "created_at": START, "first_seen_at": START, "last_seen_at": START,
    }  # fmt: skip
    return Alert(id=number, **(fields | said))


class Desk:
    """A board that follows its plans, as the store does."""

    def __init__(self, *alerts: Alert, **settings: Any) -> None:
        self.alerts = {one.id: one for one in alerts}
        self.groups: dict[tuple[str, str], Group] = {}
        self.silences: list[Silence] = []
        self.settings = Settings(**({"rules": {}, "routes": {"all": Route(channels=("ops",))}} | settings))

    def __call__(self, seconds: float) -> Plan:
        board = Board(alerts=list(self.alerts.values()), groups=self.groups, silences=self.silences)
        made = plan(board, self.settings, at(seconds))
        self.alerts |= {one.id: one for one in made.alerts}
        for number in made.settled:
            del self.alerts[number]
        self.groups |= {(one.route, one.group_key): one for one in made.groups}
        for one in made.closed:
            self.groups.pop((one.route, one.group_key), None)
        return made

    def told(self, seconds: float) -> list[tuple[str, tuple[str, ...], list[int], list[int]]]:
        return [
            (one.kind, one.channels, [a.id for a in one.firing], [a.id for a in one.resolved])
            for one in self(seconds).notices
        ]

    def change(self, number: int, **fields: Any) -> None:
        self.alerts[number] = replace(self.alerts[number], **fields)


# --- groups and their timers


def test_the_first_alert_waits_for_company() -> None:
    """group_wait: what comes within thirty seconds is told together, and the plan knows when."""
    desk = Desk(alert(1))
    assert desk(0).next_at == at(30)
    desk.alerts[2] = alert(2, cause="other", created_at=at(20))
    assert desk.told(29.9) == []
    assert desk.told(30) == [("firing", ("ops",), [1, 2], [])]
    assert desk.told(31) == []


def test_news_of_a_group_wait_for_the_interval() -> None:
    """group_interval: the next one of the group is told five minutes after the first, with all that fires."""
    desk = Desk(alert(1))
    desk(0)
    desk(30)
    desk.alerts[2] = alert(2)
    assert desk.told(60) == []
    assert desk.told(30 + 5 * MINUTE) == [("firing", ("ops",), [1, 2], [])]


def test_what_still_fires_is_told_again_after_hours() -> None:
    """repeat_interval: four hours after the last word, not before, and then again."""
    desk = Desk(alert(1))
    desk(0)
    desk(30)
    hours = 4 * 3600.0
    assert desk.told(30 + hours - 1) == []
    assert desk.told(30 + hours) == [("repeat", ("ops",), [1], [])]
    assert desk.told(30 + 2 * hours) == [("repeat", ("ops",), [1], [])]


def test_groups_are_by_what_they_share() -> None:
    """Another type is another group, told at its own time."""
    desk = Desk(alert(1), alert(2, alert_type="dlq_overflow"))
    desk(0)
    assert sorted(desk.told(30)) == [("firing", ("ops",), [1], []), ("firing", ("ops",), [2], [])]


def test_the_end_is_told_to_those_who_were_told() -> None:
    """A resolve notice at the group's interval; the group is closed and the alert settled."""
    desk = Desk(alert(1))
    desk(0)
    desk(30)
    desk.change(1, resolved_at=at(60))
    assert desk.told(100) == []
    assert desk.alerts
    assert desk.told(330) == [("resolved", ("ops",), [], [1])]
    assert desk.alerts == {}
    desk(331)
    assert desk.groups == {}


def test_what_ends_before_anybody_was_told_is_told_nobody() -> None:
    """And its log says so."""
    desk = Desk(alert(1))
    desk(0)
    desk.change(1, resolved_at=at(10))
    made = desk(40)
    assert made.notices == ()
    assert [(one.kind, one.detail) for one in made.entries] == [("untold", "over before anybody was told")]
    assert desk.alerts == {}
    assert desk.groups == {}


# --- routes


def test_the_first_route_that_matches_takes_the_alert() -> None:
    """In the order of the file; `go_on` lets a later one look as well; what none takes goes to the log."""
    routes = {
        "audit": Route(match=Matchers(type="queue_depth"), channels=("book",), go_on=True),
        "urgent": Route(match=Matchers(severity=("critical", "error")), channels=("pager",)),
        "product": Route(match=Matchers(labels={"entity": "product"}), channels=("shop",)),
    }
    desk = Desk(
        alert(1, severity="critical"),
        alert(2, alert_type="x", labels={"entity": "product"}),
        alert(3, alert_type="y"),
        routes=routes,
    )
    desk(0)
    told = {channels: firing for _, channels, firing, _ in desk.told(30)}
    assert told == {("book",): [1], ("pager",): [1], ("shop",): [2], ("log",): [3]}


# --- escalation


ESCALATING = {
    "all": Route(
        channels=("ops",), escalation=(Step(channels=("pager",)), Step(channels=("boss",), after=Duration("10m")))
    )
}


def test_an_unacknowledged_alert_reaches_the_next_step_at_its_minute() -> None:
    """Five minutes after people were told, to the second; the next one ten minutes later; then no more."""
    desk = Desk(alert(1), routes=ESCALATING)
    desk(0)
    desk(30)
    assert desk(31).next_at == at(30 + 5 * MINUTE)
    assert desk.told(30 + 5 * MINUTE - 0.001) == []
    assert desk.told(30 + 5 * MINUTE) == [("escalation", ("pager",), [1], [])]
    assert desk.told(30 + 15 * MINUTE - 0.001) == []
    assert desk.told(30 + 15 * MINUTE) == [("escalation", ("boss",), [1], [])]
    assert desk.told(30 + 60 * MINUTE) == []


def test_an_acknowledged_alert_goes_no_further() -> None:
    """Neither its next step nor a repetition, and its log says why."""
    desk = Desk(alert(1), routes=ESCALATING)
    desk(0)
    desk(30)
    desk.change(1, acknowledged=True, acknowledged_by="ann", comment="on it", acknowledged_until=at(24 * 3600))
    [entry] = desk(100).entries
    assert (entry.kind, entry.detail) == ("muted", "acknowledged by ann until 2026-11-28 08:00:00Z: on it")
    assert [desk.told(hour * 3600.0) for hour in range(1, 24)] == [[]] * 23


def test_an_old_acknowledgement_pages_again() -> None:
    """When it expires people are told as if the alert were new, and the steps begin anew."""
    desk = Desk(alert(1), routes=ESCALATING)
    desk(0)
    desk(30)
    desk(330)
    desk.change(1, acknowledged=True, acknowledged_by="ann", acknowledged_until=at(3600))
    desk(400)
    assert desk(3599).notices == ()
    made = desk(3600)
    assert [one.kind for one in made.entries] == ["acknowledgement_expired", "unmuted"]
    assert [(one.kind, one.channels) for one in made.notices] == [("firing", ("ops",))]
    assert desk.told(3600 + 5 * MINUTE) == [("escalation", ("pager",), [1], [])]


def test_the_end_reaches_the_steps_that_were_reached() -> None:
    """The pager that woke somebody says that it is over; the boss was never told."""
    desk = Desk(alert(1), routes=ESCALATING)
    for seconds in (0, 30, 330):
        desk(seconds)
    desk.change(1, resolved_at=at(400))
    assert desk.told(700) == [("resolved", ("ops", "pager"), [], [1])]


def test_a_rule_may_have_steps_of_its_own() -> None:
    """Instead of the route's."""
    rules = {"queue_depth": Rule(kind="stored", escalation=(Step(channels=("chief",), after=Duration("1m")),))}
    desk = Desk(alert(1), routes=ESCALATING, rules=rules)
    desk(0)
    desk(30)
    assert desk.told(90) == [("escalation", ("chief",), [1], [])]


# --- silence


def test_a_silenced_alert_says_by_whom_and_is_told_afterwards() -> None:
    """Nobody is told while it lasts; when it is over and the alert still fires, somebody is."""
    desk = Desk(alert(1))
    desk.silences = [
        Silence(
            id=7, matchers=Matchers(type="queue_depth"), author="bob", comment="moving house", created_at=START,
            expires_at=at(3600),
        )
    ]  # fmt: skip
    made = desk(0)
    assert made.next_at == at(3600)
    [entry] = made.entries
    assert entry.detail == "silence 7 by bob until 2026-11-27 09:00:00Z: moving house"
    assert [one.id for one in made.muted] == [1]
    assert desk.told(3599) == []
    assert [one.kind for one in desk(3600).entries] == ["unmuted"]
    assert desk.told(3630) == [("firing", ("ops",), [1], [])]


DOWN = Inhibit(source=Matchers(type="database_down"))


def test_what_follows_from_an_outage_is_inhibited() -> None:
    """While the database is down nobody is told of the rest, and the log names the alert that mutes."""
    desk = Desk(alert(1), alert(2, alert_type="database_down"), inhibits=(DOWN,))
    made = desk(0)
    assert [(one.alert_id, one.detail) for one in made.entries] == [(1, "inhibited by alert 2 (database_down)")]
    assert desk.told(30) == [("firing", ("ops",), [2], [])]
    desk.change(2, resolved_at=at(60))
    desk(60)
    assert ("firing", ("ops",), [1], []) in desk.told(90)


def test_inhibition_may_ask_for_equal_labels() -> None:
    """An entity's outage mutes that entity only."""
    rule = Inhibit(source=Matchers(type="entity_down"), target=Matchers(type="lag"), equal=("entity",))
    desk = Desk(
        alert(1, alert_type="entity_down", labels={"entity": "a"}),
        alert(2, alert_type="lag", labels={"entity": "a"}),
        alert(3, alert_type="lag", labels={"entity": "b"}),
        inhibits=(rule,),
    )
    assert [one.alert_id for one in desk(0).entries] == [2]


# --- properties

moves = st.lists(
    st.tuples(st.floats(1, 4000), st.sampled_from(["look", "open", "resolve", "ack", "silence"]), st.integers(1, 4)),
    max_size=40,
)


@given(moves)
def test_nothing_is_told_twice_for_one_cause(given_moves: list[tuple[float, str, int]]) -> None:
    """Whatever happens in whatever order: each word of a group is news or due again, and each end is told once."""
    desk = Desk(routes={"all": Route(channels=("ops",))})
    now, last = 0.0, 0.0
    begun: set[int] = set()
    for pause, move, number in given_moves:
        now += pause
        known = desk.alerts.get(number)
        if move == "open" and known is None:
            desk.alerts[number] = alert(number)
            begun.discard(number)
        elif move == "resolve" and known is not None and known.resolved_at is None:
            desk.change(number, resolved_at=at(now))
        elif move == "ack" and known is not None and known.resolved_at is None:
            desk.change(number, acknowledged=True, acknowledged_by="x", acknowledged_until=at(now + 500))
        elif move == "silence":
            matchers = Matchers(type="queue_depth")
            until = at(now + 1000)
            desk.silences = [
                Silence(id=1, matchers=matchers, author="x", comment="", created_at=at(now), expires_at=until)
            ]
        made = desk(now)
        begun -= {one.alert_id for one in made.entries if one.kind == "acknowledgement_expired"}
        assert len(made.notices) <= 1
        for notice in made.notices:
            firing, resolved = ({one.id for one in some} for some in (notice.firing, notice.resolved))
            assert not any(one.muted or one.resolved_at for one in notice.firing)
            assert resolved <= begun
            match notice.kind:
                case "firing":
                    assert firing - begun
                case "repeat":
                    assert firing <= begun
                    assert now - last >= 4 * 3600
                case _:
                    assert resolved
            begun, last = (begun | firing) - resolved, now
        assert desk(now).notices == ()


# --- letters and floods


def notice(*alerts: Alert, kind: Any = "firing", channels: tuple[str, ...] = ("ops",)) -> Notice:
    return Notice(kind=kind, route="all", group_key="type=queue_depth", channels=channels, firing=alerts)


def test_a_letter_says_how_often_and_since_when() -> None:
    """Count, first and last time, what to do, and how to acknowledge."""
    one = alert(7, occurrences=100, last_seen_at=at(10), message="Do this.", runbook="ops/runbooks/queue_depth.md")
    letter = compose(notice(one), {})
    assert letter.subject == "[warning] alert 7"
    assert "Seen 100 times, 2026-11-27 08:00:00Z to 2026-11-27 08:00:10Z." in letter.text
    assert "What to do: ops/runbooks/queue_depth.md" in letter.text
    assert "tds-runtime alert acknowledge 7" in letter.text
    assert "Do this." in letter.text
    assert letter.alerts[0].count == 100


def test_nothing_secret_reaches_a_letter() -> None:
    """Title, message, cause, labels and data pass the redactor."""
    canary = "canary-55aa55aa"
    one = alert(
        1, title=f"t {canary}", message=canary, cause=canary, labels={"x": canary}, metadata={"deep": f"a{canary}b"}
    )
    letter = compose(notice(one), {}, lambda text: text.replace(canary, "***"))
    assert canary not in repr(letter)


@given(st.integers(1, 300))
def test_letters_are_bounded(count: int) -> None:
    """However many alerts there are, a letter fits every channel and says how many it does not spell out."""
    letter = compose(notice(*[alert(n, message="m" * 500) for n in range(1, count + 1)]), {})
    assert len(letter.text) <= letters.LONGEST
    assert len(letter.alerts) <= letters.MOST_SHOWN
    assert letter.total == count


def test_a_flood_is_cut_and_summed_up() -> None:
    """More than the cap is held back with its reason; once there is room one summary tells of it."""
    settings = Settings(rules={}, routes={}, options=Options(flood=3))
    storm = Plan(notices=tuple(notice(alert(n)) for n in range(1, 6)))
    outgoing, summed = outgoing_of(storm, settings, {"ops": Pressure(given=1)}, str)
    assert [one.status for one in outgoing] == ["pending", "pending", "suppressed", "suppressed", "suppressed"]
    assert outgoing[-1].reason == "flood cap: more than 3 in 10m"
    assert summed == []
    held = Pressure(given=0, held=("a", "a", "b"))
    [summary], summed = outgoing_of(Plan(), settings, {"ops": held}, str)
    assert summed == ["ops"]
    assert summary.letter.subject == "[summary] 3 notifications were held back"
    assert "2 x a" in summary.letter.text
