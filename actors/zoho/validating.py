"""Looks through the local tables alone: rows that point nowhere, values that stand twice, what no mapping writes.

Each look is bounded: it reads so many rows and says where the next one goes on.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from actors.zoho.demands import Table, broken, living, orphaned, references, tables_of, unfit
from actors.zoho.entities import Entities, Entity
from actors.zoho.target import quote
from tds_runtime import sql
from tds_runtime.database import Connection, Database
from tds_runtime.errors import Error

Kind: TypeAlias = Literal["integrity", "orphans", "duplicates"]
KINDS: tuple[Kind, ...] = ("integrity", "orphans", "duplicates")

ROWS = 5000
"""Rows that one statement reads."""

MOST_ROWS = 50_000
"""Rows that one look reads, over all its statements."""

BUSINESS_KEYS = ("sku", "name")
"""Columns whose values should be of one record, whatever their case."""


class WrongPosition(Error):
    """The position does not come from an earlier look."""


class Problem(Struct, frozen=True, kw_only=True):
    """One row, or one value of several rows, that is not as the mapping demands.

    Attributes:
        record: The source's id; empty for what is wrong with the table itself.
        part: The key of a child row.
        records: All that share a value, up to twenty.
    """

    entity: str
    table: str
    record: str
    part: str = ""
    problems: tuple[str, ...]
    records: tuple[str, ...] = ()


class Page(Struct, frozen=True, kw_only=True):
    """What a look found; `next` is the position behind it, None when all has been looked at."""

    items: tuple[Problem, ...]
    next: str | None
    examined: int


class Place(Struct, frozen=True, array_like=True):
    """Where a look goes on: which check, behind which keys."""

    check: int = 0
    after: tuple[str, str] | None = None


class Check(Struct, frozen=True, kw_only=True):
    """One thing to look for in one table; `column` is of duplicates only."""

    kind: Kind
    table: Table
    column: str = ""


def checks(entities: Iterable[Entity], kind: Kind) -> list[Check]:
    """Everything of a kind that can be looked for, in a fixed order."""
    found = [check for entity in entities for table in tables_of(entity) for check in _checks(table, kind)]
    return sorted(found, key=lambda check: (check.table.entity.name, check.table.child is not None))


def _checks(table: Table, kind: Kind) -> Iterator[Check]:
    if kind == "integrity" or (kind == "orphans" and (table.child or references(table))):
        yield Check(kind=kind, table=table)
    if kind == "duplicates" and table.child is None:
        keys = [name for name in BUSINESS_KEYS if name in table.columns and table.columns[name].type == "text"]
        for column in (table.id, *keys):
            yield Check(kind=kind, table=table, column=column)


# --- looking


async def look(
    database: Database, entities: Entities, kind: Kind, *, entity: str = "", position: str = "", limit: int = 100
) -> Page:
    """The next problems of a kind behind a position, up to a limit; of one entity where one is named.

    Raises:
        WrongPosition: The position is not one that an earlier look gave.
    """
    wanted = checks([entities[entity]] if entity else entities, kind)
    place, found, examined = _place(position, len(wanted)), list[Problem](), 0
    async with database.connection() as connection:
        while place.check < len(wanted) and len(found) < limit and examined < MOST_ROWS:
            check = wanted[place.check]
            inspector = _Inspector(connection, entities, check)
            problems, read, after = await inspector.look(place.after, limit - len(found))
            found += problems
            examined += read
            place = Place(place.check + 1) if after is None else Place(place.check, after)
    done = place.check >= len(wanted)
    return Page(items=tuple(found), next=None if done else _position(place), examined=examined)


def _place(position: str, most: int) -> Place:
    if not position:
        return Place()
    try:
        place = msgspec.json.decode(base64.urlsafe_b64decode(position.encode()), type=Place)
    except (ValueError, msgspec.MsgspecError) as error:
        raise WrongPosition from error
    if not 0 <= place.check <= most or (place.after and "\0" in "".join(place.after)):
        raise WrongPosition
    return place


def _position(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


class _Inspector:
    """One statement of one check."""

    def __init__(self, connection: Connection, entities: Entities, check: Check) -> None:
        self._connection = connection
        self._entities = entities
        self._check = check
        self._table = check.table

    async def look(
        self, after: tuple[str, str] | None, limit: int
    ) -> tuple[list[Problem], int, tuple[str, str] | None]:
        """Problems, how many rows were read, and where to go on; None when the check is through."""
        types = await self._types()
        if self._check.kind == "duplicates":
            return await self._duplicates(types, after, limit)
        odd = unfit(self._table, types) if after is None and self._check.kind == "integrity" else []
        found = [self._problem("", "", odd)] if odd else []
        conditions = self._conditions(types)
        if not conditions or not self._keys() <= types.keys():
            return found, 0, None
        rows = await self._rows(conditions, after or self._table.first)
        wrong = [row for row in rows if row["problems"]]
        found += [self._problem(row["record"], row["part"], row["problems"]) for row in wrong[:limit]]
        last = wrong[limit - 1] if len(wrong) > limit else rows[-1] if rows else None
        if last is None or (last is rows[-1] and last["place"] < ROWS):
            return found, last["place"] if last else 0, None
        return found, last["place"], (last["record"], last["part"])

    async def _types(self) -> dict[str, str]:
        row = await self._connection.fetchrow(sql.load("target/inspect", package="actors"), quote(self._table.name))
        return {} if row is None else dict(zip(row["columns"], row["types"], strict=True))

    def _keys(self) -> set[str]:
        return {self._table.id} | ({self._table.child.key_column} if self._table.child else set())

    def _problem(self, record: str, part: str, problems: Iterable[str]) -> Problem:
        return Problem(
            entity=self._table.entity.name, table=self._table.name, record=record, part=part, problems=tuple(problems)
        )

    async def _rows(self, conditions: Sequence[str], after: tuple[str, str]) -> Sequence[Any]:
        table, id_column = self._table, f"t.{quote(self._table.id)}"
        key = f"t.{quote(table.child.key_column)}" if table.child else "''"
        cast = "text::bigint" if table.is_local else "text"
        behind = f"({id_column}, {key}) > ($1::{cast}, $2::text)" if table.child else living(table, id_column)
        text = sql.load("validation/page", package="actors").format(
            placeholders="Names in braces",
            record=id_column,
            part=key,
            keys=f"{id_column}, {key}" if table.child else id_column,
            problems=", ".join(conditions),
            table=quote(table.name),
            behind=behind,
        )
        return await self._connection.fetch(text, *after, ROWS)

    def _conditions(self, types: Mapping[str, str]) -> list[str]:
        if self._check.kind == "orphans":
            return list(orphaned(self._table, self._entities, types))
        return list(broken(self._table, types))

    async def _duplicates(
        self, types: Mapping[str, str], after: tuple[str, str] | None, limit: int
    ) -> tuple[list[Problem], int, tuple[str, str] | None]:
        table, column = self._table, self._check.column
        if not {table.id, column} <= types.keys():
            return [], 0, None
        text = sql.load("validation/duplicates", package="actors").format(
            column=quote(column), id=quote(table.id), table=quote(table.name)
        )
        last = after[0] if after else ""
        rows = await self._connection.fetch(text, last, limit, table.entity.name)
        found = [
            Problem(
                entity=table.entity.name,
                table=table.name,
                record=row["records"][0],
                problems=(f"{column}: {row['rows']} records have {row['value'][:100]!r}",),
                records=tuple(row["records"]),
            )
            for row in rows
        ]
        return found, sum(row["rows"] for row in rows), (rows[-1]["value"], "") if len(rows) == limit else None
