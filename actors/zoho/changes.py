"""Says what a document changes in the tables: rows merged with what stands there, differences for the audit. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Raw

from actors.zoho import payload
from actors.zoho.columns import normal
from actors.zoho.documents import Mapped, Values
from actors.zoho.finding import ABSENT
from actors.zoho.target import Field

Object = dict[str, Any]
Rows = Mapping[str, Values]

_encode = msgspec.json.Encoder(decimal_format="number").encode


def stored_values(fields: Sequence[Field], values: Sequence[Any]) -> Values:
    """Values as they were read from a table, in the form that mapping gives them."""
    return tuple(
        value if value is None or field.type not in _FORMS else _FORMS[field.type](value)
        for field, value in zip(fields, values, strict=True)
    )


def _number(value: Decimal) -> Decimal:
    return normal(value) if value.is_finite() else value


def _json(value: str) -> str:
    return payload.canonical(payload.parse(value.encode()))


_FORMS: Mapping[str, Callable[[Any], Any]] = {"jsonb": _json, "numeric": _number}


def merged(fields: Sequence[Field], mapped: Mapped, old: Values | None, facets: Collection[str]) -> Values:
    """The row as it is to be: of these facets what the document says, of the rest what stands there, or the defaults.

    A column that the ERP owns is written when the row is new and never again.
    """
    if old is None:
        if not mapped.gaps:
            return mapped.values
        return tuple(
            field.default if value is ABSENT else value for field, value in zip(fields, mapped.values, strict=True)
        )
    return tuple(
        before if value is ABSENT or field.local or (field.facet and field.facet not in facets) else value
        for field, value, before in zip(fields, mapped.values, old, strict=True)
    )


def difference(fields: Sequence[Field], old: Values | None, new: Values | None) -> tuple[Object | None, Object | None]:
    """Before and after, of the columns that differ; of a row that comes or goes, all that are not null."""
    if old is None or new is None:
        return _whole(fields, old), _whole(fields, new)
    before, after = {}, {}
    for field, was, is_now in zip(fields, old, new, strict=True):
        if was != is_now:
            before[field.name], after[field.name] = _plain(field, was), _plain(field, is_now)
    return before, after


def _whole(fields: Sequence[Field], values: Values | None) -> Object | None:
    if values is None:
        return None
    return {field.name: _plain(field, value) for field, value in zip(fields, values, strict=True) if value is not None}


def _plain(field: Field, value: Any) -> Any:
    return Raw(value.encode()) if field.type == "jsonb" and value is not None else value


def children_difference(fields: Sequence[Field], old: Rows, new: Rows) -> tuple[list[str], dict[str, Values]]:
    """The keys to remove and the rows to write, so that only what differs is touched."""
    kept = [place for place, field in enumerate(fields) if field.local]
    written = {}
    for key, values in new.items():
        before = old.get(key)
        wanted = values if before is None or not kept else _keeping(values, before, kept)
        if wanted != before:
            written[key] = wanted
    return [key for key in old if key not in new], written


def _keeping(values: Values, before: Values, places: Iterable[int]) -> Values:
    keeping = list(values)
    for place in places:
        keeping[place] = before[place]
    return tuple(keeping)


def children_audit(fields: Sequence[Field], old: Rows, removed: Iterable[str], written: Rows) -> tuple[Object, Object]:
    """Before and after of child rows: per key the whole row, null where there is none."""
    before = {key: _whole(fields, old.get(key)) for key in (*removed, *written)}
    after = {key: _whole(fields, written.get(key)) for key in before}
    return before, after


def encoded(value: Object | None) -> str | None:
    """An object of the audit trail as JSON text."""
    return None if value is None else _encode(value).decode()
