"""Compiles a target into SQL: every statement that an entity needs, written once at start.

Identifiers come from a file that a person wrote, so they are checked against a pattern and always quoted; the rest of
the statements stands in actors/sql/target.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from msgspec import Struct

from actors.zoho import mapping
from actors.zoho.mapping import Type
from actors.zoho.rows import RowText, row_text
from tds_runtime import sql

LONGEST_NAME = 63
"""Postgres cuts longer identifiers, in bytes, silently."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
STORED: Mapping[Type, str] = {
    "text": "text",
    "integer": "bigint",
    "numeric": "numeric",
    "boolean": "boolean",
    "date": "date",
    "timestamptz": "timestamptz",
    "jsonb": "jsonb",
}
"""What a column of each type is in a table."""

_READ: Mapping[Type, str] = {**STORED, "jsonb": "text"}


class Field(Struct, frozen=True, kw_only=True):
    """One compiled column.

    Attributes:
        facet: The facet it belongs to; empty for the column that keeps unknown keys, which belongs to none.
        local: Whether it is the ERP's own once the row exists.
        longest, scale, range: What the mapping lets through; None where it sets no end.
    """

    name: str
    type: Type
    facet: str = "list"
    local: bool = False
    required: bool = False
    default: object = None
    references: str = ""
    measure: bool = False
    longest: int | None = None
    scale: int | None = None
    range: tuple[float, float] | None = None

    @property
    def quoted(self) -> str:
        return quote(self.name)


class Children(Struct, frozen=True, kw_only=True):
    """A compiled child table: its name is its facet's name; `names` are the columns as `upsert` takes them.

    `text` writes a row as `upsert` takes it, parent and key first.
    """

    table: str
    names: tuple[str, ...]
    fields: tuple[Field, ...]
    text: RowText
    read: str
    upsert: str
    remove: str
    clear: str
    orphans: str


class Target(Struct, frozen=True, kw_only=True):
    """A compiled target table with its statements; `names` are the columns as `upsert` takes them.

    `text` writes the values of a row, without its id, as `upsert` and the audit trail take them.
    """

    table: str
    id_column: str
    names: tuple[str, ...]
    fields: tuple[Field, ...]
    text: RowText
    children: tuple[Children, ...]
    on_delete: Literal["deactivate", "delete", "keep"]
    active: str
    adopt: bool
    read: str
    upsert: str
    delete: str
    deactivate: str
    look: str
    page: str
    compare: str
    walk: str
    totals: str


# --- identifiers


def fault(name: str) -> str:
    """Why this cannot be an identifier; empty when it can."""
    if not _NAME.fullmatch(name):
        return "is no identifier (letters, digits and _, not a digit first)"
    if len(name.encode()) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} bytes; Postgres would cut it to {name[:LONGEST_NAME]}"
    return ""


def quote(name: str) -> str:
    """A checked identifier in double quotes; with a dot, schema and name each."""
    parts = name.split(".")
    for part in parts:
        if reason := fault(part):
            raise ValueError(f"{part} {reason}")
    return ".".join(f'"{part}"' for part in parts)


# --- statements


def compiled(shape: mapping.Target, fields: Sequence[Field], children: Sequence[Children]) -> Target:
    """Fill the statements of a target in."""
    texts = {"table": quote(shape.table), "id": quote(shape.id_column), "local": _local("t", shape.local_id)}
    columns = {"columns": _listed(f"t.{f.quoted}::{_READ[f.type]} AS {f.quoted}" for f in fields)}
    touched = f", {quote(shape.touched)} = now()" if shape.touched else ""
    sums = _listed(f"sum(t.{f.quoted}) AS {f.quoted}" for f in fields if f.measure)
    return Target(
        table=shape.table,
        id_column=shape.id_column,
        names=(shape.id_column, *(field.name for field in fields)),
        fields=tuple(fields),
        text=_row_text([], fields),
        children=tuple(children),
        on_delete=shape.on_delete,
        active=shape.active,
        adopt=shape.adopt,
        read=_text("read", **texts, **columns),
        upsert=_upsert(shape, fields),
        delete=_text("delete", **texts),
        deactivate=_text("deactivate", **texts, active=quote(shape.active), touched=touched) if shape.active else "",
        look=_text("look", **texts, **columns),
        page=_text("page", **texts, **columns),
        compare=_text("compare", **texts, **columns),
        walk=_text("walk", **texts, **columns),
        totals=_text("totals", **texts, sums=sums),
    )


def _upsert(shape: mapping.Target, fields: Sequence[Field]) -> str:
    identity = Field(name=shape.id_column, type="text")
    owned = [field for field in fields if not field.local]
    returned = {shape.id_column, shape.local_id} - {""} | {field.name for field in fields}
    return _text(
        "upsert",
        table=quote(shape.table),
        id=quote(shape.id_column),
        local=_local("w", shape.local_id),
        casts=", ".join(f"i.{f.quoted}::{STORED[f.type]} AS {f.quoted}" for f in (identity, *fields)),
        elements=", ".join(f"json_array_elements_text(${place}::json)" for place in range(1, len(fields) + 2)),
        names=_names([identity, *fields]),
        values=_values([identity, *fields]),
        touched=f", {quote(shape.touched)}" if shape.touched else "",
        now=", now()" if shape.touched else "",
        assignments=_assignments(owned, shape.touched)
        or f"{quote(shape.id_column)} = excluded.{quote(shape.id_column)}",
        returned=", ".join(f"t.{quote(name)}" for name in sorted(returned)),
        faithful=_faithful(owned),
        exact=_exact(shape.table, [identity, *fields]),
    )


def _exact(table: str, fields: Sequence[Field]) -> str:
    names: dict[str, list[str]] = {}
    for field in fields:
        names.setdefault(STORED[field.type], []).append(field.name)
    types = [
        f"a.atttypid = '{kind}'::regtype AND a.attname = ANY ('{{{','.join(some)}}}')" for kind, some in names.items()
    ]
    return _text("exact", table=quote(table), types=" OR ".join(types), count=str(len(fields)))


def compiled_children(parent: mapping.Target, shape: mapping.Child, fields: Sequence[Field]) -> Children:
    """Fill the statements of a child table in; `fields` without the key."""
    local = shape.parent == "local"
    table, id_column = quote(parent.table), quote(parent.id_column)
    link, owner = quote(shape.parent_column), f"p.{id_column}" if local else f"c.{quote(shape.parent_column)}"
    joined = f" JOIN {table} AS p ON p.{quote(parent.local_id)} = c.{link}" if local else ""
    matched = f" AND p.{quote(parent.local_id)} = c.{link}" if local else ""
    key = Field(name=shape.key_column, type="text")
    texts = {"table": quote(shape.table), "key": key.quoted}
    return Children(
        table=shape.table,
        names=(shape.parent_column, shape.key_column, *(field.name for field in fields)),
        fields=tuple(fields),
        text=_row_text([shape.parent_column, shape.key_column], fields),
        read=_text(
            "read_children",
            **texts,
            owner=owner,
            join=joined,
            columns=_listed(f"c.{f.quoted}::{_READ[f.type]} AS {f.quoted}" for f in fields),
        ),
        upsert=_text(
            "upsert_children",
            **texts,
            parent=link,
            names=_names([key, *fields]),
            values=_values([key, *fields]),
            definitions=_definitions([Field(name=shape.parent_column, type="text"), key, *fields]),
            owner=f"p.{quote(parent.local_id)}" if local else f"i.{link}",
            join=f"\nJOIN {table} AS p ON p.{id_column} = i.{link}" if local else "",
            assignments=_assignments([f for f in fields if not f.local], "") or _assignments([key], ""),
        ),
        remove=_text("remove_children", **texts, owner=owner, also=f", {table} AS p" if local else "", join=matched),
        clear=_text(
            "clear_children", **texts, owner=owner, using=f" USING {table} AS p" if local else "", join=matched
        ),
        orphans=_text(
            "orphans",
            **texts,
            parent=link,
            parent_table=table,
            parent_key=quote(parent.local_id if local else parent.id_column),
        ),
    )


def _row_text(keys: Sequence[str], fields: Sequence[Field]) -> RowText:
    return row_text([*keys, *(f.name for f in fields)], {f.name for f in fields if f.type == "jsonb"})


def _text(name: str, **parts: str) -> str:
    return sql.load(f"target/{name}", package="actors").format(placeholders="Names in braces", **parts)


def _local(alias: str, name: str) -> str:
    return f"{alias}.{quote(name)}::text" if name else "NULL::text"


def _listed(parts: Iterable[str]) -> str:
    return "".join(f", {part}" for part in parts)


def _names(fields: Iterable[Field]) -> str:
    return ", ".join(field.quoted for field in fields)


def _definitions(fields: Iterable[Field]) -> str:
    return ", ".join(f"{field.quoted} {STORED[field.type]}" for field in fields)


def _values(fields: Iterable[Field]) -> str:
    return ", ".join(f"i.{field.quoted}" for field in fields)


def _assignments(fields: Iterable[Field], touched: str) -> str:
    names = [field.quoted for field in fields] + ([quote(touched)] if touched else [])
    return ", ".join(f"{name} = excluded.{name}" for name in names)


def _faithful(fields: Sequence[Field]) -> str:
    if not fields:
        return "true"
    written = ", ".join(f"w.{field.quoted}::{STORED[field.type]}" for field in fields)
    given = _values(fields)
    return f"ROW ({written}) IS NOT DISTINCT FROM ROW ({given})"
