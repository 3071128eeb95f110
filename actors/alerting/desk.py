"""One node's share of alerting: hands over what it has seen, and on the node that leads judges, plans and tells."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from actors.alerting import conditions, observations, outbox, planning, storing
from actors.alerting.conditions import Conditions
from actors.alerting.evaluation import Change, evaluate, next_look
from actors.alerting.observations import Finder, Observation, Reader
from actors.alerting.outage import Told
from actors.alerting.planning import Plan, Settings
from actors.alerting.series import Series
from actors.alerting.storing import Look
from tds_runtime import logs
from tds_runtime.database import Connection, Database
from tds_runtime.leader import Leader
from tds_runtime.metrics import Metrics, Sample
from tds_runtime.tap import Tap

LEASE = 90.0
"""Seconds for which the one that judges is known; it asks for more at half of them."""
CONDITIONS_EVERY = 60.0
FRESH = 180.0
"""Seconds for which another node's sample is news."""
MOST_EVENTS = 2_000
"""Events that are looked at in a second, so that a storm of them keeps nobody from acknowledging webhooks."""
MOST_WAITING = 500
"""Batches that wait for a database that is away; the oldest make room and are counted."""

Known = Mapping[str, Mapping[str, Series]]


class Turn(Struct, frozen=True, kw_only=True):
    """What a turn found: whether this node leads, by whose time, and in how many seconds time alone asks for more."""

    leads: bool
    now: datetime | None = None
    pending: bool = False
    wait: float | None = None
    opened: int = 0


class Statistics(Struct, frozen=True, kw_only=True):
    """Batches that wait for the database, and those that had to make room."""

    waiting: int
    dropped: int


class Desk:
    """The state of one incarnation; everything that must outlive it is in the database."""

    def __init__(
        self,
        database: Database,
        leader: Leader,
        tap: Tap,
        metrics: Metrics,
        *,
        settings: Settings,
        limits: Conditions,
        boot_id: str,
        node: str = "",
        redact: Callable[[str], str] = str,
        batches: Callable[[], int] = time.time_ns,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._database, self._leader, self._tap, self._metrics = database, leader, tap, metrics
        self._settings, self._limits = settings, limits
        self._boot_id, self._node, self._redact = boot_id, node, redact
        self._batches, self._clock = batches, clock
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._dropped = 0
        self._reader, self._finder = Reader(), Finder(settings.rules)
        self._state: dict[str, dict[str, Series]] | None = None
        self._saved: dict[str, dict[str, Series]] = {}
        self._watched_at: datetime | None = None
        self._log = logs.get("alerts")
        tap.want(observations.wanted(settings.rules))

    def statistics(self) -> Statistics:
        """How far this node is behind."""
        return Statistics(waiting=len(self._waiting), dropped=self._dropped)

    def forget(self) -> None:
        """Read the state again before it is used: another node may have led, or the last write is in doubt."""
        self._state = None

    def listen(self) -> bool:
        """Take what the tap holds; whether there is anything to hand over."""
        seen = self._finder.find(self._tap.drain(MOST_EVENTS))
        if seen:
            self._waiting.append((self._batches(), msgspec.json.encode(seen)))
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popleft()
            self._dropped += 1
            self._log.warning("observations.dropped", batches=self._dropped)
        return bool(self._waiting)

    async def hand_over(self) -> None:
        """Give what was seen to the node that judges; `DatabaseGone` leaves it for later."""
        while self._waiting:
            batch, body = self._waiting[0]
            await storing.observe(self._database, self._boot_id, batch, body)
            self._waiting.popleft()

    async def turn(self) -> Turn:
        """Judge, plan and write down, if this node leads; what it does commits with the proof that it leads."""
        if not self._leader.leads():
            self.forget()
            return Turn(leads=False)
        found = await storing.look(self._database, LEASE)
        now = self._clock() if self._clock else found.now
        watched = await self._watch(now)
        await self._remember(now)
        assert self._state is not None
        opened = watched + await self._judge(found, now)
        wait = next_look(self._settings.rules, self._state, now.timestamp())
        if opened or found.unsettled or found.held:
            plan = await self._plan(now)
            if plan.next_at is not None:
                wait = min(wait if wait is not None else float("inf"), (plan.next_at - now).total_seconds())
            return Turn(leads=True, now=now, pending=found.pending or bool(plan.notices), wait=wait, opened=opened)
        return Turn(leads=True, now=now, pending=found.pending, wait=wait, opened=opened)

    async def _remember(self, now: datetime) -> None:
        """Read how the judging stands, after a start or when somebody else may have judged."""
        if self._state is None:
            self._state = _revived(await storing.states(self._database), now.timestamp())
            self._saved = _significant(self._state)

    async def _watch(self, now: datetime) -> int:
        """Look at the tables, at most once a minute; returns how many alerts are new."""
        if self._watched_at is not None and now - self._watched_at < timedelta(seconds=CONDITIONS_EVERY):
            return 0
        self._watched_at = now
        opened = await conditions.watch(self._database, self._limits)
        for one in opened:
            self._log.warning("alert.opened", alert_type=one.alert_type, severity=one.severity, title=one.title)
        return len(opened)

    async def _judge(self, found: Look, now: datetime) -> int:
        """Evaluate the rules; returns how many alerts changed."""
        assert self._state is not None
        samples = await self._samples(found)
        readings = self._reader.read(self._settings.rules, samples, now.timestamp())
        if not found.observed:
            after, changes = evaluate(self._settings.rules, self._state, readings, now.timestamp())
            if not changes and _significant(after) == self._saved:
                self._state = after
                return 0
        async with self._database.transaction() as connection:
            await self._leader.confirm(connection)
            seen = [*await _taken(connection), *readings]
            after, changes = evaluate(self._settings.rules, self._state, seen, now.timestamp())
            await self._keep(connection, after, changes, now)
        self._state, self._saved = after, _significant(after)
        return len(changes)

    async def _keep(self, connection: Connection, after: Known, changes: Sequence[Change], now: datetime) -> None:
        if changes:
            found, over = storing.findings_of(changes)
            for one in await storing.keep(connection, found, over, now=now):
                self._log.warning("alert.opened", alert_type=one.alert_type, severity=one.severity, title=one.title)
        wanted = _significant(after)
        changed = {name: known for name, known in wanted.items() if known != self._saved.get(name)}
        gone = [name for name in self._saved if name not in wanted]
        if changed or gone:
            await storing.save_states(connection, changed, gone)

    async def _samples(self, found: Look) -> list[Sample]:
        """This node's samples as they stand, and the newest of the others."""
        names = {rule.metric for rule in self._settings.rules.values() if rule.enabled and rule.metric}
        if not names:
            return []
        own = [
            Sample(name=sample.name, labels={**sample.labels, "node": self._node}, value=sample.value)
            for sample in self._metrics.samples()
            if sample.name in names
        ]
        if found.nodes <= 1:
            return own
        return [*own, *await storing.samples(self._database, sorted(names), self._node, FRESH)]

    async def _plan(self, now: datetime) -> Plan:
        """Decide who is told, and put it into the outbox, in one transaction."""
        async with self._database.transaction() as connection:
            await self._leader.confirm(connection)
            board = await storing.board(connection, now)
            plan = planning.plan(board, self._settings, now)
            options = self._settings.options
            pressed = await storing.pressure(connection, now - timedelta(seconds=options.flood_window))
            outgoing, summed = outbox.outgoing_of(plan, self._settings, pressed, self._redact)
            await storing.apply(connection, plan, board, outgoing, summed=summed, now=now)
        for one in outgoing:
            self._log.info("notification.queued", channel=one.channel, kind=one.kind, status=one.status)
        return plan

    async def record(self, told: Sequence[Told]) -> None:
        """Write down what was told while the database was away, so that it is neither lost nor told again."""
        now = self._clock() if self._clock else (await storing.look(self._database, LEASE)).now
        await self._remember(now)
        async with self._database.transaction() as connection:
            await self._leader.confirm(connection)
            for one in told:
                found, _ = storing.findings_of([one.change])
                for opened in await storing.keep(connection, found, now=one.at):
                    await storing.told(connection, opened.id, one.at, one.notice.route, one.notice.group_key)
                    await storing.note(
                        connection, [planning.Entry(alert_id=opened.id, kind="told", detail=one.how)], one.at
                    )
        for one in told:
            self._adopt(one.change, one.at.timestamp(), now.timestamp())

    def _adopt(self, change: Change, at: float, now: float) -> None:
        """Go on with an alert that was opened elsewhere as if it had been opened here, and had held until now."""
        assert self._state is not None
        rule = self._settings.rules[change.rule]
        key = change.cause if rule.key else ""
        known = self._state.get(change.rule, {})
        series = known.get(key) or Series(begun=at, seen=at)
        firing = replace(series, firing=True, since=at, held=now)
        self._state[change.rule] = {**known, key: firing}


async def _taken(connection: Connection) -> list[Observation]:
    bodies = await storing.take_observations(connection)
    return [one for body in bodies for one in msgspec.json.decode(body, type=list[Observation])]


def _revived(state: Known, now: float) -> dict[str, dict[str, Series]]:
    """The state as another life left it: what fired then has its whole grace, and samples have time to come."""
    return {
        name: {
            key: replace(series, seen=now, held=now if series.firing else series.held) for key, series in known.items()
        }
        for name, known in state.items()
    }


def _significant(state: Known) -> dict[str, dict[str, Series]]:
    """What of the state is worth a write: not that a gauge was read once more."""
    return {
        name: {
            key: replace(series, seen=0.0 if not series.buckets else series.seen, value=None, held=_kept(series))
            for key, series in known.items()
        }
        for name, known in state.items()
    }


def _kept(series: Series) -> float:
    """While it holds, the moment at which it did so last is always the present one."""
    return 0.0 if series.latched or not series.firing else series.held
