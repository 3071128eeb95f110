"""For monitors: the parts of the daemon, how fast it is, and what came by webhook."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec import Struct
from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import Response

from actors.api import figures, health
from actors.api.authentication import Caller
from actors.api.endpoints import Endpoint, answer
from actors.api.figures import Component, State
from actors.api.health import WebhookHealth
from actors.api.services import Services
from actors.condition import success_rate
from actors.service_levels import reading
from actors.service_levels.durations import quantile
from tds_runtime import sql
from tds_runtime.metrics import Sample

HOURS = 24


class Components(Struct, frozen=True, kw_only=True):
    """Each part by name: database, intake, nodes, `upstream.NAME`, `actor.NAME`; how all of them are together."""

    status: State
    timestamp: datetime
    components: dict[str, Component]


class Percentiles(Struct, frozen=True, kw_only=True):
    """Seconds; None when nothing was measured, and of how many tasks."""

    p50: float | None
    p95: float | None
    p99: float | None
    tasks: int


class Performance(Struct, frozen=True, kw_only=True):
    """Of 24 hours; rates in percent. `retry_rate` is of the attempts that this process has made since its start.

    `latency` is from the webhook to the row, `processing` from the claim to the row.
    """

    timestamp: datetime
    window: str
    latency: Percentiles
    processing: Percentiles
    events_per_hour: float
    tasks_per_hour: float
    success_rate: float
    error_rate: float
    retry_rate: float


class Hour(Struct, frozen=True, kw_only=True):
    """Deliveries of one hour from `at` on."""

    at: datetime
    received: int


class WebhookStatistics(WebhookHealth, frozen=True, kw_only=True):
    """The same by the hour, and in figures; `outcomes` since this process started."""

    hours: tuple[Hour, ...]
    outcomes: dict[str, int]
    latency: Percentiles


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Reading only."""
    monitoring = _Monitoring(services)
    return (
        Endpoint(
            method="GET",
            path="/api/tds/monitoring/components",
            role="viewer",
            handler=monitoring.components,
            summary="Parts of the daemon",
            result=Components,
        ),
        Endpoint(
            method="GET",
            path="/api/tds/monitoring/performance",
            role="viewer",
            handler=monitoring.performance,
            summary="Performance",
            result=Performance,
        ),
        Endpoint(
            method="GET",
            path="/api/tds/webhooks/stats",
            role="viewer",
            handler=monitoring.webhooks,
            summary="Deliveries in figures",
            result=WebhookStatistics,
        ),
    )


class _Monitoring:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def components(self, _request: Request, _caller: Caller) -> Response:
        parts = await figures.components(self._services)
        return answer(Components(status=figures.worst(parts), timestamp=figures.now(), components=parts))

    async def performance(self, _request: Request, _caller: Caller) -> Response:
        found = await health.health(self._services)
        rate = success_rate(completed=found.metrics.completed_24h, dead_lettered=found.metrics.dead_lettered_24h)
        attempts = _by_outcome(self._services.metrics.samples(), "tds_task_attempts_total")
        return answer(
            Performance(
                timestamp=found.timestamp,
                window=f"{HOURS}h",
                latency=await self._percentiles("delivery"),
                processing=await self._percentiles("processing"),
                events_per_hour=round(found.metrics.webhooks_received_24h / HOURS, 2),
                tasks_per_hour=round(found.metrics.completed_24h / HOURS, 2),
                success_rate=rate,
                error_rate=round(100.0 - rate, 2),
                retry_rate=_percent(attempts.get("retried", 0), sum(attempts.values())),
            )
        )

    async def webhooks(self, _request: Request, _caller: Caller) -> Response:
        found = await health.webhooks(self._services)
        hours = await self._services.database.fetch(sql.load("dashboard/deliveries", package="actors"))
        return answer(
            WebhookStatistics(
                **asdict(found),
                hours=tuple(Hour(at=row["at"], received=row["received"]) for row in hours),
                outcomes=_by_outcome(self._services.metrics.samples(), "tds_webhooks_total"),
                latency=await self._percentiles("delivery"),
            )
        )

    async def _percentiles(self, kind: str) -> Percentiles:
        async with self._services.database.connection() as connection:
            now = await connection.fetchval("SELECT now()")
            found = await reading.durations(connection, kind, now - timedelta(hours=HOURS), now)
        return Percentiles(
            p50=quantile(found, 0.50), p95=quantile(found, 0.95), p99=quantile(found, 0.99), tasks=sum(found.values())
        )


def _by_outcome(samples: Iterable[Sample], name: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for sample in samples:
        if sample.name == name:
            outcome = sample.labels["outcome"]
            counts[outcome] = counts.get(outcome, 0) + int(sample.value)
    return counts


def _percent(part: int, whole: int) -> float:
    return round(100.0 * part / whole, 2) if whole else 0.0
