"""Compiles one mapped column into a reader: a function from a document to the value that Postgres will get.

Compiled once at start, so that mapping a record is a walk over functions and nothing is looked up twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal
from functools import lru_cache
from typing import Any

from actors.zoho import payload
from actors.zoho.finding import ABSENT, finder
from actors.zoho.mapping import Column, Transform, Type
from actors.zoho.payload import Document, Malformed
from tds_runtime.errors import Error

Convert = Callable[[Any], Any]
Read = Callable[[Document], Any]

_WHOLE = re.compile(r"[+-]?\d{1,40}")
_FRACTION = re.compile(r"[+-]?(?:\d{1,1000}\.?\d{0,1000}|\.\d{1,1000})(?:[eE][+-]?\d{1,4})?")
_BIGINT = 2**63
_EXACT = Context(prec=1000, Emax=1000, Emin=-1000, traps=[Inexact, InvalidOperation, Overflow, Subnormal])
_ROUNDING = Context(prec=1000, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation, Overflow])
_ZERO = Decimal(0)
_WORDS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Unfit(Error):
    """The value cannot be what its column is."""


class Missing(Unfit):
    """A required value is missing."""


def reader(column: Column, *, silent: bool = False) -> Read:
    """Compile a column; the reader raises `Unfit` or `Missing`.

    Args:
        column: What the mapping says.
        silent: Whether an absent key leaves the value alone (`ABSENT`) or means the default. A document that was
            pulled is whole; one that was delivered may be a part.
    """
    find, convert, default = finder(column.path), converter(column), default_of(column)
    absent: Any = ABSENT if silent else default
    plain = column.path if isinstance(column.path, str) and column.path.isidentifier() else ""

    def read_plain(document: Document) -> Any:
        value = document.get(plain, ABSENT)  # what `find` does, without the call: most columns are read like this
        if value is ABSENT:
            return absent
        if value is None or value == "":
            return default
        value = convert(value)
        return default if value is None else value

    def read(document: Document) -> Any:
        value = find(document)
        if value is ABSENT:
            return absent
        if value is None or value == "":
            return default
        value = convert(value)
        return default if value is None else value

    return _demanding(read) if column.required else read_plain if plain else read


def _demanding(read: Read) -> Read:
    def demand(document: Document) -> Any:
        value = read(document)
        if value is None or value is ABSENT:
            raise Missing
        return value

    return demand


def default_of(column: Column) -> Any:
    """The default as Postgres will get it; `Unfit` when it is not of the column's type."""
    if column.default is None:
        return None
    if column.type == "jsonb":
        return payload.canonical(payload.parse(str(column.default).encode()))
    if column.equals is not None:
        return _boolean(column.default)
    return converter(column)(Decimal(str(column.default)) if isinstance(column.default, float) else column.default)


# --- what a value becomes


def converter(column: Column) -> Convert:
    """A function that makes the column's type of a value that is neither null nor empty."""
    steps: list[Convert] = []
    if column.transform:
        steps.append(_transforming(column.transform))
    if column.equals is not None:
        steps.append(_comparing({column.equals} if isinstance(column.equals, str) else set(column.equals)))
    else:
        steps.append(_TYPES[column.type])
    if column.scale is not None:
        steps.append(_rounding(column.scale))
    if column.range is not None:
        steps.append(_between(*column.range))
    if column.max_length is not None:
        steps.append(_at_most(column.max_length))
    return steps[0] if len(steps) == 1 else _chained(steps)


def _chained(steps: Iterable[Convert]) -> Convert:
    chain = tuple(steps)

    def convert(value: Any) -> Any:
        for step in chain:
            value = step(value)
            if value is None:
                return None
        return value

    return convert


def _transforming(transforms: Iterable[Transform]) -> Convert:
    chain = tuple(_TRANSFORMS[name] for name in transforms)

    def transform(value: Any) -> Any:
        if isinstance(value, str):
            for step in chain:
                value = step(value)
        return value

    return transform


def _comparing(words: set[str]) -> Convert:
    def compare(value: Any) -> bool:
        return text(value) in words

    return compare


def _rounding(places: int) -> Convert:
    unit = Decimal(1).scaleb(-places)

    def scale(value: Decimal) -> Decimal:
        return normal(value.quantize(unit, context=_ROUNDING))

    return scale


def _between(least: float, most: float) -> Convert:
    def check(value: Any) -> Any:
        if not least <= value <= most:
            raise Unfit(f"is not between {least:g} and {most:g}")
        return value

    return check


def _at_most(length: int) -> Convert:
    def check(value: str) -> str:
        if len(value) > length:
            raise Unfit(f"is longer than {length} characters ({len(value)})")
        return value

    return check


def text(value: Any) -> str:
    """Any scalar as text."""
    if isinstance(value, str):
        if "\x00" in value:
            raise Unfit("contains a NUL character")
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)):
        return format(_numeric(value), "f")
    raise Unfit(f"is {described(value)}, not text")


def _integer(value: Any) -> int:
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    elif isinstance(value, Decimal):
        value = int(value) if _numeric(value) == value.to_integral_value() else value
    if not isinstance(value, int) or isinstance(value, bool):
        raise Unfit(f"is {described(value)}, not a whole number")
    if not -_BIGINT <= value < _BIGINT:
        raise Unfit("is out of range")
    return value


def _numeric(value: Any) -> Decimal:
    if type(value) is Decimal:
        return normal(value)
    if type(value) is int:
        return _whole(value)
    if isinstance(value, str) and _FRACTION.fullmatch(value.strip()):
        return normal(Decimal(value.strip()))
    raise Unfit(f"is {described(value)}, not a number")


@lru_cache(maxsize=4096)
def _whole(value: int) -> Decimal:
    """Remembered, because stocks and prices repeat."""
    return normal(Decimal(value))


def normal(value: Decimal) -> Decimal:
    """The number without trailing zeros, so that equal numbers are written alike; `Unfit` when it is beyond sense."""
    if not value.is_finite():
        raise Unfit("is out of range")
    try:
        return _EXACT.normalize(value) or _ZERO
    except ArithmeticError as error:
        raise Unfit("is out of range") from error


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    found = _WORDS.get(str(value).strip().lower()) if isinstance(value, (str, int)) else None
    if found is None:
        raise Unfit(f"is {described(value)}, not true or false")
    return found


def _date(value: Any) -> date:
    if isinstance(value, str) and len(value) == len("2026-01-31") and value[4] == value[7] == "-":
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    raise Unfit(f"is {described(value)}, not a date as 2026-01-31")


def timestamp(value: Any) -> datetime:
    """A time of the source, `2026-01-31T10:00:00+0300`, in UTC."""
    if isinstance(value, str) and len(value) > len("2026-01-31") and value[10] in "T ":
        try:
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is not None:
                return moment.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise Unfit(f"is {described(value)}, not a time with its offset as 2026-01-31T10:00:00+0300")


def _json(value: Any) -> str:
    try:
        return payload.canonical(value)
    except Malformed as error:
        raise Unfit(str(error)) from error


def described(value: Any) -> str:
    """What kind of value it is, without saying it: values may be private, and as long as they like."""
    match value:
        case str():
            return f"text of {len(value)} characters"
        case bool():
            return "true or false"
        case int() | Decimal():
            return "a number"
        case dict():
            return "an object"
        case list():
            return f"a list of {len(value)}"
    return "null"


_TYPES: Mapping[Type, Convert] = {
    "text": text,
    "integer": _integer,
    "numeric": _numeric,
    "boolean": _boolean,
    "date": _date,
    "timestamptz": timestamp,
    "jsonb": _json,
}
_TRANSFORMS: Mapping[Transform, Callable[[str], str | None]] = {
    "trim": str.strip,
    "lower": str.lower,
    "empty_to_null": lambda given: given or None,
}
