"""Alerts over HTTP: what is wrong, what happened to it, who looks at it, and of what nobody is told for a while."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.alerting import acting
from actors.alerting.routing import Matchers, Silence
from actors.api import audit
from actors.api.authentication import Caller
from actors.api.endpoints import LARGEST_ID, LONGEST_PAGE, Endpoint, Id, Limit, Said, answer, parameters, path_id, read
from actors.api.services import Services
from tds_runtime.problem import Refusal
from tds_runtime.values import Duration

PATH = "/api/bff/tds/alerts"
LONGEST = Duration("400d")


class Which(Struct, frozen=True, kw_only=True):
    """Which alerts, those below `before`; resolved ones only with `all`."""

    limit: Limit | None = None
    before: Id = LARGEST_ID
    all: bool = False
    type: str | None = None
    severity: str | None = None


class Page(Struct, frozen=True, kw_only=True):
    """Newest first; `next` is the `before` of the following page, None on the last one."""

    alerts: list[dict[str, Any]]
    count: int
    next: int | None
    timestamp: datetime


class Acknowledge(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is being done, and for how long nobody else has to be told (`"4h"`; `[alerter] acknowledged_for`)."""

    reason: Said
    expires: str = ""


class Acknowledged(Struct, frozen=True, kw_only=True):
    """Who looks at it, and until when."""

    id: int
    acknowledged_by: str
    acknowledged_until: datetime


class NewSilence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of which alerts nobody is told, for how long, and why. All of them only when that is said: `all`."""

    reason: Said
    expires: str
    matchers: Matchers = Matchers()
    all: bool = False


class End(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why."""

    reason: Said = "by hand"


class WhichSilences(Struct, frozen=True):
    """Also those that are over."""

    over: bool = False


class Expired(Struct, frozen=True):
    """A silence that is over now."""

    id: int
    status: Literal["expired"] = "expired"


class Silences(Struct, frozen=True):
    """Those that are not over, oldest first; with `?over=true` also the latest that are."""

    silences: list[Silence]


def endpoints(services: Services) -> tuple[Endpoint, ...]:
    """Reading, acknowledging, silencing."""
    alerts = _Alerts(services)
    return (
        *_reading(alerts),
        Endpoint(
            method="POST",
            path=f"{PATH}/silences",
            role="operator",
            handler=alerts.silence,
            summary="Silence alerts",
            body=NewSilence,
            result=Silence,
            status=201,
        ),
        Endpoint(
            method="POST",
            path=f"{PATH}/silences/{{id:int}}/expire",
            role="operator",
            handler=alerts.unsilence,
            summary="End a silence",
            body=End,
            result=Expired,
        ),
        Endpoint(
            method="POST",
            path=f"{PATH}/{{id:int}}/acknowledge",
            role="operator",
            handler=alerts.acknowledge,
            summary="Acknowledge an alert",
            body=Acknowledge,
            result=Acknowledged,
        ),
    )


def _reading(alerts: _Alerts) -> tuple[Endpoint, ...]:
    pages = tuple(
        Endpoint(method="GET", path=path, role="viewer", handler=alerts.page, summary=summary, query=Which, result=Page)
        for path, summary in ((PATH, "Alerts"), ("/api/tds/monitoring/alerts", "Alerts, for monitors"))
    )
    return (
        *pages,
        Endpoint(
            method="GET",
            path=f"{PATH}/silences",
            role="viewer",
            handler=alerts.silences,
            summary="Silences",
            query=WhichSilences,
            result=Silences,
        ),
        Endpoint(
            method="GET",
            path=f"{PATH}/{{id:int}}",
            role="viewer",
            handler=alerts.one,
            summary="One alert",
            result=dict[str, Any],
        ),
    )


class _Alerts:
    def __init__(self, services: Services) -> None:
        self._database, self._page = services.database, services.options.page
        self._acknowledged_for = services.acknowledged_for

    async def page(self, request: Request, _caller: Caller) -> Response:
        wanted = parameters(request, Which)
        limit = wanted.limit or self._page
        found = await acting.listed(
            self._database,
            resolved=wanted.all,
            limit=limit,
            before=wanted.before,
            alert_type=wanted.type,
            severity=wanted.severity,
        )
        following = found[-1]["id"] if len(found) == limit else None
        return answer(Page(alerts=found, count=len(found), next=following, timestamp=datetime.now(UTC)))

    async def one(self, request: Request, _caller: Caller) -> Response:
        alert = path_id(request)
        found = await acting.read(self._database, alert, LONGEST_PAGE) if alert else None
        if found is None:
            raise Refusal(404, "There is no alert of this id.")
        return answer(found)

    async def acknowledge(self, request: Request, caller: Caller) -> Response:
        wanted, alert = read(request, Acknowledge), path_id(request)
        seconds = _seconds(wanted.expires) if wanted.expires else self._acknowledged_for
        async with self._database.transaction() as connection:
            until = None
            if alert:
                until = await acting.acknowledge(
                    connection, alert, by=caller.name, comment=wanted.reason, seconds=seconds
                )
            if until is None:
                raise Refusal(404, "There is no open alert of this id.")
            await audit.note(
                connection, caller, "alert.acknowledge", reason=wanted.reason, detail={"alert": alert, "until": until}
            )
        return answer(Acknowledged(id=alert, acknowledged_by=caller.name, acknowledged_until=until))

    async def silences(self, request: Request, _caller: Caller) -> Response:
        return answer(Silences(await acting.silences(self._database, over=parameters(request, WhichSilences).over)))

    async def silence(self, request: Request, caller: Caller) -> Response:
        wanted = read(request, NewSilence)
        if wanted.matchers.is_empty and not wanted.all:
            raise Refusal(422, "Name a type, a severity, a cause or labels, or say all.")
        async with self._database.transaction() as connection:
            made = await acting.silence(
                connection,
                wanted.matchers,
                author=caller.name,
                comment=wanted.reason,
                seconds=_seconds(wanted.expires),
            )
            await audit.note(connection, caller, "silence.create", reason=wanted.reason, detail=made)
        return answer(made, 201)

    async def unsilence(self, request: Request, caller: Caller) -> Response:
        reason, silence = read(request, End).reason, path_id(request)
        async with self._database.transaction() as connection:
            if not silence or not await acting.unsilence(connection, silence):
                raise Refusal(404, "There is no silence of this id that is not over.")
            await audit.note(connection, caller, "silence.expire", reason=reason, detail={"silence": silence})
        return answer(Expired(silence))


def _seconds(words: str) -> Duration:
    try:
        found = Duration(words)
    except ValueError as error:
        raise Refusal(422, f"expires: {error}") from error
    if not 0 < found <= LONGEST:
        raise Refusal(422, f"expires lies between 1s and {LONGEST}.")
    return found
