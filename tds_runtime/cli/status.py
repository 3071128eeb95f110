"""`status`: is anything wrong, since when, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Protocol

from cyclopts import App
from msgspec import Struct
from msgspec.structs import asdict

from tds_runtime import migrate, sql
from tds_runtime.cli.output import Ended, Exit, Output
from tds_runtime.cli.session import C, Session
from tds_runtime.database import Database
from tds_runtime.upstreams import Outlook, Shared, Upstream, outlook
from tds_runtime.values import Duration


class Thresholds(Struct, frozen=True, kw_only=True):
    """From where on something is said to be wrong."""

    pending: int = 1_000
    dead_letters: int = 50
    lag: float = 900.0
    """Seconds that the oldest waiting task may have waited."""


class Node(Struct, frozen=True, kw_only=True):
    """A process that works on the queue."""

    name: str
    host: str
    pid: int
    version: str
    started_at: datetime
    renewed_at: datetime
    alive: bool


class Entity(Struct, frozen=True, kw_only=True):
    """The unfinished tasks of one entity."""

    entity_type: str
    pending: int
    processing: int
    failed: int
    dead_letter: int
    oldest_seconds: float | None


class Calls(Outlook, frozen=True, kw_only=True):
    """What an upstream still allows today; `paused` is seconds left of a pause that it ordered."""

    upstream: str
    breaker: str
    paused: float


class Status(Struct, frozen=True, kw_only=True):
    """What `status` found; `advice` is empty when all is well."""

    status: str
    nodes: tuple[Node, ...] = ()
    entities: tuple[Entity, ...] = ()
    upstreams: tuple[Calls, ...] = ()
    completed_24h: int = 0
    cancelled_24h: int = 0
    advice: tuple[str, ...] = ()


class ServiceLevels(Protocol[C]):
    """Shows the daemon's service levels and returns the exit code."""

    async def __call__(self, session: Session[C], /, *, window: str, days: int, json: bool) -> int: ...


def register(
    app: App, session: Session[C], thresholds: Callable[[C], Thresholds], levels: ServiceLevels[C] | None = None
) -> None:
    """Add `status` to the command line; with `levels` it has `--slo`."""

    @app.command
    async def status(*, slo: bool = False, window: str = "", days: int = 7, json: bool = False) -> int:
        """Show nodes, queue and what needs attention; exit code 3 when something does.

        Args:
            slo: show the service levels instead, each with its target; exit code 3 when one is missed.
            window: with --slo, look back so far for all of them, e.g. 7d.
            days: with --slo --json, how many days of those that are kept.
            json: print JSON.
        """
        if slo:
            if levels is None:
                raise Ended("this daemon has no service levels.", Exit.USAGE)
            return await levels(session, window=window, days=days, json=json)
        settings = session.load().value
        async with session.database(settings.database) as database:
            found = await read(database, thresholds(settings))
        if json:
            session.output.data(found)
        else:
            _print(session.output, found)
        return Exit.DEGRADED if found.advice else Exit.OK


async def read(database: Database, thresholds: Thresholds) -> Status:
    """The state of the whole fleet, from the database."""
    if (await migrate.status(database)).pending:
        return Status(status="degraded", advice=("The schema is older than this release: run `tds-runtime migrate`.",))
    nodes = tuple(Node(**dict(row)) for row in await database.fetch(sql.load("status/nodes")))
    entities = tuple(Entity(**dict(row)) for row in await database.fetch(sql.load("status/entities")))
    finished = await database.fetchrow(sql.load("status/finished"))
    upstreams = tuple(_calls(one, datetime.now(UTC)) for one in (await Shared(database).read()).values())
    advice = (*_advice(nodes, entities, thresholds), *_advice_on_calls(upstreams))
    return Status(
        status="degraded" if advice else "healthy",
        nodes=nodes,
        entities=entities,
        upstreams=upstreams,
        completed_24h=finished["completed"] if finished else 0,
        cancelled_24h=finished["cancelled"] if finished else 0,
        advice=advice,
    )


def _advice(nodes: tuple[Node, ...], entities: tuple[Entity, ...], thresholds: Thresholds) -> Iterator[str]:
    if not any(node.alive for node in nodes):
        yield "No node works on the queue: start one with `tds-runtime run`."
    pending = sum(entity.pending for entity in entities)
    if pending > thresholds.pending:
        yield f"{pending} tasks wait, more than {thresholds.pending}: `tds-runtime queue` shows of which entity."
    dead = sum(entity.dead_letter for entity in entities)
    if dead > thresholds.dead_letters:
        yield f"{dead} dead letters, more than {thresholds.dead_letters}: `tds-runtime dlq list` shows why."
    lag = max((entity.oldest_seconds or 0.0 for entity in entities), default=0.0)
    if lag > thresholds.lag:
        yield f"The oldest task has waited {Duration(int(lag))}: `tds-runtime queue` shows of which entity."


def _calls(one: Upstream, now: datetime) -> Calls:
    return Calls(upstream=one.name, breaker=one.breaker.phase, paused=one.paused, **asdict(outlook(one.budget, now)))


def _advice_on_calls(upstreams: tuple[Calls, ...]) -> Iterator[str]:
    for one in upstreams:
        if one.calls_left == 0:
            yield f"The day's calls to {one.upstream} are used up; there are new ones at {one.resets_at:%H:%M} UTC."


def _print(output: Output, found: Status) -> None:
    output.pairs({"status": found.status, "completed in 24 h": found.completed_24h})
    columns = ("node", "host", "pid", "version", "alive", "started")
    output.table(
        columns,
        [
            (node.name, node.host.partition(" ")[0], str(node.pid), node.version, node.alive, node.started_at)
            for node in found.nodes
        ],
    )
    print_entities(output, found.entities)
    told = [one for one in found.upstreams if one.calls_a_day]
    if told:
        fields = ("upstream", "calls_left", "calls_a_day", "resets_at", "lasts_until")
        output.table(fields, [[getattr(one, field) for field in fields] for one in told])
    for line in found.advice:
        output.note(line)


def print_entities(output: Output, entities: tuple[Entity, ...]) -> None:
    """The table of unfinished tasks."""
    columns = ("entity", "pending", "processing", "failed", "dead letters", "oldest")
    rows = [
        (
            entity.entity_type,
            entity.pending,
            entity.processing,
            entity.failed,
            entity.dead_letter,
            "" if entity.oldest_seconds is None else str(Duration(int(entity.oldest_seconds))),
        )
        for entity in entities
    ]
    output.table(columns, rows)
