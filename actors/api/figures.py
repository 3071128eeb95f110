"""What several pages show alike: entities by status, a day's runs, what each node uses, the parts of the daemon."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from actors import readiness
from actors.api.services import Services
from tds_runtime import Snapshot, sql
from tds_runtime.upstreams import Shared, Upstream

State = Literal["healthy", "degraded", "down"]

_PHASES: Mapping[str, State] = {"closed": "healthy", "half_open": "degraded", "open": "down"}
_WELL = frozenset({"ready", "finished", "stopped"})
_DOWN = frozenset({"quarantined", "unstopped"})
_SAMPLES = {
    "tds_process_cpu_ratio": "cpu_ratio",
    "tds_process_resident_bytes": "memory_bytes",
    "tds_process_descriptors": "descriptors",
    "tds_event_loop_lag_seconds": "loop_lag_seconds",
    "tds_disk_free_bytes": "disk_free_bytes",
    "tds_disk_size_bytes": "disk_size_bytes",
}
_CONNECTIONS = "tds_database_connections"


class EntityStatus(Struct, frozen=True, kw_only=True):
    """The tasks of one entity by status, completed ones of 24 hours; both sides' counts as they were compared last."""

    entity_type: str
    pending: int
    processing: int
    failed: int
    dead_letter: int
    completed_24h: int
    oldest_waiting_seconds: float
    paused: bool
    source_count: int | None
    local_count: int | None
    match_percentage: float | None
    compared_at: datetime | None


class RunCounts(Struct, frozen=True, kw_only=True):
    """The runs of 24 hours by status and by kind; records listed and applied, tasks given up, calls made by them."""

    total: int
    by_status: dict[str, int]
    by_kind: dict[str, int]
    listed: int
    applied: int
    dead: int
    calls: int


class Pool(Struct, frozen=True, kw_only=True):
    """Connections of one pool: at work, idle, and how many more may be made."""

    used: int
    idle: int
    free: int


class Resources(Struct, frozen=True, kw_only=True):
    """What one node used at its last sample: processors kept busy, bytes, descriptors, seconds; None if not sampled."""

    node: str
    sampled_at: datetime
    cpu_ratio: float | None = None
    memory_bytes: float | None = None
    descriptors: float | None = None
    loop_lag_seconds: float | None = None
    disk_free_bytes: float | None = None
    disk_size_bytes: float | None = None
    pools: dict[str, Pool] = {}


class Component(Struct, frozen=True, kw_only=True):
    """One part of the daemon or of what it needs: how it is, and why."""

    status: State
    detail: str = ""
    restarts: int = 0


async def entities(services: Services) -> tuple[EntityStatus, ...]:
    """Every entity that is mapped or has tasks, by name."""
    rows = await services.database.fetch(_load("entities"), list(services.entities.names))
    return tuple(EntityStatus(**dict(row.items())) for row in rows)


async def runs(services: Services) -> RunCounts:
    """The runs that were asked for in 24 hours."""
    rows = await services.database.fetch(_load("runs"))
    by_status: dict[str, int] = {}
    by_kind: dict[str, int] = {}
    for row in rows:
        by_status[row["status"]] = by_status.get(row["status"], 0) + row["runs"]
        by_kind[row["kind"]] = by_kind.get(row["kind"], 0) + row["runs"]
    sums = {name: sum(row[name] for row in rows) for name in ("listed", "applied", "dead", "calls")}
    return RunCounts(total=sum(by_status.values()), by_status=by_status, by_kind=by_kind, **sums)


async def resources(services: Services) -> tuple[Resources, ...]:
    """The newest samples of each node of the last ten minutes."""
    rows = await services.database.fetch(_load("resources"), [*_SAMPLES, _CONNECTIONS])
    nodes: dict[str, list[Any]] = {}
    for row in rows:
        nodes.setdefault(row["node"], []).append(row)
    return tuple(_used(node, found) for node, found in nodes.items())


def _used(node: str, rows: list[Any]) -> Resources:
    values = {_SAMPLES[row["metric_name"]]: row["metric_value"] for row in rows if row["metric_name"] in _SAMPLES}
    pools: dict[str, dict[str, int]] = {}
    for row in rows:
        if row["metric_name"] == _CONNECTIONS:
            labels = msgspec.json.decode(row["labels"], type=dict[str, str])
            pools.setdefault(labels["pool"], {})[labels["state"]] = int(row["metric_value"])
    return Resources(
        node=node,
        sampled_at=max(row["recorded_at"] for row in rows),
        pools={name: msgspec.convert(counts, Pool) for name, counts in pools.items()},
        **values,
    )


async def components(services: Services) -> dict[str, Component]:
    """The database, the actors, the upstreams and the nodes; DatabaseGone when the first of them is away."""
    row = await services.database.fetchrow(_load("nodes"))
    assert row is not None
    upstreams = await Shared(services.database).read()
    obstacle = readiness.obstacle(services.writer)
    return {
        "database": Component(status="healthy"),
        "intake": Component(status="down" if obstacle else "healthy", detail=obstacle),
        "nodes": Component(
            status="degraded" if row["lost"] else "healthy", detail=f"{row['alive']} alive, {row['lost']} not heard of"
        ),
        **{f"upstream.{name}": _upstream(one) for name, one in upstreams.items()},
        **_actors(services),
    }


def worst(parts: Mapping[str, Component]) -> State:
    """Healthy when all of them are; down when the database or the intake is."""
    if any(parts[name].status == "down" for name in ("database", "intake")):
        return "down"
    return "healthy" if all(part.status == "healthy" for part in parts.values()) else "degraded"


def _upstream(one: Upstream) -> Component:
    if one.paused > 0:
        return Component(status="degraded", detail=f"paused for {one.paused:.0f} s: {one.pause_reason}")
    status = _PHASES[one.breaker.phase]
    return Component(status=status, detail="" if status == "healthy" else one.breaker.reason)


def _actors(services: Services) -> dict[str, Component]:
    runtime = services.runtime()
    if runtime is None:
        return {}
    return {f"actor.{one.name}": _actor(one) for one in _leaves(runtime.snapshot())}


def _actor(one: Snapshot) -> Component:
    if one.state in _WELL:
        return Component(status="healthy", restarts=one.restarts)
    status: State = "down" if one.state in _DOWN else "degraded"
    return Component(status=status, detail=one.last_error or one.state, restarts=one.restarts)


def _leaves(node: Snapshot) -> Iterator[Snapshot]:
    if not node.children:
        yield node
    for child in node.children:
        yield from _leaves(child)


def now() -> datetime:
    """This moment, in UTC."""
    return datetime.now(UTC)


def _load(name: str) -> str:
    return sql.load(f"dashboard/{name}", package="actors")
