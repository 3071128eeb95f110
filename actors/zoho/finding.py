"""Finds a value in a document by its path, compiled once: inwards by dots, the first of several, or all that match."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from actors.zoho.mapping import Paths
from actors.zoho.payload import Document

Find = Callable[[Document], Any]


class Absent:
    """Says that a document does not speak about a column."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


def finder(path: Paths) -> Find:
    """A function that finds a value by its path; of several paths the first that holds something."""
    if isinstance(path, str):
        return _find_one(path)
    finders = [_find_one(one) for one in path]
    return finders[0] if len(finders) == 1 else _first_of(finders)


def _first_of(finders: Iterable[Find]) -> Find:
    candidates = tuple(finders)

    def find(document: Document) -> Any:
        found: Any = ABSENT
        for candidate in candidates:
            value = candidate(document)
            if value is not ABSENT:
                if value is not None and value != "":
                    return value
                found = None
        return found

    return find


def _find_one(path: str) -> Find:
    if "*" in path:
        return _find_matching(path)
    first, *rest = path.split(".")
    if rest:
        return _find_inside(first, [int(part) if part.isdigit() else part for part in rest])

    def find(document: Document) -> Any:
        return document.get(first, ABSENT)

    return find


def _find_inside(first: str, rest: list[str | int]) -> Find:
    def find(document: Document) -> Any:
        value = document.get(first, ABSENT)
        for part in rest:
            value = _step(value, part)
        return value

    return find


def _step(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(str(part), ABSENT)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return ABSENT


def _find_matching(pattern: str) -> Find:
    prefix = pattern.removesuffix("*")
    if "*" not in prefix:
        return _find_beginning(prefix)
    matches = re.compile(fnmatch.translate(pattern)).match

    def find(document: Document) -> Any:
        found = {key: value for key, value in document.items() if matches(key)}
        return found or ABSENT

    return find


def _find_beginning(prefix: str) -> Find:
    def find(document: Document) -> Any:
        names = [key for key in document if key.startswith(prefix)]
        return {key: document[key] for key in names} if names else ABSENT

    return find


def top_level(paths: Paths) -> frozenset[str]:
    """The keys of a document that a path begins with; patterns as they are written."""
    return frozenset(path.partition(".")[0] for path in ([paths] if isinstance(paths, str) else paths))
