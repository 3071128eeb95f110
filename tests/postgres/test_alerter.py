"""The alerter on a real database, in the test's own time: from an event to a letter, across crashes and nodes."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest
import structlog
from fixtures.daemon import until
from fixtures.mail import Mailer
from fixtures.upstream import HANG, Asked, Reply, Upstream

from actors.alerter import Watch, alerter
from actors.alerting import acting, conditions, storing
from actors.alerting.channels import Channel, Refused, Undelivered
from actors.alerting.conditions import Conditions
from actors.alerting.delivery import Postman
from actors.alerting.desk import LEASE, Desk
from actors.alerting.letters import DOUBT, Letter
from actors.alerting.planning import Settings
from actors.alerting.routing import Inhibit, Matchers, Options, Route
from actors.alerting.rules import Rule, Step
from actors.alerting.storing import Finding, Over
from actors.condition import Thresholds
from tds_runtime import Context, intake, logs, sql
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone, LeaseLost
from tds_runtime.intake import Delivery
from tds_runtime.leader import Leader
from tds_runtime.metrics import Metrics
from tds_runtime.redaction import Redactor
from tds_runtime.tap import Tap
from tds_runtime.values import Duration, Secret

pytestmark = pytest.mark.anyio

CANARY = "canary-9f8e7d6c5b4a"
BROKE = {"broke": Rule(event="thing.broke", title="{what} broke", keep_firing=Duration("10m"), severity="error")}
OPS = {"all": Route(channels=("ops",))}


class Clock:
    """The time of a test; it begins now, because leases and acknowledgements go by the database's."""

    def __init__(self) -> None:
        self.start = datetime.now(UTC).replace(microsecond=0)
        self.seconds = 0.0

    def __call__(self) -> datetime:
        return self.start + timedelta(seconds=self.seconds)


class Sent:
    """A channel's other end: keeps letters, fails or hangs as it is told."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, Letter, str]] = []
        self.errors: dict[str, Exception] = {}
        self.hung = anyio.Event()
        self.hanging: set[str] = set()

    async def __call__(self, channel: Channel, letter: Letter, number: str) -> None:
        name = str(channel.url or channel.type)
        if name in self.hanging:
            self.hung.set()
            await anyio.sleep_forever()
        if name in self.errors:
            raise self.errors[name]
        self.letters.append((name, letter, number))

    @property
    def subjects(self) -> list[str]:
        return [letter.subject for _, letter, _ in self.letters]


class Node:
    """One process, as far as alerts go."""

    def __init__(self, database: Database, clock: Clock, sent: Sent, name: str = "one", **said: Any) -> None:
        self.database, self.clock, self.tap, self.metrics = database, clock, Tap(), Metrics()
        self.leader = Leader(database, name="alerter", boot_id=name, lease=LEASE)
        channels = said.pop("channels", {"ops": Channel(type="log")})
        self.settings = Settings(**({"rules": BROKE, "routes": OPS} | said))
        self.desk = Desk(
            database, self.leader, self.tap, self.metrics, settings=self.settings, limits=Conditions(), boot_id=name,
            node=name, clock=clock,
        )  # fmt: skip
        self.postman = Postman(database, channels, tell=sent)

    def happens(self, event: str, **fields: Any) -> None:
        stamp = self.clock().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self.tap.observe({"timestamp": stamp, "level": "error", "event": event, **fields})

    async def turn(self, seconds: float | None = None) -> None:
        """Everything that the actor does at that second of the test."""
        if seconds is not None:
            self.clock.seconds = seconds
        if self.desk.listen():
            await self.desk.hand_over()
        await self.leader.campaign()
        await self.desk.turn()
        if self.leader.leads():
            await self.postman.send_all(self.clock())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sent(anyio_backend: str) -> Sent:
    return Sent()


@pytest.fixture
def node(database: Database, clock: Clock, sent: Sent) -> Node:
    return Node(database, clock, sent)


async def alerts(database: Database) -> list[dict[str, Any]]:
    return await acting.listed(database, resolved=True)


async def log_of(database: Database, alert: int = 1) -> list[tuple[str, str]]:
    return [(one["kind"], one["detail"]) for one in await acting.events(database, alert)]


async def outbox(database: Database) -> list[tuple[str, str, str, str]]:
    rows = await database.fetch("SELECT channel, kind, status, reason FROM tds_notifications ORDER BY id")
    return [tuple(row) for row in rows]


async def lose_lead(database: Database) -> None:
    await database.execute("UPDATE tds_leaders SET renewed_at = now() - interval '10 minutes'")


# --- from an event to a letter


async def test_a_hundred_lines_make_one_letter(node: Node, sent: Sent, database: Database) -> None:
    """Within ten seconds: one alert, one notification, with how many, the first and the last time."""
    for second in range(10):
        node.clock.seconds = second
        for _ in range(10):
            node.happens("thing.broke", what="it")
        await node.turn(float(second))
    for second in (20, 29, 31, 40):
        await node.turn(float(second))
    [(_, letter, _)] = sent.letters
    [item] = letter.alerts
    assert (item.count, item.title) == (100, "it broke")
    assert (item.first_seen_at, item.last_seen_at) == (node.clock.start, node.clock.start + timedelta(seconds=9))
    assert "Seen 100 times" in letter.text
    assert [alert["occurrences"] for alert in await alerts(database)] == [100]
    assert await outbox(database) == [("ops", "firing", "sent", "")]
    kinds = [kind for kind, _ in await log_of(database)]
    assert kinds == ["opened", "told"]


async def test_the_end_is_told(node: Node, sent: Sent, database: Database) -> None:
    """After the last event and its grace, to whoever was told."""
    node.happens("thing.broke", what="it")
    for second in (0, 30, 601, 602):
        await node.turn(second)
    assert sent.subjects == ["[error] it broke", "[resolved] it broke"]
    assert await database.fetchval("SELECT settled AND resolved_at IS NOT NULL FROM tds_alerts")
    assert await database.fetchval("SELECT count(*) FROM tds_alert_groups") == 0


async def test_a_batch_that_is_handed_over_twice_is_one(node: Node, database: Database) -> None:
    """The answer was lost, so the node sends it again: nothing is counted double."""
    node.happens("thing.broke", what="it")
    node.desk.listen()
    [(batch, body)] = node.desk._waiting
    await storing.observe(database, "one", batch, body)
    await node.turn(0)
    await node.turn(1)
    assert [alert["occurrences"] for alert in await alerts(database)] == [1]


async def test_nothing_secret_reaches_a_letter(database: Database, clock: Clock, sent: Sent) -> None:
    """From a field of a log line, past tap, window, alert and outbox: the canary is nowhere."""
    node = Node(
        database, clock, sent, rules={"any": Rule(event="thing.broke", title="{reason} {what}", message="{url}")}
    )
    redactor = Redactor([CANARY])
    with open(os.devnull, "w") as stream:  # noqa: ASYNC230, PTH123 - nothing is written
        made = logs.configure(logs.Options(), stream=stream, secrets=[CANARY], observers=[node.tap.observe])
        logs.get("room").error(
            "thing.broke", what=CANARY, reason=f"token={CANARY}", url=f"https://x.example/?a={CANARY}", password=CANARY
        )
        made.close()
    structlog.reset_defaults()
    node.desk._redact = redactor.text
    await node.turn(0)
    await node.turn(30)
    assert len(sent.letters) == 1
    assert CANARY not in repr(sent.letters)
    for table in ("tds_alerts", "tds_alert_events", "tds_notifications", "tds_alert_states"):
        rows = await database.fetch(f"SELECT t::text AS text FROM {table} AS t")
        assert rows
        assert all(CANARY not in row["text"] for row in rows)


async def test_what_no_database_takes_is_told_all_the_same(database: Database, clock: Clock, sent: Sent) -> None:
    """NUL, lone surrogates, NaN, an integer of a hundred digits: in a field, a key, and in the answer of a channel."""
    rules = {"broke": Rule(event="thing.broke", title="{what} broke", key=("what",), term="what", kind="change"),
             "any": Rule(event="thing.broke", title="{what} broke")}  # fmt: skip
    node = Node(database, clock, sent, rules=rules, channels={"ops": Channel(type="log", tries=1)})
    sent.errors["log"] = Refused("550 no\0 \ud800")
    node.happens("thing.broke", what="a\0b\ud800", share=float("nan"), size=10**100)
    for second in (0, 30, 31):
        await node.turn(second)
    assert [alert["title"] for alert in await alerts(database)] == ["a\\0b\\ud800 broke"]
    assert [reason for _, _, _, reason in await outbox(database)] == ["550 no\\0 \\ud800"]


async def test_samples_of_all_nodes_are_judged(database: Database, clock: Clock, sent: Sent) -> None:
    """This node's as they stand, the others' from the table where they are kept."""
    rule = Rule(metric="tds_config_refused", above=0, key=("node",), combine="max")
    node = Node(database, clock, sent, rules={"refused": rule})
    node.metrics.configuration_refused.set(1)
    await node.turn(0)
    assert [alert["cause"] for alert in await alerts(database)] == ["one"]
    for boot_id in ("one", "two"):
        await database.execute(
            "INSERT INTO tds_nodes (boot_id, name, host, pid, process, version, lease) "
            "VALUES ($1, $1, '', 1, '', '', '60s')",
            boot_id,
        )
    await database.execute(
        "INSERT INTO tds_metrics (metric_name, metric_value, node) VALUES ('tds_config_refused', 1, 'two')"
    )
    await node.turn(15)
    assert sorted(alert["cause"] for alert in await alerts(database)) == ["one", "two"]


# --- one cause, one alert


async def test_two_nodes_make_one_alert_and_one_letter(database: Database, clock: Clock, sent: Sent) -> None:
    """Both see it, both take their turns: it is counted together and told once."""
    one, two = (Node(database, clock, sent, name) for name in ("one", "two"))
    for second in (0, 1, 2, 30, 31):
        if second < 3:
            one.happens("thing.broke", what="it")
            two.happens("thing.broke", what="it")
        for node in (two, one):
            await node.turn(second)
    await two.turn(35)
    assert [alert["occurrences"] for alert in await alerts(database)] == [6]
    assert len(sent.letters) == 1


async def test_nodes_that_act_at_the_same_time_tell_once(database: Database, clock: Clock, sent: Sent) -> None:
    """Three nodes listen, hand over, campaign and judge side by side for a minute: every line counts, one letter."""
    nodes = [Node(database, clock, sent, name) for name in ("one", "two", "three")]
    for second in range(0, 60, 5):
        clock.seconds = second
        for node in nodes:
            node.happens("thing.broke", what="it")
        async with anyio.create_task_group() as group:
            for node in nodes:
                group.start_soon(node.turn)
    for node in nodes:
        await node.turn(60)
    assert [alert["occurrences"] for alert in await alerts(database)] == [36]
    assert len(sent.letters) == 1


async def test_a_successor_tells_nothing_again(database: Database, clock: Clock, sent: Sent) -> None:
    """The leader dies after it told; the next one goes on: no second alert, no second letter, and it tells the end."""
    one, two = (Node(database, clock, sent, name) for name in ("one", "two"))
    one.happens("thing.broke", what="it")
    await one.turn(0)
    await one.turn(30)
    await lose_lead(database)
    for second in (31, 60, 300):
        await two.turn(second)
    assert len(sent.letters) == 1
    with pytest.raises(LeaseLost):
        async with database.transaction() as connection:
            await one.leader.confirm(connection)
    await two.turn(1000)
    assert sent.subjects == ["[error] it broke", "[resolved] it broke"]
    assert len(await alerts(database)) == 1


async def test_what_fires_survives_a_restart_and_a_reload(database: Database, clock: Clock, sent: Sent) -> None:
    """A new life with other rules goes on where the old one was; a rule that is gone ends its alert."""
    node = Node(database, clock, sent)
    node.happens("thing.broke", what="it")
    await node.turn(0)
    await node.turn(30)
    changed = {"broke": Rule(event="thing.broke", title="{what} is broken", keep_firing=Duration("20m"))}
    again = Node(database, clock, sent, rules=changed)
    for second in (31, 60, 650):
        await again.turn(second)
    assert len(sent.letters) == 1
    assert [alert["resolved_at"] for alert in await alerts(database)] == [None]
    without = Node(database, clock, sent, rules={})
    await without.turn(700)
    [alert] = await alerts(database)
    assert alert["resolved_at"] is not None
    assert sent.subjects[-1] == "[resolved] it broke"


async def test_a_window_survives_a_restart(database: Database, clock: Clock, sent: Sent) -> None:
    """Four before and one after are five."""
    rules = {"often": Rule(kind="frequency", event="thing.broke", count=5, window=Duration("10m"))}
    node = Node(database, clock, sent, rules=rules)
    for second in range(4):
        node.happens("thing.broke")
        await node.turn(second)
    assert await alerts(database) == []
    again = Node(database, clock, sent, rules=rules)
    again.happens("thing.broke")
    await again.turn(60)
    assert [alert["occurrences"] for alert in await alerts(database)] == [5]


async def test_alerts_of_healer_and_reconciler_are_told(database: Database, clock: Clock, sent: Sent) -> None:
    """There is one store: who found a cause makes no difference to who is told."""
    node = Node(database, clock, sent, rules={})
    await database.execute(
        "INSERT INTO tds_alerts (alert_type, severity, cause, title) "
        "VALUES ('match_rate', 'warning', 'product', 'product matches by 50.00 %')"
    )
    await database.execute(
        "INSERT INTO tds_slots (schedule, slot, outcome, detail) VALUES ('daily_full_sync', now(), 'failed', 'why')"
    )
    await node.turn(0)
    await node.turn(30)
    assert sorted(sent.subjects) == [
        "[error] Schedule daily_full_sync failed",
        "[warning] product matches by 50.00 %",
    ]


async def test_keep_is_one_alert_whoever_keeps(database: Database) -> None:
    """Twenty at once open one alert; what is over is resolved; both may come in one call."""
    finding = Finding(alert_type="a", severity="warning", cause="c", title="t")

    opened: list[int] = []

    async def find() -> None:
        opened.extend(one.id for one in await storing.keep(database, [finding]))

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(find)
    assert len(opened) == 1
    [alert] = await alerts(database)
    assert alert["occurrences"] == 20
    other = Finding(alert_type="a", severity="error", cause="d", title="t")
    assert len(await storing.keep(database, [other, other], [Over("a", "c")])) == 1
    assert [alert["resolved_at"] is None for alert in await alerts(database)] == [True, False]


async def test_conditions_are_watched_between_the_healers_rounds(database: Database) -> None:
    """With nobody having looked for stuck tasks their alert stays; the others come and go."""
    await conditions.watch(database, Conditions(), recovered=3)
    await database.execute(
        "INSERT INTO tds_sync_queue (entity_type, source_entity_id) "
        "SELECT 'product', n::text FROM generate_series(1, 3) AS n"
    )
    low = Conditions(thresholds=Thresholds(queue_warning=2, queue_critical=5))
    assert [one.alert_type for one in await conditions.watch(database, low)] == ["queue_depth"]
    await database.execute("DELETE FROM tds_sync_queue")
    await conditions.watch(database, low)
    left = [alert["alert_type"] for alert in await acting.listed(database)]
    assert left == ["stuck_task"]
    await conditions.watch(database, low, recovered=0)
    assert await acting.listed(database) == []


# --- who is told, and why nobody is


async def test_an_unacknowledged_alert_reaches_the_next_step_at_its_minute(
    database: Database, clock: Clock, sent: Sent
) -> None:
    """Five minutes after the first letter, not a second before; an acknowledgement holds the step after that."""
    channels = {"ops": Channel(type="log"), "pager": Channel(type="webhook", url=Secret("https://pager")),
                "boss": Channel(type="webhook", url=Secret("https://boss"))}  # fmt: skip
    route = Route(channels=("ops",), escalation=(Step(channels=("pager",)), Step(channels=("boss",))))
    node = Node(database, clock, sent, routes={"all": route}, channels=channels)
    node.happens("thing.broke", what="it")
    for second in (0, 30, 329):
        await node.turn(second)
    assert [name for name, _, _ in sent.letters] == ["log"]
    await node.turn(330)
    assert [name for name, _, _ in sent.letters] == ["log", "https://pager"]
    assert sent.subjects[-1] == "[error, not acknowledged] it broke"
    await acting.acknowledge(database, 1, by="ann", comment="on it", seconds=86_400)
    for second in (400, 590, 631):
        node.happens("thing.broke", what="it")
        await node.turn(second)
    assert len(sent.letters) == 2
    kinds = [kind for kind, _ in await log_of(database)]
    assert [kind for kind in kinds if kind in {"opened", "told", "escalated", "muted"}] == [
        "opened", "told", "escalated", "told", "muted",
    ]  # fmt: skip


async def test_the_log_of_an_alert_says_why_nobody_was_told(database: Database, clock: Clock, sent: Sent) -> None:
    """Inhibited, silenced, acknowledged: each has its line, its suppressed notification, and no letter."""
    inhibits = (Inhibit(source=Matchers(type="database_down"), target=Matchers(type="one")),)
    node = Node(database, clock, sent, rules={}, inhibits=inhibits)
    found = [Finding(alert_type=name, severity="warning", cause="c", title=name) for name in ("one", "two", "three")]
    down = Finding(alert_type="database_down", severity="critical", cause="c", title="down")
    await storing.keep(database, [*found, down])
    ids = {alert["alert_type"]: alert["id"] for alert in await alerts(database)}
    await acting.silence(database, Matchers(type="two"), author="bob", comment="moving house", seconds=3600)
    await acting.acknowledge(database, ids["three"], by="ann", comment="known", seconds=3600)
    clock.seconds = 1
    for second in (1, 31, 32):
        await node.turn(second)
    assert sent.subjects == ["[critical] down"]
    logged = {name: dict(await log_of(database, number)) for name, number in ids.items()}
    assert logged["one"]["muted"] == f"inhibited by alert {ids['database_down']} (database_down)"
    assert logged["two"]["muted"].startswith("silence 1 by bob until ")
    assert logged["two"]["muted"].endswith(": moving house")
    assert logged["three"]["muted"].startswith("acknowledged by ann until ")
    assert logged["three"]["acknowledged"] == "known"
    suppressed = [(status, reason.split()[0]) for _, _, status, reason in await outbox(database) if status != "sent"]
    assert sorted(suppressed) == [
        ("suppressed", "acknowledged"),
        ("suppressed", "inhibited"),
        ("suppressed", "silence"),
    ]


async def test_whoever_acts_with_psql_is_on_record(database: Database) -> None:
    """Opening, raising, acknowledging and resolving by hand leave their lines."""
    await database.execute(
        "INSERT INTO tds_alerts (alert_type, severity, title, cause) VALUES ('a', 'warning', 't', 'c')"
    )
    await database.execute("UPDATE tds_alerts SET severity = 'critical'")
    await database.execute("UPDATE tds_alerts SET acknowledged = true, acknowledged_by = 'ann', comment = 'mine'")
    await database.execute("UPDATE tds_alerts SET resolved_at = now()")
    assert await log_of(database) == [
        ("opened", "warning: t"),
        ("severity_changed", "warning -> critical"),
        ("acknowledged", "mine"),
        ("resolved", ""),
    ]


async def test_a_flood_is_cut_and_summed_up(database: Database, clock: Clock, sent: Sent) -> None:
    """Ten causes at once and a cap of three: three letters, and once there is room one that tells of the others."""
    rules = {"broke": Rule(event="thing.broke", key=("what",), title="{what} broke", keep_firing=Duration("1d"))}
    node = Node(
        database, clock, sent, rules=rules, routes={"all": Route(channels=("ops",), group_by=("cause",))},
        options=Options(flood=3),
    )  # fmt: skip
    for number in range(10):
        node.happens("thing.broke", what=f"thing {number}")
    for second in (0, 30, 31):
        await node.turn(second)
    assert len(sent.letters) == 3
    assert ("untold", "ops (firing): flood cap: more than 3 in 10m") in await log_of(database, 10)
    await node.turn(700)
    await node.turn(701)
    assert sent.subjects[3:] == ["[summary] 7 notifications were held back"]


# --- delivery


async def test_a_crash_after_sending_repeats_one_letter_and_says_so(
    database: Database, clock: Clock, sent: Sent
) -> None:
    """The letter went out, the process died before it could write that down: it comes again, with that doubt in it."""
    node = Node(database, clock, sent)
    node.happens("thing.broke", what="it")
    clock.seconds = 0
    await node.turn(0)
    clock.seconds = 30
    await node.leader.campaign()
    await node.desk.turn()
    [task] = await node.postman._claim(["ops"], clock())
    await node.postman._deliver(task)
    again = Node(database, clock, sent)
    await again.turn(31)
    await again.turn(40)
    first, second = (letter for _, letter, _ in sent.letters)
    assert DOUBT not in first.text
    assert second.text == f"{first.text}\n\n{DOUBT}"
    assert [number for _, _, number in sent.letters] == ["notification-1"] * 2
    assert await outbox(database) == [("ops", "firing", "sent", DOUBT)]


async def test_failures_are_tried_again_and_at_last_given_up(database: Database, clock: Clock, sent: Sent) -> None:
    """With growing pauses, as often as the channel says; then the notification and the alert's log say why."""
    node = Node(database, clock, sent, channels={"ops": Channel(type="log", tries=3)})
    node.happens("thing.broke", what="it")
    sent.errors["log"] = Refused("authentication failed: nobody takes the password")
    for second in (0, 30, 31):
        await node.turn(second)
    assert await outbox(database) == [("ops", "firing", "pending", "authentication failed: nobody takes the password")]
    for second in (60, 120):
        await node.turn(second)
    assert await outbox(database) == [("ops", "firing", "failed", "authentication failed: nobody takes the password")]
    detail = "ops (firing): authentication failed: nobody takes the password"
    assert (await log_of(database))[-1] == ("untold", detail)


async def test_a_channel_that_is_down_is_left_alone(database: Database, clock: Clock, sent: Sent) -> None:
    """Five failures open its breaker: what comes then waits without spending attempts, also after a restart."""
    node = Node(database, clock, sent)
    sent.errors["log"] = Undelivered("timeout")
    letter = Letter(subject="s", text="t", kind="firing", severity="info")
    for _ in range(5):
        assert await node.postman.tell_now("ops", letter, "n") == "timeout"
    assert "is left alone" in await node.postman.tell_now("ops", letter, "n")
    await node.postman.begin(clock())
    node = Node(database, clock, sent)
    node.postman.breakers["ops"].state = msgspec.structs.replace(
        node.postman.breakers["ops"].state, phase="open", opened_at=datetime.now(UTC).timestamp(), reason="timeout"
    )
    node.happens("thing.broke", what="it")
    for second in (0, 30):
        await node.turn(second)
    row = await database.fetchrow("SELECT status, attempt_count, reason FROM tds_notifications")
    assert (row["status"], row["attempt_count"]) == ("pending", 0)
    assert "is left alone" in row["reason"]
    await node.postman._keep_breakers()
    again = Postman(database, {"ops": Channel(type="log")}, tell=sent)
    await again.begin(clock())
    assert again.breakers["ops"].state.phase == "open"


@pytest.fixture
async def sink(anyio_backend: str) -> AsyncIterator[Upstream]:
    async with Upstream().serving() as serving:
        yield serving


async def test_a_channel_that_hangs_delays_neither_acks_nor_other_channels(
    database: Database, clock: Clock, sink: Upstream
) -> None:
    """One HTTP receiver and one mail server never answer; the third channel is told, and webhooks are acknowledged."""
    stuck = Upstream()
    stuck.reply = lambda _: Reply(parts=[HANG])
    async with stuck.serving(), await anyio.create_tcp_listener(local_host="127.0.0.1") as deaf:
        port = deaf.extra(anyio.abc.SocketAttribute.local_port)
        channels = {
            "slow": Channel(type="webhook", url=Secret(f"{stuck.url}/x"), timeout=Duration("30s")),
            "deaf": Channel(type="email", host="127.0.0.1", port=port, security="none", sender="a@b.c", to=("d@e.f",),
                            timeout=Duration("30s")),
            "quick": Channel(type="webhook", url=Secret(f"{sink.url}/x"), timeout=Duration("5s")),
        }  # fmt: skip
        node = Node(database, clock, Sent(), routes={"all": Route(channels=tuple(channels))})
        node.postman = Postman(database, channels)
        node.happens("thing.broke", what="it")
        async with anyio.create_task_group() as group:
            for second in (0, 30):
                clock.seconds = second
                node.desk.listen()
                await node.desk.hand_over()
                await node.leader.campaign()
                await node.desk.turn()
                await node.postman.send(group, clock())
            began = anyio.current_time()
            with anyio.fail_after(10):
                await until(partial(was_sent, database, "quick"))
                [ack] = await intake.store(database, [delivery()])
            assert anyio.current_time() - began < 10
            assert not ack.duplicate
            assert node.postman.is_busy
            assert len(stuck.asked) == 1
            assert await node.postman.send(group, clock()) == 0  # nobody waits behind what hangs
            group.cancel_scope.cancel()


def delivery() -> Delivery:
    return Delivery(
        source="zoho", entity_type="product", source_entity_id="1", operation="upsert", modified_at=None, body=b"{}",
        content_type="", query="", correlation_id="", event_id="e1",
    )  # fmt: skip


async def test_what_waits_for_a_channel_that_is_gone_is_on_record(database: Database, clock: Clock, sent: Sent) -> None:
    """A reload without the channel: the notification says why it was not sent."""
    node = Node(database, clock, sent)
    sent.errors["log"] = Undelivered("down")
    node.happens("thing.broke", what="it")
    for second in (0, 30):
        await node.turn(second)
    await Postman(database, {"other": Channel(type="log")}, tell=sent).begin(clock())
    assert await outbox(database) == [("ops", "firing", "suppressed", "the channel exists no more")]


async def test_a_channel_may_not_want_the_end(database: Database, clock: Clock, sent: Sent) -> None:
    """`resolved = false`: the notice is on record, not sent."""
    node = Node(database, clock, sent, channels={"ops": Channel(type="log", resolved=False)})
    node.happens("thing.broke", what="it")
    for second in (0, 30, 700, 701):
        await node.turn(second)
    assert sent.subjects == ["[error] it broke"]
    assert (await outbox(database))[-1][2:] == ("suppressed", "the channel takes no notices of what is over")


async def test_a_wrong_password_is_named_in_the_outbox(database: Database, clock: Clock, mailer: Mailer) -> None:
    """Whoever asks why nobody got the mail reads that it is the authentication, and which server and user."""
    box = mailer.serve()
    channel = Channel(type="email", host="127.0.0.1", port=box.port, security="none", sender="tds@example.com",
                      to=("ops@example.com",), user="tds", password=Secret("theWrongPassword"), tries=1)  # fmt: skip
    node = Node(database, clock, Sent(), channels={"ops": channel})
    node.postman = Postman(database, {"ops": channel})
    node.happens("thing.broke", what="it")
    for second in (0, 30):
        await node.turn(second)
    [(_, _, status, reason)] = await outbox(database)
    assert status == "failed"
    assert reason.startswith("authentication failed: 127.0.0.1 does not take the password of tds (535")
    assert "theWrongPassword" not in reason
    assert (await log_of(database))[-1] == ("untold", f"ops (firing): {reason}")


# --- while the database is away


class Flaky:
    """A database that can be switched off."""

    def __init__(self, database: Database) -> None:
        self._database, self.gone = database, False

    def __getattr__(self, name: str) -> Any:
        if self.gone and name in {"fetch", "fetchrow", "fetchval", "execute", "transaction", "connection"}:
            raise DatabaseGone("it is away")
        return getattr(self._database, name)


DIRECT = {
    "database_down": Rule(
        metric="tds_database_up", below=1, combine="min", direct=True, severity="critical",
        title="The database is down", for_=Duration("1m"), keep_firing=Duration("2m"),
    )
}  # fmt: skip


async def test_an_outage_is_told_without_the_database_and_once(database: Database, clock: Clock, sent: Sent) -> None:
    """By the node that led last; when it is back the alert is on record, not told again, and its end is told."""
    flaky: Any = Flaky(database)
    node, other = Node(flaky, clock, sent, rules=DIRECT), Node(flaky, clock, sent, "two", rules=DIRECT)
    watches = [
        Watch(one.desk, one.postman, one.leader, one.settings, metrics=one.metrics, node=name, clock=clock)
        for one, name in ((node, "one"), (other, "two"))
    ]

    async def step(seconds: float, *, up: bool) -> None:
        clock.seconds = seconds
        for one in (node, other):
            one.metrics.database_up.set(up)
        async with anyio.create_task_group() as group:
            for watch in watches:
                watch._next = watch._campaign = 0.0
                await watch.step(group)

    await step(0, up=True)
    flaky.gone = True
    for seconds in (10, 40, 69):
        await step(seconds, up=False)
    assert sent.letters == []
    for seconds in (70, 100, 400):
        await step(seconds, up=False)
    assert sent.subjects == ["[critical] The database is down"]
    flaky.gone = False
    await step(410, up=True)
    [alert] = await alerts(database)
    assert (alert["alert_type"], alert["resolved_at"]) == ("database_down", None)
    told = [detail for kind, detail in await log_of(database) if kind == "told"]
    assert told == ["without the database: ops: sent"]
    for seconds in (420, 500, 540, 900):
        await step(seconds, up=True)
    assert sent.subjects == ["[critical] The database is down", "[resolved] The database is down"]


async def test_what_is_seen_during_an_outage_is_judged_afterwards(database: Database, clock: Clock, sent: Sent) -> None:
    """Events wait, bounded, until they can be handed over."""
    flaky: Any = Flaky(database)
    node = Node(flaky, clock, sent)
    flaky.gone = True
    for _ in range(3):
        node.happens("thing.broke", what="it")
        node.desk.listen()
        with pytest.raises(DatabaseGone):
            await node.desk.hand_over()
    flaky.gone = False
    await node.turn(0)
    assert [alert["occurrences"] for alert in await alerts(database)] == [3]


# --- the actor


async def test_the_actor_alerts_calls_home_and_leaves_in_order(database: Database, sink: Upstream) -> None:
    """A real life of it: an event becomes a POST, the dead man's switch is called, and the lead is given up."""
    tap, context = Tap(), Context("alerter")

    async def was_called() -> bool:
        return {one.path for one in sink.asked} == {"/hook", "/home"}

    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    tap.observe({"timestamp": stamp, "level": "error", "event": "thing.broke", "what": "it"})
    settings = Settings(
        rules=BROKE,
        routes=HOOKED,
        options=Options(every=Duration("50ms"), heartbeat_url=Secret(f"{sink.url}/home")),
    )
    async with anyio.create_task_group() as group:
        group.start_soon(life(context, database, tap, settings, sink))
        with anyio.fail_after(20):
            await until(partial(was_sent, database, "hook"))
            await until(was_called)
        context.stopping.set()
    letter = msgspec.json.decode(sink.calls(path="/hook")[0].body, type=Letter)
    assert letter.subject == "[error] it broke"
    assert await Leader(database, name="alerter", boot_id="next").campaign()


async def test_a_stop_waits_for_a_letter_under_way(database: Database, sink: Upstream) -> None:
    """What a receiver has got is on record when the actor has stopped, or the next one would send it again."""
    tap, context, settings = Tap(), Context("alerter"), Settings(rules=BROKE, routes=HOOKED)

    def stopped_meanwhile(_: Asked) -> Reply:
        context.stopping.set()
        return Reply(pause=0.1)

    sink.reply = stopped_meanwhile
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    tap.observe({"timestamp": stamp, "level": "error", "event": "thing.broke", "what": "it"})
    with anyio.fail_after(20):
        await life(context, database, tap, settings, sink)()
    assert await was_sent(database, "hook")
    assert len(sink.asked) == 1


HOOKED = {"all": Route(channels=("hook",), group_wait=Duration(0))}


def life(
    context: Context, database: Database, tap: Tap, settings: Settings, sink: Upstream
) -> Callable[[], Awaitable[None]]:
    """The actor's function with all that it needs."""
    return partial(
        alerter.function,
        context,
        database=database,
        tap=tap,
        metrics=Metrics(),
        settings=settings,
        channels={"hook": Channel(type="webhook", url=Secret(f"{sink.url}/hook"))},
        limits=Conditions(),
        boot_id="me",
    )


async def was_sent(database: Database, channel: str) -> bool:
    return (channel, "firing", "sent", "") in await outbox(database)


# --- what it costs


def scanned(plan: dict[str, Any]) -> set[str]:
    found = {plan["Relation Name"]} if plan["Node Type"] == "Seq Scan" else set()
    return found.union(*(scanned(child) for child in plan.get("Plans", ())))


HISTORY = """
INSERT INTO tds_alerts (alert_type, severity, title, cause, resolved_at, settled)
SELECT 'x', 'info', 't', n::text, now(), true FROM generate_series(1, 20000) AS n;
INSERT INTO tds_notifications (channel, kind, letter, status, created_at, due_at, summarized)
SELECT 'ops', 'firing', '{}', 'sent', now() - interval '1 day', now(), true FROM generate_series(1, 20000) AS n;
INSERT INTO tds_metrics (metric_name, metric_value, node, recorded_at)
SELECT 'm' || n % 50, n, 'other', now() - n * interval '1 minute' FROM generate_series(1, 20000) AS n;
ANALYZE;
"""


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("look", (90.0,)),
        ("unsettled", ()),
        ("claim", (["ops", "pager"], datetime(2026, 11, 27, tzinfo=UTC))),
        ("flood", (datetime(2030, 1, 1, tzinfo=UTC),)),
        ("events", (5, 100)),
        ("samples", (["m1", "m2"], "me", 180.0)),
        ("keep", ('[{"alert_type": "x", "cause": "1"}]', "[]", datetime(2026, 11, 27, tzinfo=UTC))),
    ],
)
async def test_history_costs_nothing(database: Database, name: str, arguments: tuple[Any, ...]) -> None:
    """What a turn asks reads no alert and no notification that is over."""
    async with database.connection() as connection:
        await connection.execute(HISTORY)
        text = sql.load(f"alert/{name}", package="actors")
        [row] = await connection.fetch("EXPLAIN (FORMAT JSON) " + text, *arguments)
    history = {"tds_alerts", "tds_notifications", "tds_metrics", "tds_alert_events"}
    assert scanned(json.loads(row[0])[0]["Plan"]) & history == set()
