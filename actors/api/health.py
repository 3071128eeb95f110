"""Is anything wrong: liveness, readiness and health, in full for those who may see it, a word for everybody else."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar

import anyio
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors import condition, readiness
from actors.api.authentication import Caller
from actors.api.endpoints import Endpoint, answer
from actors.api.services import Services
from actors.condition import Status, Thresholds
from tds_runtime import sql
from tds_runtime.database import Database
from tds_runtime.errors import Outage
from tds_runtime.gate import STOPPING

T = TypeVar("T")

FRESH = 1.0
"""Seconds for which a report is shown again: however often strangers ask, the database is asked once a second."""

UNAVAILABLE = 503


class QueueCounts(Struct, frozen=True, kw_only=True):
    """Tasks by status; `failed` ones wait for their retry."""

    pending: int
    processing: int
    completed: int
    failed: int
    dead_letter: int
    total: int


class Figures(Struct, frozen=True, kw_only=True):
    """Of the last 24 hours, `success_rate` in percent; of now `oldest_waiting_seconds` and `sources_down`."""

    success_rate: float
    active_alerts: int
    completed_24h: int
    dead_lettered_24h: int
    webhooks_received_24h: int
    oldest_waiting_seconds: float
    sources_down: tuple[str, ...]


class Health(Struct, frozen=True, kw_only=True):
    """The whole report."""

    status: Status
    timestamp: datetime
    queue: QueueCounts
    metrics: Figures
    thresholds: Thresholds


class Deliveries(Struct, frozen=True, kw_only=True):
    """What one entity was sent in 24 hours."""

    received: int
    unnamed: int
    last_received_at: datetime


class WebhookHealth(Struct, frozen=True, kw_only=True):
    """What arrived; `waiting` deliveries are on their way to the disk."""

    status: Status
    timestamp: datetime
    received_24h: int
    last_received_at: datetime | None
    waiting: int
    entities: dict[str, Deliveries]


class Verdict(Struct, frozen=True, kw_only=True):
    """What a stranger is told."""

    status: str
    timestamp: datetime


class Gone(Verdict, frozen=True, kw_only=True):
    """What an insider is told when nothing can be counted: the kind of outage."""

    error: str


class Ready(Struct, frozen=True, kw_only=True):
    """Whether deliveries are taken, and what stands against it."""

    status: str
    timestamp: datetime
    reasons: tuple[str, ...]


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """All of them are open; the caller decides how much is shown."""
    probes = _Probes(services)
    return (
        Endpoint(method="GET", path="/livez", role="public", handler=probes.alive, summary="Liveness", result=Verdict),
        Endpoint(
            method="GET",
            path="/readyz",
            role="public",
            handler=probes.ready,
            summary="Readiness",
            result=(Ready, Verdict),
            also={UNAVAILABLE: (Ready, Verdict)},
        ),
        *(
            Endpoint(
                method="GET",
                path=path,
                role="public",
                handler=probes.health,
                summary="Health of queue and sync",
                result=(Health, Verdict),
                also={UNAVAILABLE: (Gone, Verdict)},
            )
            for path in ("/health", "/api/tds/monitoring/health")
        ),
        Endpoint(
            method="GET",
            path="/api/tds/webhooks/health",
            role="public",
            handler=probes.webhooks,
            summary="Health of the intake",
            result=(WebhookHealth, Verdict),
            also={UNAVAILABLE: (Gone, Verdict)},
        ),
    )


class _Probes:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._health = _Fresh(lambda: health(services))
        self._webhooks = _Fresh(lambda: webhooks(services))
        self._storable = _Fresh(lambda: storable(services.database))

    async def alive(self, _request: Request, _caller: Caller) -> Response:
        """The event loop turns, or this would not be answered."""
        return answer(Verdict(status="alive", timestamp=_now()))

    async def ready(self, request: Request, caller: Caller) -> Response:
        reasons = await self._obstacles(request)
        found = Ready(status="unready" if reasons else "ready", timestamp=_now(), reasons=reasons)
        shown: Struct = found if caller.sees_all else Verdict(status=found.status, timestamp=found.timestamp)
        return answer(shown, UNAVAILABLE if reasons else 200)

    async def health(self, _request: Request, caller: Caller) -> Response:
        try:
            report = await self._health.get()
        except Outage as error:
            return _gone(error, caller)
        return answer(report if caller.sees_all else Verdict(status=report.status, timestamp=report.timestamp))

    async def webhooks(self, _request: Request, caller: Caller) -> Response:
        try:
            report = await self._webhooks.get()
        except Outage as error:
            return _gone(error, caller)
        return answer(report if caller.sees_all else Verdict(status=report.status, timestamp=report.timestamp))

    async def _obstacles(self, request: Request) -> tuple[str, ...]:
        reasons = []
        if request.scope[STOPPING].is_set():
            reasons.append("the daemon stops")
        try:
            if not await self._storable.get():
                reasons.append("the database takes no writes")
        except Outage:
            reasons.append("there is no database")
        obstacle = readiness.obstacle(self._services.writer)
        return (*reasons, obstacle) if obstacle else tuple(reasons)


async def health(services: Services) -> Health:
    """Count and judge; DatabaseGone when nothing can be counted."""
    tasks = await services.queue.statistics()
    day = await services.database.fetchrow(sql.load("api/day", package="actors"))
    assert day is not None
    rate = condition.success_rate(completed=day["completed"], dead_lettered=day["dead_lettered"])
    return Health(
        status=condition.judge(
            pending=tasks.pending,
            dead_letters=tasks.dead_letter,
            success_rate=rate,
            thresholds=services.thresholds,
            source_down=bool(day["sources_down"]),
        ),
        timestamp=_now(),
        queue=QueueCounts(
            pending=tasks.pending,
            processing=tasks.processing,
            completed=tasks.completed,
            failed=tasks.failed,
            dead_letter=tasks.dead_letter,
            total=tasks.total,
        ),
        metrics=Figures(
            success_rate=rate,
            active_alerts=day["active_alerts"],
            completed_24h=day["completed"],
            dead_lettered_24h=day["dead_lettered"],
            webhooks_received_24h=day["webhooks"],
            oldest_waiting_seconds=tasks.oldest_waiting,
            sources_down=tuple(day["sources_down"]),
        ),
        thresholds=services.thresholds,
    )


async def webhooks(services: Services) -> WebhookHealth:
    """What a day delivered; healthy as long as it can be stored."""
    rows = await services.database.fetch(sql.load("api/webhooks", package="actors"))
    entities = {
        row["entity_type"]: Deliveries(
            received=row["received"], unnamed=row["unnamed"], last_received_at=row["last_received_at"]
        )
        for row in rows
    }
    mailbox = readiness.mailbox(services.writer)
    full = mailbox is None or mailbox.queued >= mailbox.capacity
    return WebhookHealth(
        status="warning" if full else "healthy",
        timestamp=_now(),
        received_24h=sum(one.received for one in entities.values()),
        last_received_at=max((one.last_received_at for one in entities.values()), default=None),
        waiting=0 if mailbox is None else mailbox.queued + mailbox.leased,
        entities=entities,
    )


async def storable(database: Database) -> bool:
    """Whether a delivery could be stored now."""
    return bool(await database.fetchval(sql.load("api/ready", package="actors"), pool="ingest"))


def _gone(error: Outage, caller: Caller) -> Response:
    if caller.sees_all:
        return answer(Gone(status="error", timestamp=_now(), error=type(error).__name__), UNAVAILABLE)
    return answer(Verdict(status="error", timestamp=_now()), UNAVAILABLE)


def _now() -> datetime:
    return datetime.now(UTC)


class _Fresh(Generic[T]):
    """A value that is made again when it is older than `FRESH`, by one of those who ask for it."""

    def __init__(self, make: Callable[[], Awaitable[T]], clock: Callable[[], float] = time.monotonic) -> None:
        self._make, self._clock = make, clock
        self._lock = anyio.Lock()
        self._made: tuple[float, T] | None = None

    async def get(self) -> T:
        async with self._lock:
            now = self._clock()
            if self._made is None or now - self._made[0] >= FRESH:
                self._made = (now, await self._make())
            return self._made[1]
