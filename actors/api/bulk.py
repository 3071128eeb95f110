"""Bulk actions over HTTP: counted first, asked for with a reason, then a job that is followed and can be cancelled."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response

from actors import jobs
from actors.api import audit, following
from actors.api.authentication import Caller
from actors.api.endpoints import (
    LARGEST_ID,
    LONGEST_PAGE,
    Because,
    Endpoint,
    Handler,
    Id,
    Limit,
    Said,
    answer,
    parameters,
    path_id,
    read,
)
from actors.api.following import Patience
from actors.api.services import Services
from actors.jobs import Job, Kind, Selection, Status
from tds_runtime.mailbox import CORRELATION
from tds_runtime.problem import Refusal

PATH = "/api/bff/tds/jobs"

Ids = Annotated[tuple[Id, ...], Meta(max_length=LONGEST_PAGE)]


class Order(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of a bulk action: why, and how many it may touch.

    With `dry_run` they are only counted. With `expected`, the count that was seen before, another count is refused:
    nobody acts on more than was shown. A filter must be given, `all` is one: nobody touches everything by accident.
    """

    reason: Said
    all: bool = False
    dry_run: bool = False
    expected: Annotated[int, Meta(ge=0)] | None = None


class Counted(Struct, frozen=True):
    """How many would be touched; nothing was."""

    matched: int


class Which(Struct, frozen=True, kw_only=True):
    """Which jobs, those below `before`."""

    limit: Limit | None = None
    before: Id = LARGEST_ID
    kind: Kind | None = None
    status: Status | None = None


class Page(Struct, frozen=True, kw_only=True):
    """Newest first; `next` is the `before` of the following page, None on the last one."""

    items: tuple[Job, ...]
    next: int | None


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Following and cancelling; jobs are asked for where their subject is."""
    bulk = Bulk(services)
    one = f"{PATH}/{{id:int}}"
    return (
        Endpoint(method="GET", path=PATH, role="viewer", handler=bulk.page, summary="Jobs", query=Which, result=Page),
        Endpoint(method="GET", path=one, role="viewer", handler=bulk.one, summary="Job", result=Job),
        Endpoint(
            method="POST",
            path=f"{one}/cancel",
            role="operator",
            handler=bulk.cancel,
            summary="Stop a job",
            body=Because,
            result=Job,
            refuses=(409,),
        ),
    )


def asked(path: str, handler: Handler, summary: str, body: type[Order]) -> Endpoint:
    """The route at which one is asked for: a job, the end of one that was waited for, or a count."""
    return Endpoint(
        method="POST",
        path=path,
        role="operator",
        handler=handler,
        summary=summary,
        body=body,
        query=Patience,
        result=(Job, Counted),
        also={202: Job},
        refuses=(409,),
    )


class Bulk:
    """What all bulk actions do alike."""

    def __init__(self, services: Services) -> None:
        self._services, self._database = services, services.database

    async def ask(self, request: Request, caller: Caller, kind: Kind, selection: Selection, order: Order) -> Response:
        """Count, and unless it was to be a dry run make a job of it; `?wait=true` waits for its end."""
        patience = parameters(request, Patience)
        if selection == Selection() and not order.all:
            raise Refusal(422, "Name a filter, or say all.")
        if order.dry_run:
            return answer(Counted((await jobs.count(self._database, kind, selection)).matched))
        job_id = await self._request(caller, kind, selection, order)
        self._services.wake_clerk()
        if patience.wait:
            await following.until(lambda: self._ended(job_id), request, self._services.options.wait)
        job = await self._read(job_id)
        return answer(job, 200 if job.ended else 202)

    async def _request(self, caller: Caller, kind: Kind, selection: Selection, order: Order) -> int:
        async with self._database.transaction() as connection:
            counted = await jobs.count(connection, kind, selection)
            if order.expected is not None and order.expected != counted.matched:
                raise Refusal(409, f"{counted.matched} match by now, not {order.expected}.")
            job_id = await jobs.request(
                connection,
                kind,
                selection,
                caller.name,
                counted=counted,
                reason=order.reason,
                correlation_id=CORRELATION.get(),
            )
            detail = {"job_id": job_id, "matched": counted.matched, "selection": selection}
            await audit.note(
                connection, caller, kind, reason=order.reason, entity=selection.entity_type or "", detail=detail
            )
        return job_id

    async def page(self, request: Request, _caller: Caller) -> Response:
        """A page of jobs."""
        wanted = parameters(request, Which)
        limit = wanted.limit or self._services.options.page
        found = await jobs.recent(
            self._database, before=wanted.before, kind=wanted.kind, status=wanted.status, limit=limit
        )
        return answer(Page(items=tuple(found), next=found[-1].id if len(found) == limit else None))

    async def one(self, request: Request, _caller: Caller) -> Response:
        """One job."""
        return answer(await self._read(path_id(request)))

    async def cancel(self, request: Request, caller: Caller) -> Response:
        """End a job."""
        reason, job_id = read(request, Because).reason, path_id(request)
        await self._read(job_id)
        async with self._database.transaction() as connection:
            if not await jobs.cancel(connection, job_id, f"{caller.name}: {reason}"):
                raise Refusal(409, "The job has ended already.")
            await audit.note(connection, caller, "job.cancel", reason=reason, detail={"job_id": job_id})
        return answer(await self._read(job_id))

    async def _ended(self, job_id: int) -> bool:
        return (await self._read(job_id)).ended

    async def _read(self, job_id: int) -> Job:
        job = await jobs.read(self._database, job_id)
        if job is None:
            raise Refusal(404, "There is no such job.")
        return job
