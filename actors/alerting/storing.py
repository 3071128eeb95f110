"""The one store of alerts: whoever finds a cause keeps it here, so that it has one alert, and people act on it here.

`keep` is for everybody (rules, healer, reconciler); the rest reads and writes what the alerter plans.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from actors.alerting.evaluation import Change
from actors.alerting.planning import Board, Entry, Plan
from actors.alerting.routing import Alert, Group, Matchers, Silence
from actors.alerting.rules import Severity
from actors.alerting.series import Series
from tds_runtime import sql
from tds_runtime.database import Connection, Database
from tds_runtime.metrics import Sample

T = TypeVar("T")

AT_A_TIME = 1_000
"""Batches of observations that are judged at once."""

_encode = msgspec.json.Encoder().encode


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cause that holds. `seen` is how often since it was kept last."""

    alert_type: str
    severity: Severity
    cause: str
    title: str
    message: str = ""
    metadata: dict[str, Any] = {}
    labels: dict[str, Any] = {}
    rule: str = ""
    runbook: str = ""
    seen: int = 1
    first_seen_at: datetime | None = None
    last_seen_at: datetime | None = None


class Over(Struct, frozen=True):
    """A cause that holds no more."""

    alert_type: str
    cause: str


class Opened(Struct, frozen=True):
    """An alert that is new."""

    id: int
    alert_type: str
    severity: str
    title: str
    cause: str


class Look(Struct, frozen=True, kw_only=True):
    """What there is to do, and the database's time."""

    now: datetime
    observed: bool
    unsettled: bool
    pending: bool
    held: bool
    nodes: int


class Outgoing(Struct, frozen=True, kw_only=True):
    """A notification for the outbox; `held` is one that a flood cap held back, until a summary tells of it."""

    channel: str
    kind: str
    route: str
    group_key: str
    alert_ids: tuple[int, ...]
    letter: Any
    status: str = "pending"
    reason: str = ""
    held: bool = False


class Planned(Struct, frozen=True):
    """What a plan changes of an alert."""

    id: int
    expired: bool
    notified_at: datetime | None
    escalation_level: int
    muted: str


async def keep(
    where: Connection | Database,
    findings: Iterable[Finding],
    over: Iterable[Over] = (),
    *,
    now: datetime | None = None,
) -> list[Opened]:
    """Open or renew the alerts of what was found, resolve those that are over; returns the new ones.

    Two that find the same cause at once make one alert. In a transaction with what was found, or by itself.
    """
    unique = {(one.alert_type, one.cause): one for one in findings}
    text, ended = _json(list(unique.values())), _json(list(over))
    if now is None:
        now = await where.fetchval("SELECT now()")
    rows = await where.fetch(_load("keep"), text, ended, now)
    return [Opened(**dict(row.items())) for row in rows]


def findings_of(changes: Iterable[Change]) -> tuple[list[Finding], list[Over]]:
    """What the judging changed, as it is kept."""
    found, over = [], []
    for change in changes:
        if change.what == "resolved":
            over.append(Over(change.type, change.cause))
            continue
        found.append(
            Finding(
                alert_type=change.type,
                severity=change.severity,
                cause=change.cause,
                title=change.title,
                message=change.message,
                metadata=change.metadata,
                labels=change.labels,
                rule=change.rule,
                runbook=change.runbook,
                seen=change.count,
                first_seen_at=moment(change.first),
                last_seen_at=moment(change.last),
            )
        )
    return found, over


def moment(seconds: float) -> datetime | None:
    """Seconds since the epoch as a moment; 0 is none."""
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


# --- what is seen and how the judging stands


async def look(database: Database, lease: float) -> Look:
    """Whether there is anything to do."""
    row = await database.fetchrow(_load("look"), lease)
    assert row is not None
    return Look(**dict(row.items()))


async def observe(database: Database, boot_id: str, batch: int, body: bytes) -> None:
    """Hand over what this node has seen."""
    await database.execute(_load("observe"), boot_id, batch, body.decode())


async def take_observations(connection: Connection) -> list[Any]:
    """What nodes have handed over, in the order in which it came; JSON texts."""
    rows = await connection.fetch(_load("take_observations"), AT_A_TIME)
    return [row["body"] for row in sorted(rows, key=lambda row: (row["seen_at"], row["batch"]))]


async def samples(database: Database, names: Sequence[str], node: str, age: float) -> list[Sample]:
    """The newest samples of the other nodes, each with its node as a label."""
    rows = await database.fetch(_load("samples"), list(names), node, age)
    return [
        Sample(
            name=row["metric_name"],
            labels={**msgspec.json.decode(row["labels"]), "node": row["node"]},
            value=row["metric_value"],
        )
        for row in rows
    ]


async def states(database: Database) -> dict[str, dict[str, Series]]:
    """How the judging stands."""
    rows = await database.fetch(_load("states"))
    return {row["rule"]: msgspec.json.decode(row["state"], type=dict[str, Series]) for row in rows}


async def save_states(connection: Connection, changed: Mapping[str, Mapping[str, Series]], gone: Sequence[str]) -> None:
    """Keep how the judging stands."""
    await connection.execute(_load("save_states"), _json(changed), list(gone))


# --- the board and the plan


async def board(connection: Connection, now: datetime) -> Board:
    """Everything that is not settled."""
    rows = await connection.fetch(_load("unsettled"))
    groups = [_group(row) for row in await connection.fetch(_load("groups"))]
    return Board(
        alerts=[alert_of(row) for row in rows],
        groups={(group.route, group.group_key): group for group in groups},
        silences=[silence_of(row) for row in await connection.fetch(_load("silences"), now, False)],
    )


def alert_of(row: Any) -> Alert:
    """A row as an alert."""
    fields = {name: value for name, value in row.items() if name in Alert.__struct_fields__}
    fields |= {name: msgspec.json.decode(fields[name]) for name in ("labels", "metadata")}
    return Alert(**fields)


def silence_of(row: Any) -> Silence:
    """A row as a silence."""
    fields = dict(row.items())
    return Silence(**{**fields, "matchers": msgspec.json.decode(fields["matchers"], type=Matchers)})


def _group(row: Any) -> Group:
    return Group(**{**dict(row.items()), "told": frozenset(row["told"])})


async def apply(
    connection: Connection,
    planned: Plan,
    before: Board,
    outgoing: Sequence[Outgoing],
    *,
    summed: Sequence[str] = (),
    now: datetime,
) -> None:
    """Write a plan down, with the notifications that it makes."""
    known = {alert.id: alert for alert in before.alerts}
    alerts = [
        Planned(
            alert.id,
            known[alert.id].acknowledged and not alert.acknowledged,
            alert.notified_at,
            alert.escalation_level,
            alert.muted,
        )
        for alert in planned.alerts
    ]
    if alerts or planned.settled:
        await connection.execute(_load("update"), _json(alerts), list(planned.settled))
    if planned.groups or planned.closed:
        closed = [{"route": group.route, "group_key": group.group_key} for group in planned.closed]
        groups = [{**msgspec.structs.asdict(group), "told": sorted(group.told)} for group in planned.groups]
        await connection.execute(_load("regroup"), _json(groups), _json(closed))
    if outgoing or summed:
        await connection.execute(_load("enqueue"), _json(outgoing), now, list(summed))
    untold = [
        Entry(alert_id=number, kind="untold", detail=f"{one.channel} ({one.kind}): {one.reason}")
        for one in outgoing
        if one.status == "suppressed" and one.held
        for number in one.alert_ids
    ]
    await note(connection, (*planned.entries, *untold), now)


async def note(connection: Connection | Database, entries: Sequence[Entry], now: datetime) -> None:
    """Write lines into the logs of alerts."""
    if entries:
        await connection.execute(_load("note"), _json(entries), now)


async def told(connection: Connection, alert: int, at: datetime, route: str, group: str) -> None:
    """People were told of it at that time, by another way than the outbox."""
    await connection.execute(_load("told"), alert, at, route, group)


class Pressure(Struct, frozen=True, kw_only=True):
    """How much a channel was given lately, and the subjects of what it was spared."""

    given: int = 0
    held: tuple[str, ...] = ()


async def pressure(connection: Connection, since: datetime) -> dict[str, Pressure]:
    """The channels that were given or spared something lately."""
    rows = await connection.fetch(_load("flood"), since)
    return {row["channel"]: Pressure(given=row["given"], held=tuple(row["held"] or ())) for row in rows}


def _json(value: Any) -> str:
    return _encode(value).decode()


def _load(name: str) -> str:
    return sql.load(f"alert/{name}", package="actors")
