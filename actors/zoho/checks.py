"""Finds what is wrong with mappings beyond their types, so that `check` names every fault before anything runs."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from actors.zoho import columns, target
from actors.zoho.columns import Unfit
from actors.zoho.documents import FACETS
from actors.zoho.mapping import Child, Column, Source
from actors.zoho.mapping import Mapping as EntityMapping
from actors.zoho.payload import Malformed
from tds_runtime.document import Document, Where
from tds_runtime.errors import Problem

_ENTITY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_RANGED = frozenset({"integer", "numeric"})


def of_file(name: str, found: EntityMapping, document: Document) -> Iterator[Problem]:
    """Every problem that one file has by itself."""
    if not _ENTITY.fullmatch(name):
        yield document.problem((), f"the file's name is the entity's; {name} is none (lower case, digits and _)")
    yield from _of_sources(found, document)
    yield from _of_webhook(found, document)
    yield from _of_target(found, document)
    yield from _of_columns(("columns",), found.columns, document)
    yield from _rows_never_written(found, document)
    for index, child in enumerate(found.children):
        yield from _of_child(("children", index), child, document)
        if child.parent == "local" and not found.target.local_id:
            yield document.problem(("children", index, "parent"), "the target has no local_id to refer to")
        if child.table in found.columns:
            yield document.problem(("children", index, "table"), f"{child.table} is the name of a column as well")


def _of_sources(found: EntityMapping, document: Document) -> Iterator[Problem]:
    names = Counter(source.name for source in found.source)
    for index, source in enumerate(found.source):
        where = ("source", index)
        if names[source.name] > 1 or (not source.name and len(names) > 1):
            yield document.problem((*where, "name"), "several sources need a name each, all different")
        yield from _of_source(where, source, document)


def _rows_never_written(found: EntityMapping, document: Document) -> Iterator[Problem]:
    if any(source.details == "changed" for source in found.source):
        for name, column in found.columns.items():
            if column.facet == "row":
                message = "list rows are not written where details are called; this column would stay empty"
                yield document.problem(("columns", name, "facet"), message)


def _of_source(where: Where, source: Source, document: Document) -> Iterator[Problem]:
    for field, path in (("list", source.list), ("detail", source.detail), ("bulk", source.bulk)):
        if path and not path.startswith("/"):
            yield document.problem((*where, field), "a path begins with /")
    if source.detail and ("{id}" not in source.detail or not source.detail_key):
        yield document.problem((*where, "detail"), "a detail path has {id} in it and a detail_key beside it")
    if source.bulk and not (source.bulk_key and source.bulk_parameter):
        yield document.problem((*where, "bulk"), "a bulk path needs bulk_key and bulk_parameter beside it")
    if source.details == "changed" and not source.detail:
        yield document.problem((*where, "details"), "there is no detail path to call")
    if source.modified == "sort" and not source.sort:
        yield document.problem((*where, "modified"), "sorting needs the parameters in sort = {}")


def _of_webhook(found: EntityMapping, document: Document) -> Iterator[Problem]:
    if found.webhook is None:
        return
    names = {source.name for source in found.source}
    for key, variant in found.webhook.keys.items():
        if variant not in names:
            yield document.problem(("webhook", "keys", key), f"there is no source named {variant!r}")


def _of_target(found: EntityMapping, document: Document) -> Iterator[Problem]:
    shape = found.target
    yield from _of_table(("target", "table"), shape.table, document)
    own = {name: getattr(shape, name) for name in ("id_column", "local_id", "touched", "unknown")}
    places: list[tuple[Where, str]] = [(("target", key), name) for key, name in own.items() if name]
    yield from _of_names([*places, *_column_places((), found.columns)], document)
    if shape.on_delete == "deactivate" and not shape.active:
        yield document.problem(("target", "on_delete"), "deactivate needs the name of a boolean column in active")
    if shape.active:
        column = found.columns.get(shape.active)
        if column is None or (column.type != "boolean" and column.equals is None) or column.owner != "source":
            yield document.problem(
                ("target", "active"), "is not a mapped boolean column", hint=_near(shape.active, found)
            )


def _near(name: str, found: EntityMapping) -> str:
    close = difflib.get_close_matches(name, found.columns, n=1)
    return f"did you mean {close[0]}?" if close else ""


def _of_table(where: Where, name: str, document: Document) -> Iterator[Problem]:
    parts = name.split(".")
    for reason in filter(None, map(target.fault, parts if len(parts) <= 2 else [name])):  # noqa: PLR2004 - schema.table
        yield document.problem(where, f"{name} {reason}")


def _column_places(where: Where, shapes: Iterable[str]) -> list[tuple[Where, str]]:
    return [((*where, "columns", name), name) for name in shapes]


def _of_names(places: Sequence[tuple[Where, str]], document: Document) -> Iterator[Problem]:
    """Identifiers that are none, and pairs that Postgres would take for one."""
    cut = Counter(_cut(name) for _, name in places)
    for place, name in places:
        is_key = place[-2] == "columns"  # a column is named by its key, the others by their values
        if reason := target.fault(name):
            yield document.problem(place, f"{name} {reason}", key=is_key)
        if cut[_cut(name)] > 1:
            same = [other for _, other in places if _cut(other) == _cut(name) and other != name]
            reason = f"is the same name as {same[0]} after 63 bytes" if same else "is named twice in one table"
            yield document.problem(place, f"{name} {reason}", key=is_key)


def _cut(name: str) -> bytes:
    return name.encode()[: target.LONGEST_NAME]


def _of_columns(where: Where, shapes: Mapping[str, Column], document: Document) -> Iterator[Problem]:
    for name, column in shapes.items():
        for option, message in _of_column(column):
            yield document.problem((*where, name, option), message)


def _of_column(column: Column) -> Iterator[tuple[str, str]]:
    if column.required and column.facet != "list":
        yield "required", "a required column stands in every kind of document (facet list)"
    if column.range and column.type not in _RANGED:
        yield "range", f"a {column.type} has no range"
    if column.range and column.range[0] > column.range[1]:
        yield "range", "the least comes first"
    if column.max_length and column.type != "text":
        yield "max_length", f"a {column.type} has no length"
    if column.scale is not None and column.type != "numeric":
        yield "scale", f"a {column.type} has no decimal places"
    if column.measure and column.type not in _RANGED:
        yield "measure", f"a {column.type} has no sum"
    if column.equals is not None and column.type != "boolean":
        yield "equals", "equals makes a boolean"
    try:
        columns.default_of(column)
    except (Unfit, Malformed) as error:
        yield "default", str(error)


def _of_child(where: Where, child: Child, document: Document) -> Iterator[Problem]:
    yield from _of_table((*where, "table"), child.table, document)
    if child.table in FACETS:
        yield document.problem((*where, "table"), f"a child table cannot be called {child.table}")
    own = {name: getattr(child, name) for name in ("parent_column", "key_column", "local_id")}
    places: list[tuple[Where, str]] = [((*where, key), name) for key, name in own.items() if name]
    yield from _of_names([*places, *_column_places(where, child.columns)], document)
    yield from _of_columns((*where, "columns"), child.columns, document)
    for name, column in child.columns.items():
        if column.facet != "list":
            yield document.problem((*where, "columns", name, "facet"), "child rows come whole; they have no facets")


def of_all(found: Mapping[str, tuple[EntityMapping, Document]]) -> Iterator[Problem]:
    """Every problem that files have with each other."""
    yield from _shared_tables(found)
    yield from _shared_segments(found)
    for mapped, document in found.values():
        yield from _references(("columns",), mapped.columns, found, document)
        for index, child in enumerate(mapped.children):
            yield from _references(("children", index, "columns"), child.columns, found, document)


def _references(
    where: Where, shapes: Mapping[str, Column], known: Mapping[str, object], document: Document
) -> Iterator[Problem]:
    for name, column in shapes.items():
        if column.references and column.references not in known:
            close = difflib.get_close_matches(column.references, known, n=1)
            hint = f"did you mean {close[0]}?" if close else ""
            yield document.problem((*where, name, "references"), f"there is no entity {column.references}", hint=hint)


def _shared_tables(found: Mapping[str, tuple[EntityMapping, Document]]) -> Iterator[Problem]:
    places: list[tuple[Document, Where, str]] = [
        (document, ("target", "table"), mapped.target.table) for mapped, document in found.values()
    ]
    for mapped, document in found.values():
        places += [(document, ("children", index, "table"), child.table) for index, child in enumerate(mapped.children)]
    yield from _repeated(places, "is written by another mapping already")


def _shared_segments(found: Mapping[str, tuple[EntityMapping, Document]]) -> Iterator[Problem]:
    places: list[tuple[Document, Where, str]] = []
    for mapped, document in found.values():
        paths = mapped.webhook.paths if mapped.webhook else []
        places += [(document, ("webhook", "paths", index), path) for index, path in enumerate(paths)]
    yield from _repeated(places, "is the webhook path of another mapping already")


def _repeated(places: Iterable[tuple[Document, Where, str]], message: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for document, where, name in places:
        if name in seen:
            yield document.problem(where, f"{name} {message}")
        seen.add(name)
