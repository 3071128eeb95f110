"""Writes rows of one table as JSON texts, by a record made for its columns: what upserts and the audit trail take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec
from msgspec import Raw

RowText = Callable[[Sequence[Any]], str]

_encode = msgspec.json.Encoder(decimal_format="number").encode


def row_text(names: Sequence[str], documents: Collection[str]) -> RowText:
    """A function from the values of these columns to an object of those that are not null.

    Args:
        names: Of the columns, in the order of their values.
        documents: The columns whose values are JSON texts already.
    """
    fields = [(f"field{place}", Any, None) for place in range(len(names))]
    renamed = {f"field{place}": name for place, name in enumerate(names)}
    shape = msgspec.defstruct("Row", fields, rename=renamed, omit_defaults=True, gc=False)
    places = [place for place, name in enumerate(names) if name in documents]

    def text(values: Sequence[Any]) -> str:
        given = list(values)
        for place in places:
            if given[place] is not None:
                given[place] = Raw(given[place].encode())
        return _encode(shape(*given)).decode()

    return text


def columns(rows: Sequence[Sequence[Any]]) -> list[str]:
    """Rows as an upsert takes them: for each column a JSON array of its values."""
    return [_encode(column).decode() for column in zip(*rows, strict=True)]


def joined(text: str, other: str) -> str:
    """One object of two that have no name in common."""
    if text == "{}" or other == "{}":
        return other if text == "{}" else text
    return f"{text[:-1]},{other[1:]}"
