"""What an endpoint is, and the few things that all of them do: read a body, read a number, answer with JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, Struct
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from actors.api.authentication import Caller, Role
from tds_runtime import decoding
from tds_runtime.gate import BODY
from tds_runtime.problem import Refusal
from tds_runtime.values import Duration

T = TypeVar("T")

LONGEST_PAGE = 1000
LARGEST_ID = 2**63 - 1

Id = Annotated[int, Meta(ge=1, le=LARGEST_ID)]
Limit = Annotated[int, Meta(ge=1, le=LONGEST_PAGE)]
Reason = Annotated[str, Meta(max_length=500)]
Said = Annotated[str, Meta(min_length=1, max_length=500)]
"""A reason that has to be given."""

Handler = Callable[[Request, Caller], Awaitable[Response]]


def _plain(value: object) -> str:
    """What JSON has no type for: lengths of time as they are written in a configuration."""
    if isinstance(value, Duration):
        return str(value)
    raise NotImplementedError(type(value).__name__)  # what msgspec asks of a hook, and turns into its own error


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


class Because(Struct, frozen=True, forbid_unknown_fields=True):
    """Why."""

    reason: Reason = "by hand"


class Description(Struct, frozen=True, kw_only=True):
    """What `/openapi.json` says of a route.

    Attributes:
        body: the type that decodes the body; an empty body is `{}`.
        query: the type that decodes the query, one field a parameter.
        result: the type of the answer; several where the caller decides how much is shown. None is any JSON.
        status: of an answer that is no refusal.
        also: types of the answer under other statuses that are no refusals, such as 202 for what goes on.
        refuses: statuses of refusals beside those that every route of its kind has.
        media_type: of the answer.
    """

    method: str
    path: str
    role: Role
    summary: str
    body: type[Struct] | None = None
    query: type[Struct] | None = None
    result: Any = None
    status: int = 200
    also: Mapping[int, Any] = {}
    refuses: tuple[int, ...] = ()
    media_type: str = "application/json"


class Endpoint(Description, frozen=True, kw_only=True):
    """One line of the route table."""

    handler: Handler


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


def parameters(request: Request, kind: type[T]) -> T:
    """The query as a `kind`; an empty parameter is as good as none. `Refusal` 422 that names what is wrong."""
    given = {name: value for name, value in request.query_params.items() if value}
    for name, value in given.items():
        if not value.isprintable():
            raise Refusal(422, f"{name} has characters that no value here has.")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Refusal(422, "The query does not say what it should.", errors=(_of_parameter(error, kind),)) from error


def path_id(request: Request, name: str = "id") -> int:
    """The number in the path; 0 for one that no row can have."""
    found: int = request.path_params[name]
    return found if found <= LARGEST_ID else 0


def _of_parameter(error: msgspec.ValidationError, kind: Any) -> str:
    """The decoder's sentence, with the parameter's name before it and what it may be behind it."""
    sentence, _, name = str(error).removesuffix("`").partition(" - at `$.")
    if not name:
        return sentence
    choices = _choices(decoding.field_type(kind, (name,)))
    known = f"; one of {', '.join(choices)}" if choices else ""
    return f"{name}: {sentence[:1].lower()}{sentence[1:]}{known}"


def _choices(shape: Any) -> tuple[str, ...]:
    """What a parameter of fixed words may be."""
    if get_origin(shape) is Literal:
        return get_args(shape)
    return next((found for inner in get_args(shape) if (found := _choices(inner))), ())
