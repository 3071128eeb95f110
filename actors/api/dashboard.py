"""Everything on one page, as the predecessor's dashboards ask for it: queue, entities, runs, deliveries, resources."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api import figures, health
from actors.api.authentication import Caller
from actors.api.endpoints import Endpoint, answer
from actors.api.figures import Component, EntityStatus, Resources, RunCounts
from actors.api.health import Deliveries, Figures, Health, QueueCounts
from actors.api.services import Services
from actors.condition import Status, Thresholds
from actors.service_levels import reading
from actors.service_levels.levels import Level

PATH = "/api/bff/tds"


class Dashboard(Struct, frozen=True, kw_only=True):
    """The short one: how it is, what waits, what a day brought, and which service levels are missed."""

    status: Status
    timestamp: datetime
    queue: QueueCounts
    metrics: Figures
    runs_24h: RunCounts
    webhooks_received_24h: int
    service_levels_missed: tuple[str, ...]


class Complete(Struct, frozen=True, kw_only=True):
    """All of it; `entities` by name, `resources` by node."""

    status: Status
    timestamp: datetime
    queue: QueueCounts
    metrics: Figures
    thresholds: Thresholds
    entities: dict[str, EntityStatus]
    runs_24h: RunCounts
    webhooks_received_24h: int
    resources: dict[str, Resources]
    components: dict[str, Component]
    service_levels: tuple[Level, ...]


class CompleteHealth(Struct, frozen=True, kw_only=True):
    """Health, with what it is made of."""

    status: Status
    timestamp: datetime
    queue: QueueCounts
    metrics: Figures
    thresholds: Thresholds
    components: dict[str, Component]
    service_levels_missed: tuple[str, ...]


class Combined(Struct, frozen=True, kw_only=True):
    """Source, local tables and queue side by side; the match is over the entities that were compared."""

    timestamp: datetime
    overall_match_percentage: float | None
    source_total: int
    local_total: int
    entities: dict[str, EntityStatus]
    queue: QueueCounts
    metrics: Figures
    runs_24h: RunCounts
    webhooks: dict[str, Deliveries]


class EntityList(Struct, frozen=True, kw_only=True):
    """Every entity that is mapped or has tasks."""

    entities: tuple[EntityStatus, ...]
    count: int
    timestamp: datetime


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Reading only; all of it comes from the database, so with that away the answer is 503."""
    pages = _Pages(services)
    return (
        _page("/dashboard", pages.short, "Dashboard", Dashboard),
        _page("/dashboard/complete", pages.complete, "Complete dashboard", Complete),
        _page("/health", pages.health, "Health, for the dashboard", Health),
        _page("/health/complete", pages.complete_health, "Complete health", CompleteHealth),
        _page("/stats/combined", pages.combined, "Source and local side by side", Combined),
        _page("/entities", pages.entities, "Entities", EntityList),
    )


def _page(path: str, make: Callable[[], Awaitable[Struct]], summary: str, result: Any) -> Endpoint:
    async def show(_request: Request, _caller: Caller) -> Response:
        return answer(await make())

    return Endpoint(method="GET", path=PATH + path, role="viewer", handler=show, summary=summary, result=result)


class _Pages:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def short(self) -> Dashboard:
        found = await health.health(self._services)
        report = await reading.report(self._services.database, self._services.levels)
        return Dashboard(
            status=found.status,
            timestamp=found.timestamp,
            queue=found.queue,
            metrics=found.metrics,
            runs_24h=await figures.runs(self._services),
            webhooks_received_24h=found.metrics.webhooks_received_24h,
            service_levels_missed=report.missed,
        )

    async def complete(self) -> Complete:
        found = await health.health(self._services)
        report = await reading.report(self._services.database, self._services.levels)
        return Complete(
            status=found.status,
            timestamp=found.timestamp,
            queue=found.queue,
            metrics=found.metrics,
            thresholds=found.thresholds,
            entities=_named(await figures.entities(self._services)),
            runs_24h=await figures.runs(self._services),
            webhooks_received_24h=found.metrics.webhooks_received_24h,
            resources={one.node: one for one in await figures.resources(self._services)},
            components=await figures.components(self._services),
            service_levels=report.levels,
        )

    async def health(self) -> Health:
        return await health.health(self._services)

    async def complete_health(self) -> CompleteHealth:
        found = await health.health(self._services)
        report = await reading.report(self._services.database, self._services.levels)
        return CompleteHealth(
            status=found.status,
            timestamp=found.timestamp,
            queue=found.queue,
            metrics=found.metrics,
            thresholds=found.thresholds,
            components=await figures.components(self._services),
            service_levels_missed=report.missed,
        )

    async def combined(self) -> Combined:
        found = await health.health(self._services)
        entities = await figures.entities(self._services)
        deliveries = await health.webhooks(self._services)
        compared = [one for one in entities if one.source_count is not None and one.local_count is not None]
        source = sum(one.source_count or 0 for one in compared)
        return Combined(
            timestamp=found.timestamp,
            overall_match_percentage=_overall(compared),
            source_total=source,
            local_total=sum(one.local_count or 0 for one in compared),
            entities=_named(entities),
            queue=found.queue,
            metrics=found.metrics,
            runs_24h=await figures.runs(self._services),
            webhooks=deliveries.entities,
        )

    async def entities(self) -> EntityList:
        found = await figures.entities(self._services)
        return EntityList(entities=found, count=len(found), timestamp=figures.now())


def _named(entities: tuple[EntityStatus, ...]) -> dict[str, EntityStatus]:
    return {one.entity_type: one for one in entities}


def _overall(compared: list[EntityStatus]) -> float | None:
    """Percent of all records that match, an entity weighing as much as it has records; None before any comparison."""
    weights = [max(one.source_count or 0, one.local_count or 0) for one in compared]
    if not compared:
        return None
    if not sum(weights):
        return 100.0
    matched = sum(weight * (one.match_percentage or 0.0) for weight, one in zip(weights, compared, strict=True))
    return round(matched / sum(weights), 2)
