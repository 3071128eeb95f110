"""The dead letters: what was given up and why, how it gets another chance, and how it is let go."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors import jobs
from actors.api import audit, bulk
from actors.api.authentication import Caller
from actors.api.bulk import Bulk, Ids, Order
from actors.api.endpoints import LARGEST_ID, Because, Endpoint, Id, Limit, Said, answer, parameters, path_id, read
from actors.api.services import Services
from tds_runtime.problem import Refusal
from tds_runtime.queue import DeadLetter, Selection

PATH = "/api/bff/tds/dead-letter"
GONE = "There is no unresolved dead letter of this id."


class Letter(Struct, frozen=True, kw_only=True):
    """One dead letter without its stack and its body."""

    id: int
    task_id: int
    entity_type: str
    source_entity_id: str
    operation: str
    error_code: str
    error_message: str
    attempt_count: int
    retry_count: int
    correlation_id: str
    first_buried_at: datetime
    buried_at: datetime


class Page(Struct, frozen=True, kw_only=True):
    """Newest first; `next` is the `before` of the following page, None on the last one. `total` counts the filter."""

    items: tuple[Letter, ...]
    next: int | None
    total: int


class Which(Struct, frozen=True, kw_only=True):
    """Which dead letters, those below `before`."""

    limit: Limit | None = None
    before: Id = LARGEST_ID
    entity_type: str | None = None
    source_entity_id: str | None = None
    error_code: str | None = None


class Many(Order, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters are retried or discarded, and why; `since` and `until` are of their burial."""

    ids: Ids | None = None
    entity_type: str | None = None
    source_entity_id: str | None = None
    error_code: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def selection(self) -> jobs.Selection:
        """The filter of it."""
        return jobs.Selection(
            ids=self.ids,
            entity_type=self.entity_type,
            source_entity_id=self.source_entity_id,
            error_code=self.error_code,
            since=self.since,
            until=self.until,
        )


class Why(Struct, frozen=True, forbid_unknown_fields=True):
    """Why it is let go."""

    reason: Said


class Retried(Struct, frozen=True):
    """How many matched before, and how many went back to the queue."""

    matched: int
    retried: int


class Discarded(Struct, frozen=True):
    """How many matched before, and how many were let go."""

    matched: int
    discarded: int


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """The list; retrying and discarding one of it or many."""
    letters = _Letters(services)
    one = f"{PATH}/{{id:int}}"
    return (
        Endpoint(
            method="GET",
            path=PATH,
            role="viewer",
            handler=letters.page,
            summary="Dead letters",
            query=Which,
            result=Page,
        ),
        bulk.asked(f"{PATH}/retry", letters.retry, "Retry many", Many),
        bulk.asked(f"{PATH}/discard", letters.discard, "Discard many", Many),
        Endpoint(
            method="POST",
            path=f"{one}/retry",
            role="operator",
            handler=letters.retry_one,
            summary="Retry one",
            body=Because,
            result=Retried,
        ),
        Endpoint(
            method="POST",
            path=f"{one}/discard",
            role="operator",
            handler=letters.discard_one,
            summary="Discard one",
            body=Why,
            result=Discarded,
        ),
    )


class _Letters:
    def __init__(self, services: Services) -> None:
        self._database, self._queue, self._page = services.database, services.queue, services.options.page
        self._bulk = Bulk(services)

    async def page(self, request: Request, _caller: Caller) -> Response:
        wanted = parameters(request, Which)
        limit = wanted.limit or self._page
        chosen = Selection(
            entity_type=wanted.entity_type,
            source_entity_id=wanted.source_entity_id,
            error_code=wanted.error_code,
        )
        found = await self._queue.dead_letters(chosen, before=wanted.before, limit=limit)
        following = found[-1].id if len(found) == limit else None
        total = await self._queue.count_dead(chosen)
        return answer(Page(items=tuple(map(_shown, found)), next=following, total=total))

    async def retry(self, request: Request, caller: Caller) -> Response:
        wanted = read(request, Many)
        return await self._bulk.ask(request, caller, "dead_letter.retry", wanted.selection, wanted)

    async def discard(self, request: Request, caller: Caller) -> Response:
        wanted = read(request, Many)
        return await self._bulk.ask(request, caller, "dead_letter.discard", wanted.selection, wanted)

    async def retry_one(self, request: Request, caller: Caller) -> Response:
        reason, letter = read(request, Because).reason, path_id(request)
        async with self._database.transaction() as connection:
            retried = await self._queue.retry_dead(Selection(ids=(letter,)), by=caller.name, connection=connection)
            if not retried:
                raise Refusal(404, GONE)
            await audit.note(connection, caller, "dead_letter.retry", reason=reason, detail={"ids": [letter]})
        return answer(Retried(1, retried))

    async def discard_one(self, request: Request, caller: Caller) -> Response:
        reason, letter = read(request, Why).reason, path_id(request)
        async with self._database.transaction() as connection:
            discarded = await self._queue.discard_dead(
                Selection(ids=(letter,)), by=caller.name, note=reason, connection=connection
            )
            if not discarded:
                raise Refusal(404, GONE)
            await audit.note(connection, caller, "dead_letter.discard", reason=reason, detail={"ids": [letter]})
        return answer(Discarded(1, discarded))


def _shown(letter: DeadLetter) -> Letter:
    return Letter(**{name: getattr(letter, name) for name in Letter.__struct_fields__})
