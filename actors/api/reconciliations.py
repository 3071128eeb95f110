"""Comparisons of both sides: asking for one, following it, and what it found, record by record."""

from __future__ import annotations

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors import reports
from actors.api import audit
from actors.api.authentication import Caller
from actors.api.endpoints import LARGEST_ID, Endpoint, Id, Limit, Reason, answer, parameters, path_id, read
from actors.api.services import Services
from actors.reports import EVERYTHING, Depth, Finding, Kind, Report, Result, Status
from tds_runtime.mailbox import CORRELATION
from tds_runtime.problem import Refusal

PATH = "/api/bff/tds/reconciliations"


class Wish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be compared, how deep, and whether what is found is put right; a repair has a reason."""

    entity: str = EVERYTHING
    depth: Depth = "records"
    repair: bool = False
    reason: Reason = ""


class Cancel(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: Reason = ""


class Which(Struct, frozen=True, kw_only=True):
    """Which reports, those below `before`."""

    limit: Limit | None = None
    before: Id = LARGEST_ID
    entity_type: str | None = None
    status: Status | None = None


class WhichFindings(Struct, frozen=True, kw_only=True):
    """Which findings, those behind `after`, the `next` of an earlier answer."""

    limit: Limit | None = None
    after: str = ""
    entity_type: str | None = None
    kind: Kind | None = None
    record: str | None = None


class Reports(Struct, frozen=True, kw_only=True):
    """Newest first; `next` is the `before` of the following page, None on the last one."""

    items: tuple[Report, ...]
    next: int | None


class Whole(Struct, frozen=True, kw_only=True):
    """A report, its entities, and one page of its findings; `next` is the `after` of the following page."""

    report: Report
    entities: tuple[Result, ...]
    findings: tuple[Finding, ...]
    next: str | None


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Asking, following, cancelling."""
    found = _Reconciliations(services)
    one = f"{PATH}/{{id:int}}"
    return (
        Endpoint(
            method="GET",
            path=PATH,
            role="viewer",
            handler=found.page,
            summary="Comparisons",
            query=Which,
            result=Reports,
        ),
        Endpoint(
            method="POST",
            path=PATH,
            role="operator",
            handler=found.ask,
            summary="Compare",
            body=Wish,
            result=Report,
            status=202,
            refuses=(404,),
        ),
        Endpoint(
            method="GET",
            path=one,
            role="viewer",
            handler=found.one,
            summary="Comparison",
            query=WhichFindings,
            result=Whole,
        ),
        Endpoint(
            method="POST",
            path=f"{one}/cancel",
            role="operator",
            handler=found.cancel,
            summary="Stop comparing",
            body=Cancel,
            result=Report,
            refuses=(409,),
        ),
    )


class _Reconciliations:
    def __init__(self, services: Services) -> None:
        self._services, self._database = services, services.database

    async def ask(self, request: Request, caller: Caller) -> Response:
        wish = read(request, Wish)
        if wish.entity != EVERYTHING and wish.entity not in self._services.entities:
            raise Refusal(404, "There is no such entity.", errors=self._services.entities.names)
        if wish.repair and (wish.depth == "counts" or not wish.reason):
            raise Refusal(422, "A repair needs the depth records and a reason.")
        report_id = await self._request(wish, caller)
        self._services.wake_reconciler()
        return answer(await self._read(report_id), 202)

    async def _request(self, wish: Wish, caller: Caller) -> int:
        async with self._database.transaction() as connection:
            report_id = await reports.request(
                connection,
                wish.entity,
                caller.name,
                depth=wish.depth,
                repair=wish.repair,
                reason=wish.reason,
                correlation_id=CORRELATION.get(),
            )
            detail = {"report_id": report_id, "depth": wish.depth, "repair": wish.repair}
            await audit.note(
                connection, caller, "reconciliation.request", reason=wish.reason, entity=wish.entity, detail=detail
            )
        return report_id

    async def page(self, request: Request, _caller: Caller) -> Response:
        wanted = parameters(request, Which)
        limit = wanted.limit or self._services.options.page
        found = await reports.recent(
            self._database,
            before=wanted.before,
            entity_type=wanted.entity_type,
            status=wanted.status,
            limit=limit,
        )
        return answer(Reports(items=tuple(found), next=found[-1].id if len(found) == limit else None))

    async def one(self, request: Request, _caller: Caller) -> Response:
        wanted = parameters(request, WhichFindings)
        report = await self._read(path_id(request))
        limit = wanted.limit or self._services.options.page
        entity, _, record = wanted.after.partition("/")
        found = await reports.findings(
            self._database,
            report.id,
            after=(entity, record),
            entity_type=wanted.entity_type,
            kind=wanted.kind,
            record=wanted.record,
            limit=limit,
        )
        results = await reports.results(self._database, report.id)
        last = f"{found[-1].entity_type}/{found[-1].source_entity_id}" if len(found) == limit else None
        return answer(Whole(report=report, entities=tuple(results), findings=tuple(found), next=last))

    async def cancel(self, request: Request, caller: Caller) -> Response:
        reason = read(request, Cancel).reason
        report = await self._read(path_id(request))
        async with self._database.transaction() as connection:
            if not await reports.cancel(connection, report.id, f"{caller.name}: {reason}"):
                raise Refusal(409, "The report has ended already.")
            detail = {"report_id": report.id}
            await audit.note(
                connection, caller, "reconciliation.cancel", reason=reason, entity=report.entity_type, detail=detail
            )
        return answer(await self._read(report.id))

    async def _read(self, report_id: int) -> Report:
        report = await reports.read(self._database, report_id)
        if report is None:
            raise Refusal(404, "There is no such report.")
        return report
