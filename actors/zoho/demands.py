"""What a mapping demands of the rows of its tables, as conditions that a statement can ask of them. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from actors.zoho import mapping
from actors.zoho.entities import Entities, Entity
from actors.zoho.mapping import Column, Type
from actors.zoho.target import quote

_FITTING: Mapping[Type, frozenset[str]] = {
    "text": frozenset({"text", "character varying", "character", "citext"}),
    "integer": frozenset({"bigint", "integer", "smallint", "numeric"}),
    "numeric": frozenset({"numeric"}),
    "boolean": frozenset({"boolean"}),
    "date": frozenset({"date"}),
    "timestamptz": frozenset({"timestamp with time zone"}),
    "jsonb": frozenset({"jsonb", "json"}),
}
_LEAST = str(-(2**63))


class Table(Struct, frozen=True, kw_only=True):
    """A target or child table: how its rows are found, and what each column must be."""

    entity: Entity
    name: str
    id: str
    columns: Mapping[str, Column]
    child: mapping.Child | None = None

    @property
    def is_local(self) -> bool:
        """Whether its rows name their parent by the ERP's own number."""
        return self.child is not None and self.child.parent == "local"

    @property
    def first(self) -> tuple[str, str]:
        """Keys before the first row."""
        return (_LEAST if self.is_local else "", "")


def tables_of(entity: Entity) -> Iterator[Table]:
    """The target table of an entity and its child tables."""
    target = entity.mapping.target
    yield Table(entity=entity, name=target.table, id=target.id_column, columns=entity.mapping.columns)
    for child in entity.mapping.children:
        yield Table(entity=entity, name=child.table, id=child.parent_column, columns=child.columns, child=child)


def references(table: Table) -> dict[str, str]:
    """Column to the entity whose id it holds."""
    return {name: column.references for name, column in table.columns.items() if column.references}


# --- conditions, each NULL where nothing is wrong


def living(table: Table, id_column: str) -> str:
    """The rows of a target table behind an id ($1), without those of deleted records."""
    return (
        f"{id_column} > $1::text AND $2::text IS NOT NULL AND NOT EXISTS (SELECT FROM tds_record_state AS s"
        f" WHERE s.entity_type = '{table.entity.name}' AND s.source_entity_id = {id_column}"
        " AND s.tombstoned_at IS NOT NULL)"
    )


def orphaned(table: Table, entities: Entities, types: Mapping[str, str]) -> Iterator[str]:
    """A child row without its parent, an id of a record that is not here."""
    if table.child:
        target = table.entity.mapping.target
        key = quote(target.local_id if table.is_local else target.id_column)
        yield _when(
            f"NOT EXISTS (SELECT FROM {quote(target.table)} AS p WHERE p.{key} = t.{quote(table.id)})",
            f"{table.id}: has no parent",
        )
    for name, other in references(table).items():
        if other in entities and name in types and table.columns[name].owner == "source":
            target, value = entities[other].mapping.target, f"t.{quote(name)}"
            yield (
                f"CASE WHEN {value} <> '' AND NOT EXISTS (SELECT FROM {quote(target.table)} AS r"
                f" WHERE r.{quote(target.id_column)} = {value})"
                f" THEN '{name}: {other} ' || {value} || ' is not here' END"
            )


def broken(table: Table, types: Mapping[str, str]) -> Iterator[str]:
    """What the mapping would never write; of columns that are there, of their type, and not the ERP's own."""
    for name, column in table.columns.items():
        if column.owner == "source" and name in types and fits(column.type, types[name]):
            yield from _broken(name, column)


def _broken(name: str, column: Column) -> Iterator[str]:
    value = f"t.{quote(name)}"
    if column.required:
        yield _when(f"{value} IS NULL", f"{name}: is required")
    if column.type in {"integer", "numeric"}:
        yield from _broken_number(name, value, column)
    elif column.type == "text":
        yield from _broken_text(name, value, column)


def _broken_number(name: str, value: str, column: Column) -> Iterator[str]:
    if column.type == "numeric":
        yield _when(f"{value}::text IN ('NaN', 'Infinity', '-Infinity')", f"{name}: is no number")
    if column.range is not None:
        least, most = column.range
        yield _when(f"{value} NOT BETWEEN {least!r} AND {most!r}", f"{name}: is not from {least:g} to {most:g}")
    if column.scale is not None:
        yield _when(
            f"{value} <> round({value}, {column.scale})", f"{name}: has more than {column.scale} decimal places"
        )


def _broken_text(name: str, value: str, column: Column) -> Iterator[str]:
    if column.max_length is not None:
        yield _when(f"length({value}) > {column.max_length}", f"{name}: is longer than {column.max_length}")
    if "trim" in column.transform:
        yield _when(f"{value} ~ '^\\s|\\s$'", f"{name}: has spaces around it")
    if "lower" in column.transform:
        yield _when(f"{value} <> lower({value})", f"{name}: has capitals")
    if "empty_to_null" in column.transform:
        yield _when(f"{value} = ''", f"{name}: is empty")


def _when(condition: str, problem: str) -> str:
    return f"CASE WHEN {condition} THEN '{problem}' END"


def fits(kind: Type, stored: str) -> bool:
    """Whether a column of this type of the database can hold what the mapping writes."""
    return stored.partition("(")[0] in _FITTING[kind] or (kind == "timestamptz" and stored.endswith("with time zone"))


def unfit(table: Table, types: Mapping[str, str]) -> list[str]:
    """Columns that are not there, or of another type than the mapping says."""
    if not types:
        return ["the table is not there"]
    return [
        f"{name}: is {types[name]}, the mapping says {column.type}" if name in types else f"{name}: is not there"
        for name, column in table.columns.items()
        if name not in types or not fits(column.type, types[name])
    ]
