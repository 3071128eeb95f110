"""Webhooks as they arrived: which routes bring what, what came last, and sending it through the queue again."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api import audit, bulk
from actors.api import health as probes
from actors.api.authentication import Caller
from actors.api.bulk import Bulk, Ids, Order
from actors.api.endpoints import LARGEST_ID, Because, Endpoint, Id, Limit, answer, parameters, path_id, read
from actors.api.health import Deliveries, WebhookHealth
from actors.api.services import Services
from actors.jobs import Selection
from tds_runtime import intake, sql
from tds_runtime.mailbox import CORRELATION
from tds_runtime.problem import Refusal

PATH = "/api/bff/tds/zoho/webhooks"
PREFIX = "/api/tds/webhooks"


class Route(Struct, frozen=True, kw_only=True):
    """The routes of one entity and what 24 hours brought; None when that was nothing."""

    entity_type: str
    paths: tuple[str, ...]
    last_24h: Deliveries | None


class Routes(Struct, frozen=True, kw_only=True):
    """Every entity that is delivered by webhook."""

    webhooks: tuple[Route, ...]
    count: int
    received_24h: int
    timestamp: datetime


class Arrived(Struct, frozen=True, kw_only=True):
    """One delivery without its body, which is nobody's to read here."""

    id: int
    received_at: datetime
    source: str
    entity_type: str
    source_entity_id: str
    operation: str
    modified_at: datetime | None
    bytes: int
    correlation_id: str


class Page(Struct, frozen=True, kw_only=True):
    """Newest first; `next` is the `before` of the following page, None on the last one."""

    items: tuple[Arrived, ...]
    next: int | None


class Which(Struct, frozen=True, kw_only=True):
    """Which deliveries, those below `before`."""

    limit: Limit | None = None
    before: Id = LARGEST_ID
    entity_type: str | None = None
    source_entity_id: str | None = None


class Many(Order, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which deliveries go through the queue again, and why; `since` and `until` are of their arrival."""

    ids: Ids | None = None
    entity_type: str | None = None
    source_entity_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def selection(self) -> Selection:
        """The filter of it."""
        return Selection(
            ids=self.ids,
            entity_type=self.entity_type,
            source_entity_id=self.source_entity_id,
            since=self.since,
            until=self.until,
        )


class Replayed(Struct, frozen=True):
    """How many tasks were enqueued."""

    matched: int
    enqueued: int


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Looking and replaying."""
    found = _Deliveries(services)
    return (
        Endpoint(method="GET", path=PATH, role="viewer", handler=found.routes, summary="Webhook routes", result=Routes),
        Endpoint(
            method="GET",
            path=f"{PATH}/health",
            role="viewer",
            handler=found.health,
            summary="Health of the webhooks",
            result=WebhookHealth,
        ),
        Endpoint(
            method="GET",
            path=f"{PATH}/recent",
            role="viewer",
            handler=found.recent,
            summary="What arrived last",
            query=Which,
            result=Page,
        ),
        bulk.asked(f"{PATH}/replay", found.replay, "Replay many", Many),
        Endpoint(
            method="POST",
            path=f"{PATH}/{{id:int}}/replay",
            role="operator",
            handler=found.replay_one,
            summary="Replay one",
            body=Because,
            result=Replayed,
        ),
    )


class _Deliveries:
    def __init__(self, services: Services) -> None:
        self._services, self._database = services, services.database
        self._bulk = Bulk(services)

    async def routes(self, _request: Request, _caller: Caller) -> Response:
        report = await probes.webhooks(self._services)
        found = tuple(
            Route(
                entity_type=entity.name,
                paths=tuple(f"{PREFIX}/{path}" for path in entity.webhook.paths),
                last_24h=report.entities.get(entity.name),
            )
            for entity in self._services.entities
            if entity.webhook is not None
        )
        shown = Routes(webhooks=found, count=len(found), received_24h=report.received_24h, timestamp=datetime.now(UTC))
        return answer(shown)

    async def health(self, _request: Request, _caller: Caller) -> Response:
        return answer(await probes.webhooks(self._services))

    async def recent(self, request: Request, _caller: Caller) -> Response:
        wanted = parameters(request, Which)
        limit = wanted.limit or self._services.options.page
        values = (wanted.entity_type, wanted.before, wanted.source_entity_id, limit)
        rows = await self._database.fetch(sql.load("inbox/recent", package="actors"), *values)
        items = tuple(Arrived(**row) for row in rows)
        return answer(Page(items=items, next=items[-1].id if len(items) == limit else None))

    async def replay(self, request: Request, caller: Caller) -> Response:
        wanted = read(request, Many)
        return await self._bulk.ask(request, caller, "inbox.replay", wanted.selection, wanted)

    async def replay_one(self, request: Request, caller: Caller) -> Response:
        reason, delivery = read(request, Because).reason, path_id(request)
        async with self._database.transaction() as connection:
            enqueued = await intake.replay(connection, [delivery], correlation_id=CORRELATION.get())
            if not enqueued:
                raise Refusal(404, "There is no delivery of this id.")
            await audit.note(connection, caller, "inbox.replay", reason=reason, detail={"ids": [delivery]})
        return answer(Replayed(1, enqueued))
