"""The dead letters: what was given up and why, and how it gets another chance."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api import audit
from actors.api.authentication import Caller
from actors.api.endpoints import LARGEST_ID, LONGEST_PAGE, Endpoint, answer, number, read, text
from actors.api.services import Services
from tds_runtime.problem import Refusal
from tds_runtime.queue import DeadLetter, Selection

PATH = "/api/bff/tds/dead-letter"

Reason = Annotated[str, Meta(min_length=1, max_length=500)]
Id = Annotated[int, Meta(ge=1, le=LARGEST_ID)]


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


class Retry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which dead letters are retried, and why.

    With `dry_run` they are only counted. A filter must be given, `all` is one: nobody retries everything by accident.
    """

    reason: Reason
    ids: Annotated[tuple[Id, ...], Meta(max_length=LONGEST_PAGE)] | None = None
    entity_type: str | None = None
    error_code: str | None = None
    all: bool = False
    dry_run: bool = False
    limit: Annotated[int, Meta(ge=1, le=LONGEST_PAGE)] = LONGEST_PAGE


class RetryOne(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: Reason = "by hand"


class Retried(Struct, frozen=True):
    """How many matched before, and how many went back to the queue."""

    matched: int
    retried: int


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """The list, and retrying one or many of it."""
    letters = _Letters(services)
    return (
        Endpoint(method="GET", path=PATH, role="viewer", handler=letters.page, summary="Dead letters"),
        Endpoint(method="POST", path=f"{PATH}/retry", role="operator", handler=letters.retry, summary="Retry many"),
        Endpoint(
            method="POST",
            path=f"{PATH}/{{id:int}}/retry",
            role="operator",
            handler=letters.retry_one,
            summary="Retry one",
        ),
    )


class _Letters:
    def __init__(self, services: Services) -> None:
        self._database, self._queue, self._page = services.database, services.queue, services.options.page

    async def page(self, request: Request, _caller: Caller) -> Response:
        limit = number(request, "limit", self._page, most=LONGEST_PAGE)
        before = number(request, "before", LARGEST_ID)
        chosen = Selection(
            entity_type=text(request, "entity_type"),
            source_entity_id=text(request, "source_entity_id"),
            error_code=text(request, "error_code"),
        )
        found = await self._queue.dead_letters(chosen, before=before, limit=limit)
        following = found[-1].id if len(found) == limit else None
        total = await self._queue.count_dead(chosen)
        return answer(Page(items=tuple(map(_shown, found)), next=following, total=total))

    async def retry(self, request: Request, caller: Caller) -> Response:
        wanted = read(request, Retry)
        if not (wanted.all or wanted.ids is not None or wanted.entity_type or wanted.error_code):
            raise Refusal(422, "Name ids, an entity_type or an error_code, or say all.")
        chosen = Selection(ids=wanted.ids, entity_type=wanted.entity_type, error_code=wanted.error_code)
        matched = await self._queue.count_dead(chosen)
        if wanted.dry_run:
            return answer(Retried(matched, 0))
        await audit.note(self._database, caller, "dead_letter.retry", reason=wanted.reason, detail=wanted)
        retried = await self._queue.retry_dead(chosen, by=caller.name, limit=wanted.limit)
        return answer(Retried(matched, retried))

    async def retry_one(self, request: Request, caller: Caller) -> Response:
        letter = request.path_params["id"]
        reason = read(request, RetryOne).reason
        chosen = Selection(ids=(letter,))
        if letter > LARGEST_ID or not await self._queue.count_dead(chosen):
            raise Refusal(404, "There is no unresolved dead letter of this id.")
        await audit.note(self._database, caller, "dead_letter.retry", reason=reason, detail={"ids": [letter]})
        return answer(Retried(1, await self._queue.retry_dead(chosen, by=caller.name)))


def _shown(letter: DeadLetter) -> Letter:
    return Letter(**{name: getattr(letter, name) for name in Letter.__struct_fields__})
