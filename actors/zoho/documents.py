"""Maps a document of the source to the values of its row and child rows, with one hash per facet.

A facet is the part of a record that one kind of document contains: `list` stands in all of them, `detail` in details
and webhooks, `row` in list rows only, and each child table is one of its own. Hashes are taken over mapped values, so a
list row, a detail and a webhook of one version agree although they differ as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, Literal

from msgspec import Struct

from actors.zoho import columns, mapping, payload
from actors.zoho.columns import Missing, Read, Unfit
from actors.zoho.finding import ABSENT, finder, unmapped
from actors.zoho.payload import Document, Malformed
from actors.zoho.reading import Reader
from actors.zoho.target import Field
from actors.zoho.walking import Walk, walker
from tds_runtime.errors import Error

Kind = Literal["list", "detail", "webhook"]
Values = tuple[Any, ...]

CONTAINED: Mapping[Kind, tuple[str, ...]] = {
    "list": ("list", "row"),
    "detail": ("list", "detail"),
    "webhook": ("list", "detail", "row"),
}
FACETS = CONTAINED["webhook"]
_ORDERED = "k"
"""Marks hashes of child rows in the order of their keys; older ones are in a document's order, which no table keeps."""
_LONGEST_ID = 100


class Fault(Struct, frozen=True):
    """What is wrong with one value of a document: never the value itself, it may be private."""

    column: str
    reason: str
    missing: bool = False

    def __str__(self) -> str:
        return f"{self.column} {self.reason}"


class RecordInvalid(Error):
    """The document is not a record of its entity."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(str(fault) for fault in self.faults[:10]))

    @property
    def incomplete(self) -> bool:
        """Whether nothing is wrong but that required values are missing: a whole document may have them."""
        return all(fault.missing for fault in self.faults)


class Mapped(Struct, frozen=True, kw_only=True, gc=False):
    """One document, mapped.

    Attributes:
        values: One per column of the target, `ABSENT` where the document says nothing.
        facets: Hash per facet that the document speaks about completely.
        partial: Facets that it speaks about in part (a key is absent); `completed` makes them whole.
        children: Per child table that the document contains: values by key, in document order.
        unknown: Keys that are neither mapped nor listed as ignored.
        gaps: Whether any value is, or may be, `ABSENT`.
    """

    id: str
    variant: str
    modified_at: Any
    values: Values
    facets: Mapping[str, str]
    partial: frozenset[str]
    children: Mapping[str, Mapping[str, Values]]
    unknown: frozenset[str]
    gaps: bool = True


class Shape:
    """The compiled form of one entity's documents."""

    def __init__(self, source: mapping.Mapping, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.read = Reader(source).read
        self._readers = {kind: _readers(source.columns, kind) for kind in CONTAINED}
        self._walks = {kind: _walk(source.columns, kind) for kind in CONTAINED}
        self._gaps = any(column.facet not in CONTAINED["list"] for column in source.columns.values())
        self._facets = {facet: _picker(fields, facet) for facet in FACETS}
        self._children = tuple(_Rows(child) for child in source.children)
        self._id = finder(source.record.id)
        self._modified = finder(source.record.modified or "@none")
        self._unmapped = unmapped(source)
        self._keeps_unknown = bool(source.target.unknown)

    def map(self, document: Document, kind: Kind, variant: str = "") -> Mapped:
        """Map a document; `RecordInvalid` lists every fault of it."""
        document["@variant"] = variant
        unknown = self._unmapped(document)
        try:
            values = self._walks[kind](document)
            children = {
                rows.table: rows.map(document)
                for rows in self._children
                if (kind != "list" or rows.in_list) and rows.present(document)
            }
            found, modified_at = self.identity(document), self.stamp(document)
        except Unfit:
            raise RecordInvalid(self._faults(document, kind)) from None
        if self._keeps_unknown:
            values.append(payload.canonical({key: document[key] for key in unknown}))
        facets, partial = self._hashed(values, kind)
        facets.update(
            (rows.table, rows.hash(children[rows.table])) for rows in self._children if rows.table in children
        )
        return Mapped(
            id=found,
            variant=variant,
            modified_at=modified_at,
            values=tuple(values),
            facets=facets,
            partial=partial,
            children=children,
            unknown=unknown,
            gaps=kind != "list" or self._gaps,
        )

    def identity(self, document: Document) -> str:
        """The record's id; `Missing` when it has none."""
        value = self._id(document)
        if value is ABSENT or value is None or value == "":
            raise Missing("has no id")
        text = columns.text(value).strip()
        if not text or len(text) > _LONGEST_ID:
            raise Unfit("is no id")
        return text

    def stamp(self, document: Document) -> Any:
        """The record's modified time in UTC, None when the document does not say."""
        value = self._modified(document)
        return None if value is ABSENT or value is None or value == "" else columns.timestamp(value)

    def completed(self, mapped: Mapped, stored: Values | None) -> Mapped:
        """The same with what a partial document left unsaid taken from the stored row, or from the defaults."""
        if not mapped.partial:
            return mapped
        rest = stored if stored is not None else tuple(field.default for field in self.fields)
        values = tuple(
            old if value is ABSENT and field.facet in mapped.partial else value
            for field, value, old in zip(self.fields, mapped.values, rest, strict=True)
        )
        facets = dict(mapped.facets)
        facets.update((facet, payload.fingerprint(self._pick(facet, values))) for facet in mapped.partial)
        return Mapped(
            id=mapped.id,
            variant=mapped.variant,
            modified_at=mapped.modified_at,
            values=values,
            facets=facets,
            partial=frozenset(),
            children=mapped.children,
            unknown=mapped.unknown,
        )

    def hashes(self, values: Values, children: Mapping[str, Mapping[str, Values]]) -> dict[str, str]:
        """The hash per facet of a row and its child rows as they stand: what a whole document of them would have."""
        found = {facet: payload.fingerprint(pick(values)) for facet, pick in self._facets.items() if pick is not None}
        found.update((rows.table, rows.hash(children[rows.table])) for rows in self._children if rows.table in children)
        return found

    def _pick(self, facet: str, values: Sequence[Any]) -> Any:
        pick = self._facets[facet]
        assert pick is not None, "only facets with columns are asked for"
        return pick(values)

    def _hashed(self, values: Sequence[Any], kind: Kind) -> tuple[dict[str, str], frozenset[str]]:
        hashes, partial = {}, []
        for facet in CONTAINED[kind]:
            pick = self._facets[facet]
            if pick is None:
                continue
            picked = pick(values)
            if kind == "list" or ABSENT not in picked:
                hashes[facet] = payload.fingerprint(picked)
            elif any(value is not ABSENT for value in picked):
                partial.append(facet)
        return hashes, frozenset(partial)

    def _faults(self, document: Document, kind: Kind) -> Iterator[Fault]:
        """Everything that is wrong, found value by value now that something is."""
        yield from _tried("id", self.identity, document)
        yield from _tried("modified time", self.stamp, document)
        for name, read in self._readers[kind]:
            yield from _tried(name, read, document)
        for rows in self._children:
            if kind != "list" or rows.in_list:
                yield from rows.faults(document)


def _tried(name: str, read: Callable[[Document], Any], document: Document) -> Iterator[Fault]:
    try:
        read(document)
    except Unfit as error:
        missing = isinstance(error, Missing)
        yield Fault(name, "is missing" if missing else str(error), missing)


def _readers(shapes: Mapping[str, mapping.Column], kind: Kind) -> tuple[tuple[str, Read], ...]:
    return tuple((name, _reader(column, kind)) for name, column in shapes.items())


def _reader(column: mapping.Column, kind: Kind) -> Read:
    if column.facet not in CONTAINED[kind]:
        return lambda _: ABSENT
    return columns.reader(column, silent=_silent(kind))


def _walk(shapes: Mapping[str, mapping.Column], kind: Kind) -> Walk:
    silent = _silent(kind)
    return walker([(column, silent) if column.facet in CONTAINED[kind] else None for column in shapes.values()])


def _silent(kind: Kind) -> bool:
    """Only list rows are whole: bulk details lack columns, and a delivery may be any part of a record."""
    return kind != "list"


def _picker(fields: Sequence[Field], facet: str) -> Callable[[Sequence[Any]], Sequence[Any]] | None:
    places = [place for place, field in enumerate(fields) if field.facet == facet and not field.local]
    if not places:
        return None
    if len(places) == 1:
        only = places[0]
        return lambda values: (values[only],)
    return itemgetter(*places)


class _Rows:
    """The child rows inside a document."""

    def __init__(self, shape: mapping.Child) -> None:
        self.table = shape.table
        self.in_list = shape.facet == "list"
        self._paths = [shape.path] if isinstance(shape.path, str) else list(shape.path)
        self._finders = [(path, finder(path)) for path in self._paths]
        self._expand = shape.expand
        self._key = columns.reader(mapping.Column(path=shape.key or "@none"))
        self._readers = [(name, columns.reader(column)) for name, column in shape.columns.items()]
        self._walk = walker([(column, False) for column in shape.columns.values()])
        self._owned = [place for place, column in enumerate(shape.columns.values()) if column.owner == "source"]
        self._all = len(self._owned) == len(shape.columns)

    def hash(self, rows: Mapping[str, Values]) -> str:
        """In the order of the keys, so that rows read from their table have the hash of the document they came in."""
        if self._all:
            return _ORDERED + payload.fingerprint(sorted(rows.items()))
        return _ORDERED + payload.fingerprint(
            sorted((key, [row[one] for one in self._owned]) for key, row in rows.items())
        )

    def present(self, document: Document) -> bool:
        return any(isinstance(find(document), (list, dict)) for _, find in self._finders)

    def map(self, document: Document) -> dict[str, Values]:
        rows: dict[str, Values] = {}
        for row in self._rows(document):
            key = self._key(row) or f"#{row['@position']}"
            if key in rows:
                key = f"{key}#{row['@position']}"
            rows[key] = tuple(self._walk(row))
        return rows

    def faults(self, document: Document) -> Iterator[Fault]:
        for row in self._rows(document):
            where = f"{row['@path']}[{row['@position'] - 1}]"
            for name, read in (("key", self._key), *self._readers):
                yield from _tried(f"{where}.{name}", read, row)

    def _rows(self, document: Document) -> Iterator[Document]:
        position = 0
        for path, find in self._finders:
            found = find(document)
            for row in self._expanded([found] if isinstance(found, dict) else found):
                position += 1
                yield {**row, "@position": position, "@path": path}

    def _expanded(self, found: Any) -> Iterator[Document]:
        for row in found if isinstance(found, list) else ():
            inner = row.get(self._expand) if isinstance(row, dict) and self._expand else None
            if inner and isinstance(inner, list):
                yield from ({**row, **part} for part in inner if isinstance(part, dict))
            elif isinstance(row, dict):
                yield row


def unwrapped(document: Any, keys: Iterable[str], is_record: Callable[[Document], bool]) -> Document:
    """The record inside an answer or a delivery: the document itself, or what stands under one of the keys."""
    if isinstance(document, dict):
        if is_record(document):
            return document
        for key in keys:
            record = document.get(key)
            if isinstance(record, dict):
                return record
    raise Malformed("holds no record")
