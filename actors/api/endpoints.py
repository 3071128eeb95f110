"""What an endpoint is, and the few things that all of them do: read a body, read a number, answer with JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from actors.api.authentication import Caller, Role
from tds_runtime.gate import BODY
from tds_runtime.problem import Refusal

T = TypeVar("T")

LONGEST_PAGE = 1000
LARGEST_ID = 2**63 - 1

Handler = Callable[[Request, Caller], Awaitable[Response]]

_encode = msgspec.json.Encoder().encode


class Endpoint(Struct, frozen=True, kw_only=True):
    """One line of the route table.

    `body`, `query` and `result` are the types that decode the body, read the query (one field a parameter) and
    encode the answer; `status` is that of an answer that is no refusal.
    """

    method: str
    path: str
    role: Role
    handler: Handler
    summary: str
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    result: Any = None
    status: int = 200


def answer(value: object, status: int = 200, *, background: BackgroundTask | None = None) -> Response:
    """A JSON answer; `background` runs once it is sent."""
    return Response(_encode(value), status, media_type="application/json", background=background)


def read(request: Request, kind: type[T]) -> T:
    """The JSON body as a `kind`, an empty body as `{}`; `Refusal` 400 or 422 that says what is wrong."""
    body = request.scope[BODY] or b"{}"
    if b"\\u0000" in body:
        raise Refusal(422, "No text here has a NUL character.")
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Refusal(422, "The body does not say what it should.", errors=(str(error),)) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Refusal(400, "The body is not JSON.") from error


def number(request: Request, name: str, default: int, *, most: int = LARGEST_ID) -> int:
    """A whole number from the query, between 1 and `most`."""
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:20]) <= most:
        raise Refusal(422, f"{name} is a number from 1 to {most}.")
    return int(text)


def flag(request: Request, name: str) -> bool:
    """Whether a query parameter says yes."""
    return request.query_params.get(name, "").lower() in {"1", "true", "yes"}


def text(request: Request, name: str) -> str | None:
    """A query parameter that a database can hold; None when it is absent or empty."""
    value = request.query_params.get(name) or None
    if value is not None and not value.isprintable():
        raise Refusal(422, f"{name} has characters that no value here has.")
    return value
