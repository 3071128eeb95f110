"""Reads all columns of a document in one walk, which costs a third of calling a reader for each of them.

What a column becomes is the same as by `columns.reader`, which says afterwards which columns were at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from actors.zoho import columns
from actors.zoho.columns import Missing, Unfit
from actors.zoho.finding import ABSENT, Find, finder
from actors.zoho.mapping import Column
from actors.zoho.payload import Document

Walk = Callable[[Document], list[Any]]
Step = tuple[str, Find | None, bool, columns.Convert, Any, Any]


def walker(shapes: Sequence[tuple[Column, bool] | None]) -> Walk:
    """A function from a document to the values of these columns; it raises `Unfit` or `Missing`.

    Args:
        shapes: Each column and whether it is silent (see `columns.reader`); None for one that this kind of document
            does not speak about.
    """
    steps = [_step(*shape) if shape else _SILENCE for shape in shapes]

    def walk(document: Document) -> list[Any]:
        values = []
        for key, find, plain, convert, default, absent in steps:
            value = document.get(key, ABSENT) if find is None else find(document)
            if value is ABSENT:
                values.append(absent)
                continue
            if type(value) is not str:
                value = None if value is None else convert(value)
            elif not value:
                value = None
            elif not plain or "\x00" in value:
                value = convert(value)
            values.append(default if value is None else value)
        return values

    required = [place for place, shape in enumerate(shapes) if shape and shape[0].required]
    return _demanding(walk, required) if required else walk


def _demanding(walk: Walk, places: Sequence[int]) -> Walk:
    def demand(document: Document) -> list[Any]:
        values = walk(document)
        for place in places:
            if values[place] is None or values[place] is ABSENT:
                raise Missing
        return values

    return demand


def _step(column: Column, silent: bool) -> Step:
    """Key or finder, whether text stays as it is, conversion, and what stands for an empty and an absent value."""
    key = column.path if isinstance(column.path, str) and "." not in column.path and "*" not in column.path else ""
    convert, default = columns.converter(column), columns.default_of(column)
    find = None if key else finder(column.path)
    return key, find, convert is columns.text, convert, default, ABSENT if silent else default


def _unasked(_value: Any) -> Any:
    raise Unfit("is not read")


_SILENCE: Step = ("", lambda _document: ABSENT, False, _unasked, None, ABSENT)
