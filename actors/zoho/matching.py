"""Compares the source's documents with the local rows by id, over mapped columns: what is missing, extra, different.

One side is whatever documents say, list rows or details; columns they do not contain are not compared, and columns that
the ERP owns never are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct

from actors.zoho import changes, payload
from actors.zoho.documents import Mapped, Values
from actors.zoho.entities import Entity
from actors.zoho.finding import ABSENT
from tds_runtime.database import Connection
from tds_runtime.records import State

Children = Mapping[str, Mapping[str, Values]]

_CHECKSUM = 2**64
_BESIDE = 10
"""Columns of `compare` and `walk` that stand before the mapped ones."""

_decode_facets = msgspec.json.Decoder(dict[str, str]).decode


class Row(Struct, frozen=True):
    """A local row: its own id, its mapped values, and its child rows by table and key where they were asked for."""

    local_id: str | None
    values: Values
    children: Children = {}


class Look(Struct, frozen=True):
    """What stands here of one record at one moment.

    Attributes:
        row: None where there is no living row.
        state: What is known of its version; None where it was never pulled.
        waiting: Whether a task for it waits or is in flight.
    """

    row: Row | None
    state: State | None
    waiting: bool


class Difference(Struct, frozen=True):
    """One value that the two sides do not agree on; `column` is `table[key].column` inside child rows."""

    column: str
    source: Any
    local: Any


class Side(Struct, frozen=True, kw_only=True):
    """One side's figures: how many records, the sums of their amounts and stock, and a checksum of what is compared."""

    count: int
    sums: Mapping[str, Decimal]
    checksum: str


class Report(Struct, frozen=True, kw_only=True):
    """A finished comparison; `different` holds every difference by record."""

    entity: str
    matched: int
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    different: Mapping[str, tuple[Difference, ...]]
    source: Side
    local: Side

    @property
    def percentage(self) -> float:
        """Matched records out of all that either side has, 0 to 100; two empty sides match."""
        return share(self.matched, self.matched + len(self.missing) + len(self.extra) + len(self.different))


def share(part: int, whole: int) -> float:
    """So many of so many in percent; nothing of nothing is all of it."""
    return 100.0 * part / whole if whole else 100.0


class Comparison:
    """Takes the source's records page by page and holds nothing but ids, sums and what does not match."""

    def __init__(self, entity: Entity) -> None:
        self._entity = entity
        self._seen: set[str] = set()
        self._matched = 0
        self._missing: list[str] = []
        self._extra: list[str] = []
        self._different: dict[str, tuple[Difference, ...]] = {}
        self._source, self._local = Figures(entity), Figures(entity)

    def add(self, documents: Iterable[Mapped], rows: Mapping[str, Row]) -> None:
        """Compare one page with the rows of its ids; a record that comes twice (a moving page) counts once."""
        for mapped in documents:
            if mapped.id not in self._seen:
                self._seen.add(mapped.id)
                self._add(mapped, rows.get(mapped.id))

    def _add(self, mapped: Mapped, row: Row | None) -> None:
        whole = self._entity.shape.completed(mapped, row.values if row else None)
        self._source.add(mapped.id, whole.values)
        if row is None:
            self._missing.append(mapped.id)
            return
        self._local.add(mapped.id, row.values, like=whole.values)
        found = differences(self._entity, mapped, row)
        if found:
            self._different[mapped.id] = found
        else:
            self._matched += 1

    def add_local(self, rows: Mapping[str, Row]) -> None:
        """Look through local rows, once all of the source has been seen, for those it does not have."""
        for record, row in rows.items():
            if record not in self._seen:
                self._extra.append(record)
                self._local.add(record, row.values)

    def report(self) -> Report:
        """The result so far."""
        return Report(
            entity=self._entity.name,
            matched=self._matched,
            missing=tuple(self._missing),
            extra=tuple(self._extra),
            different=dict(self._different),
            source=self._source.side(),
            local=self._local.side(),
        )


class Figures:
    """Count, sums and an order-independent checksum of one side."""

    def __init__(self, entity: Entity) -> None:
        fields = list(enumerate(entity.target.fields))
        self._compared = [place for place, field in fields if field.facet and not field.local]
        self._measures = [(place, field.name) for place, field in fields if field.measure]
        self._count = 0
        self._checksum = 0
        self._sums = dict.fromkeys((name for _, name in self._measures), Decimal(0))

    def add(self, record: str, values: Values, like: Values | None = None) -> None:
        """Count a row; `like` is its counterpart, which says what is compared at all."""
        self._count += 1
        told = values if like is None else like
        compared = [values[place] for place in self._compared if told[place] is not ABSENT]
        self._checksum = (self._checksum + int(payload.fingerprint((record, compared))[:16], 16)) % _CHECKSUM
        for place, name in self._measures:
            if values[place] is not None and told[place] is not ABSENT:
                self._sums[name] += values[place]

    def side(self) -> Side:
        return Side(count=self._count, sums=dict(self._sums), checksum=f"{self._checksum:016x}")


def differences(entity: Entity, mapped: Mapped, row: Row) -> tuple[Difference, ...]:
    """Field by field, what a document says and the row does not."""
    found = [
        Difference(field.name, value, local)
        for field, value, local in zip(entity.target.fields, mapped.values, row.values, strict=True)
        if value is not ABSENT and field.facet and not field.local and value != local
    ]
    for children in entity.target.children:
        if children.table in mapped.children and children.table in row.children:
            theirs, ours = mapped.children[children.table], row.children[children.table]
            for key in sorted(theirs.keys() | ours.keys()):
                found += _child_differences(children.table, key, children.fields, theirs.get(key), ours.get(key))
    return tuple(found)


def _child_differences(
    table: str, key: str, fields: Iterable[Any], theirs: Values | None, ours: Values | None
) -> list[Difference]:
    if theirs is None or ours is None:
        return [Difference(f"{table}[{key}]", theirs and "present", ours and "present")]
    return [
        Difference(f"{table}[{key}].{field.name}", value, local)
        for field, value, local in zip(fields, theirs, ours, strict=True)
        if not field.local and value != local
    ]


# --- reading the local side


async def read(connection: Connection, entity: Entity, ids: Iterable[str], *, children: bool = False) -> dict[str, Row]:
    """The living rows of these records by source id, with their child rows if wanted."""
    wanted = list(ids)
    found = await connection.fetch(entity.target.look, wanted, entity.name)
    below = await _children(connection, entity, [row[0] for row in found]) if children else {}
    return {row[0]: _row(entity, row, below.get(row[0], {})) for row in found}


async def pages(connection: Connection, entity: Entity, size: int = 1000) -> AsyncIterator[dict[str, Row]]:
    """All living rows in the order of their source ids, a page at a time."""
    last = ""
    while rows := await connection.fetch(entity.target.page, last, size, entity.name):
        yield {row[0]: _row(entity, row, {}) for row in rows}
        last = rows[-1][0]


async def look(
    connection: Connection, entity: Entity, ids: Iterable[str], *, children: bool = False
) -> dict[str, Look]:
    """What stands here of these records, all of them in one answer."""
    found = await connection.fetch(entity.target.compare, list(ids), entity.name)
    below = await _children(connection, entity, [row[0] for row in found]) if children else {}
    return {row[0]: _look(entity, row, below.get(row[0], {})) for row in found}


async def walk(connection: Connection, entity: Entity, after: str, size: int) -> dict[str, Look]:
    """The next living rows behind a source id, with their child rows; `waiting` is not looked up."""
    found = await connection.fetch(entity.target.walk, after, size, entity.name)
    below = await _children(connection, entity, [row[0] for row in found])
    return {row[0]: _look(entity, row, below.get(row[0], {})) for row in found}


def _look(entity: Entity, row: Any, children: Children) -> Look:
    _, local_id, living, waiting, known, variant, modified_at, observed_at, tombstoned_at, facets = tuple(row)[:_BESIDE]
    state = State(
        variant=variant,
        modified_at=modified_at,
        observed_at=observed_at,
        tombstoned_at=tombstoned_at,
        facets=_decode_facets(facets),
    ) if known else None  # fmt: skip
    if not living:
        return Look(None, state, waiting)
    return Look(
        Row(local_id, changes.stored_values(entity.target.fields, tuple(row)[_BESIDE:]), children), state, waiting
    )


async def _children(connection: Connection, entity: Entity, ids: list[str]) -> dict[str, dict[str, dict[str, Values]]]:
    tables = [children.table for children in entity.target.children]
    found: dict[str, dict[str, dict[str, Values]]] = {record: {table: {} for table in tables} for record in ids}
    for children in entity.target.children:
        for row in await connection.fetch(children.read, ids):
            found[row[0]][children.table][row[1]] = changes.stored_values(children.fields, tuple(row)[2:])
    return found


def _row(entity: Entity, row: Any, children: Children) -> Row:
    return Row(row[1], changes.stored_values(entity.target.fields, tuple(row)[2:]), children)


async def totals(connection: Connection, entity: Entity) -> Side:
    """Count and sums of the living rows, by the database; its checksum is left empty."""
    row = await connection.fetchrow(entity.target.totals, entity.name)
    assert row is not None, "an aggregate has one row"
    count, *sums = row
    names = [field.name for field in entity.target.fields if field.measure]
    return Side(count=count, sums={name: one or Decimal(0) for name, one in zip(names, sums, strict=True)}, checksum="")
