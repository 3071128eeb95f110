"""What the API is, for programs and for people: `/openapi.json`, and the same as a page that needs no script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jinja2
import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from actors.api.authentication import Caller
from actors.api.endpoints import Endpoint

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("actors.api"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
)

LANGUAGE = "text/html"
STYLE = "text/css"


class Shown(Struct, frozen=True, kw_only=True):
    """One route as the page shows it."""

    method: str
    path: str
    anchor: str
    summary: str
    role: str
    parameters: list[dict[str, Any]]
    body: dict[str, Any] | None
    answers: list[tuple[str, str, dict[str, Any] | None]]


def endpoints(document: Callable[[], dict[str, Any]]) -> tuple[Endpoint, ...]:
    """Both, and the page's style; `document` is asked once, when somebody wants to see it."""
    made: dict[str, bytes] = {}

    def once(name: str, make: Callable[[], bytes]) -> bytes:
        return made[name] if name in made else made.setdefault(name, make())

    async def machine(_request: Request, _caller: Caller) -> Response:
        return Response(once("json", lambda: msgspec.json.encode(document())), media_type="application/json")

    async def people(_request: Request, _caller: Caller) -> Response:
        return Response(once("html", lambda: page(document()).encode()), media_type=LANGUAGE)

    async def style(_request: Request, _caller: Caller) -> Response:
        return Response(once("css", lambda: _TEMPLATES.get_template("docs.css").render().encode()), media_type=STYLE)

    return (
        Endpoint(method="GET", path="/openapi.json", role="public", handler=machine, summary="This document"),
        Endpoint(
            method="GET",
            path="/docs",
            role="public",
            handler=people,
            summary="This document, for people",
            media_type=LANGUAGE,
        ),
        Endpoint(
            method="GET",
            path="/docs.css",
            role="public",
            handler=style,
            summary="How the page looks",
            media_type=STYLE,
        ),
    )


def page(document: dict[str, Any]) -> str:
    """The document as HTML, every type of it spelled out once."""
    subjects: dict[str, list[Shown]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            subjects.setdefault(operation["tags"][0], []).append(_shown(method, path, operation))
    return _TEMPLATES.get_template("docs.html").render(
        info=document["info"],
        subjects=sorted(subjects.items()),
        types=sorted(document["components"]["schemas"].items()),
    )


def _shown(method: str, path: str, operation: dict[str, Any]) -> Shown:
    body = operation.get("requestBody")
    return Shown(
        method=method.upper(),
        path=path,
        anchor=operation["operationId"],
        summary=operation["summary"],
        role=operation["x-role"],
        parameters=operation["parameters"],
        body=body["content"]["application/json"]["schema"] if body else None,
        answers=[
            (status, answer["description"], next((one["schema"] for one in answer["content"].values()), None))
            for status, answer in operation["responses"].items()
        ],
    )
