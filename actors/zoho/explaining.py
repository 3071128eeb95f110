"""Says what a mapping was compiled to: how each column is read, what is sent to Postgres, what does not fit there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from actors.zoho import tables
from actors.zoho.entities import Entity
from actors.zoho.fitness import Misfit
from actors.zoho.mapping import Child, Column
from tds_runtime import document, sql
from tds_runtime.document import Document, Where
from tds_runtime.errors import Problem

_DOCUMENTS = {"list": "all", "detail": "details, webhooks", "row": "list rows"}


def columns(entity: Entity) -> list[dict[str, Any]]:
    """How each column of each table is read, one row a column: from where, and what is done to it, in order."""
    shape, target = entity.mapping, entity.mapping.target
    rows = [_identity(target.table, target.id_column, shape.record.id, _DOCUMENTS["list"])]
    rows += [_read(target.table, name, column, _DOCUMENTS[column.facet]) for name, column in shape.columns.items()]
    for child in shape.children:
        rows += _of_child(child)
    return rows


def _of_child(child: Child) -> Iterator[dict[str, Any]]:
    where = f"{_joined(child.path)}[]" + (f".{child.expand}[]" if child.expand else "")
    documents = _DOCUMENTS[child.facet]
    yield _identity(child.table, child.key_column, [f"{where}.{key}" for key in _listed(child.key)] or where, documents)
    for name, column in child.columns.items():
        inside = [key if key.startswith("@") else f"{where}.{key}" for key in _listed(column.path)]
        yield {**_read(child.table, name, column, documents), "path": _joined(inside)}


def _identity(table: str, name: str, path: Any, documents: str) -> dict[str, Any]:
    row = _read(table, name, Column(path=path, required=True), documents)
    return {**row, "steps": "text, the source's id"}


def _read(table: str, name: str, column: Column, documents: str) -> dict[str, Any]:
    return {
        "table": table,
        "column": name,
        "path": _joined(column.path),
        "steps": ", ".join(_steps(column)),
        "documents": documents,
        "required": column.required,
        "owner": column.owner,
    }


def _steps(column: Column) -> Iterator[str]:
    """What is done to a value that is there, in the order in which it is done."""
    yield from column.transform
    yield f"is {' or '.join(_listed(column.equals))}" if column.equals is not None else column.type
    if column.scale is not None:
        yield f"rounded to {column.scale} places"
    if column.range is not None:
        yield f"{column.range[0]:g} to {column.range[1]:g}"
    if column.max_length is not None:
        yield f"at most {column.max_length} characters"
    if column.default is not None:
        yield f"else {column.default!r}"
    if column.references:
        yield f"id of {column.references}"


def _listed(paths: str | list[str]) -> list[str]:
    return [paths] if isinstance(paths, str) else list(paths)


def _joined(paths: str | list[str]) -> str:
    return " | ".join(_listed(paths))


def statements(entity: Entity) -> dict[str, str]:
    """Every statement that the mapping was compiled to, by what it does."""
    target = entity.target
    names = ["read", "upsert", *({entity.on_delete} - {"keep"}), "look", "page", "totals"]
    found = {f"{name} {target.table}": getattr(target, name) for name in names}
    for child in target.children:
        found |= {f"{name} {child.table}": getattr(child, name) for name in ("read", "upsert", "remove", "clear")}
    return found


# --- what does not fit


async def wrong(connection: Any, entity: Entity) -> list[str | Problem]:
    """Why its tables cannot be written as they are, each column with its place in the mapping's file."""
    faults = await tables.faults(connection, entity.tables)
    source = document.read(entity.path)
    return [*faults, *(_placed(entity, one, source) for one in await tables.misfits(connection, entity.tables))]


def _placed(entity: Entity, one: Misfit, source: Document) -> Problem:
    where = _where(entity, one)
    return source.problem(where, str(one), key=where[-1] == one.column)


def _where(entity: Entity, one: Misfit) -> Where:
    """Where the mapping speaks of a column; for one that it does not speak of, where it names the table."""
    if one.table == entity.mapping.target.table:
        return _within((), one.column, entity.mapping.columns, ("target", "table"))
    index, child = next(pair for pair in enumerate(entity.mapping.children) if pair[1].table == one.table)
    return _within(("children", index), one.column, child.columns, ("children", index, "table"))


def _within(where: Where, column: str, shapes: Mapping[str, Column], otherwise: Where) -> Where:
    return (*where, "columns", column) if column in shapes else otherwise


async def drift(connection: Any, entity: str) -> list[dict[str, Any]]:
    """The keys of the source that no mapping knows, the most frequent first."""
    return [dict(row.items()) for row in await connection.fetch(sql.load("drift/read", package="actors"), entity)]
