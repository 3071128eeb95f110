"""The OpenAPI 3.1 document of the route table, made of the very types that decode bodies and queries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from typing import Any

import msgspec
from msgspec import Struct

from actors import webhooks
from actors.api.endpoints import Description
from tds_runtime import config, problem

ID = {"type": "integer", "minimum": 0}
PROBLEM = problem.Body
_REFERENCE = "#/components/schemas/{name}"
_PLACE = re.compile(r"\{(\w+)(?::(\w+))?\}")

REASONS: Mapping[int, str] = {
    400: "The request cannot be read.",
    401: "There is no valid token or signature.",
    403: "The token's role is not enough.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "It is not in a state in which this can be done.",
    413: "The body is too large.",
    422: "What was sent does not say what it should.",
    429: "Too many requests of this client, or too many wrong tokens; `Retry-After` says when to come again.",
    503: "Something is away or too much is asked; `Retry-After` says when to come again.",
}

DELIVERIES: tuple[Description, ...] = tuple(
    Description(
        method=method,
        path=path,
        role="public",
        summary=f"{title} ({method})",
        result=webhooks.Received,
        refuses=(400, 401, 404, 408, 413),
    )
    for path, title in webhooks.PATHS.items()
    for method in webhooks.METHODS
)
"""What is signed instead of decoded: any body is taken once its signature is right."""


def document(table: Iterable[Description]) -> dict[str, Any]:
    """The whole document; JSON, once msgspec has encoded it."""
    routes = (*DELIVERIES, *table)
    schemas = _Schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        operations = paths.setdefault(_PLACE.sub(r"{\1}", route.path), {})
        operations[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "tds-runtime",
            "version": metadata.version("tds-runtime"),
            "description": "Keeps an ERP's Postgres in step with its source.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def refusals(route: Description) -> tuple[int, ...]:
    """The statuses with which a route may refuse, in order."""
    found = {429, 503, *route.refuses}
    if route.role != "public":
        found |= {401, 403}
    if "{" in route.path:
        found |= {404}
    if route.body is not None:
        found |= {400, 408, 413, 422}
    if route.query is not None:
        found |= {422}
    return tuple(sorted(found))


class _Schemas:
    """The types of all routes as JSON Schema, each under one name."""

    def __init__(self, routes: Iterable[Description]) -> None:
        found = {id(kind): kind for route in routes for kind in _types(route)}
        kinds = [PROBLEM, *map(_sayable, found.values())]
        schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
        names = _short(components)
        self.components = {names[name]: _renamed(shape, names) for name, shape in components.items()}
        self._of = {key: _renamed(shape, names) for key, shape in zip((id(PROBLEM), *found), schemas, strict=True)}

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of a type; of several, any of them."""
        if isinstance(kind, tuple):
            return {"anyOf": [self.of(one) for one in kind]}
        return self._of[id(kind)] if kind is not None else {}

    def of_fields(self, kind: type[Struct]) -> Iterator[tuple[str, dict[str, Any], bool]]:
        """Name, schema and whether it is required of each field."""
        shape = self.components[self.of(kind)["$ref"].rpartition("/")[2]]
        for name, schema in shape.get("properties", {}).items():
            yield name, schema, name in shape.get("required", ())


def _sayable(kind: Any) -> Any:
    """The type, or the same in types that a schema can say: a section of the configuration has lengths of time."""
    try:
        msgspec.json.schema_components([kind])
    except TypeError:
        return config.written(kind)
    return kind


def _types(route: Description) -> Iterator[Any]:
    for kind in (route.body, route.query, route.result, *route.also.values()):
        if isinstance(kind, tuple):
            yield from kind
        elif kind is not None:
            yield kind


def _operation(route: Description, schemas: _Schemas) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _identifier(route),
        "summary": route.summary,
        "tags": [_subject(route.path)],
        "parameters": [*_places(route.path), *_parameters(route, schemas)],
        "responses": dict(_responses(route, schemas)),
        "security": [] if route.role == "public" else [{"bearer": []}],
        "x-role": route.role,
    }
    if route.body is not None:
        required = any(field.required for field in msgspec.structs.fields(route.body))
        content = {"application/json": {"schema": schemas.of(route.body)}}
        operation["requestBody"] = {"content": content, "required": required}
    return operation


def _responses(route: Description, schemas: _Schemas) -> Iterator[tuple[str, dict[str, Any]]]:
    good = {route.status: route.result, **route.also}
    bad = refusals(route)
    for status in sorted({*good, *bad}):
        content: dict[str, Any] = {}
        if status in good:
            content[route.media_type] = {"schema": schemas.of(good[status])}
        if status in bad:
            content[problem.MEDIA_TYPE] = {"schema": schemas.of(PROBLEM)}
        yield str(status), {"description": REASONS.get(status, "What was asked for."), "content": content}


def _places(path: str) -> Iterator[dict[str, Any]]:
    """The parameters in a path, written `{name}` or `{name:int}`."""
    for name, kind in _PLACE.findall(path):
        schema = ID if kind == "int" else {"type": "string", "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _parameters(route: Description, schemas: _Schemas) -> Iterator[dict[str, Any]]:
    if route.query is not None:
        for name, schema, required in schemas.of_fields(route.query):
            yield {"name": name, "in": "query", "required": required, "schema": schema}


def _identifier(route: Description) -> str:
    words = re.findall(r"\w+", _PLACE.sub(r"\1", route.path))
    return "_".join((route.method.lower(), *words))


def _subject(path: str) -> str:
    """What a path is about: its first word that is no mere place to stand."""
    words = [word for word in path.strip("/").split("/") if word not in {"api", "bff", "tds"}]
    return words[0].partition(".")[0]


def _short(components: Iterable[str]) -> dict[str, str]:
    """Of names that several types have, with their modules before them, the last part of the module is enough."""
    return {name: ".".join(name.split(".")[-2:]) for name in components}


def _renamed(shape: Any, names: Mapping[str, str]) -> Any:
    """A schema with its references by the new names."""
    if isinstance(shape, dict):
        return {
            key: _reference(value, names) if key == "$ref" else _renamed(value, names) for key, value in shape.items()
        }
    return [_renamed(one, names) for one in shape] if isinstance(shape, list | tuple) else shape


def _reference(pointer: str, names: Mapping[str, str]) -> str:
    name = pointer.rpartition("/")[2]
    return _REFERENCE.format(name=names.get(name, name))
