"""What a client is told when it gets no: `application/problem+json` (RFC 9457), without internals."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from tds_runtime.errors import Outage

MEDIA_TYPE = "application/problem+json"

_encode = msgspec.json.Encoder().encode


class Body(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document of a refusal; `type` is `about:blank`, so `title` is the status phrase."""

    title: str
    status: int
    detail: str = ""
    errors: tuple[str, ...] = ()


class Refusal(HTTPException):
    """Raised by an endpoint to answer with a status, a sentence for the client and perhaps a list of what is wrong."""

    def __init__(
        self, status: int, detail: str, *, errors: tuple[str, ...] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, headers)
        self.errors = errors


def document(status: int, detail: str = "", errors: tuple[str, ...] = ()) -> bytes:
    """The JSON text of one refusal."""
    return _encode(Body(title=HTTPStatus(status).phrase, status=status, detail=detail, errors=errors))


def response(
    status: int, detail: str = "", *, errors: tuple[str, ...] = (), headers: Mapping[str, str] | None = None
) -> Response:
    """The same as an answer of Starlette."""
    return Response(document(status, detail, errors), status, dict(headers or {}), MEDIA_TYPE)


async def on_http_exception(_request: Request, error: Exception) -> Response:
    """Answer what an endpoint or the router refused (404, 405, `Refusal`)."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    detail = "" if error.detail == phrase else error.detail
    return response(error.status_code, detail, errors=getattr(error, "errors", ()), headers=error.headers)


async def on_outage(_request: Request, error: Exception) -> Response:
    """Something outside is away: 503, and when to try again; the class says what, its message stays inside."""
    kind = type(error).__doc__ or ""
    return response(503, kind.strip().splitlines()[0], headers={"Retry-After": "2"})


async def on_failure(_request: Request, _error: Exception) -> Response:
    """A defect: the trace goes to the log, the client learns only that it was not its fault."""
    return response(500, "The server failed to answer this request.")


def handlers() -> dict[int | type[Exception], ExceptionHandler]:
    """What a Starlette application takes as `exception_handlers` to answer every failure as a problem."""
    return {HTTPException: on_http_exception, Outage: on_outage, Exception: on_failure}
