"""Finds a value in a document by its path, compiled once: inwards by dots, the first of several, or all that match."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from actors.zoho.mapping import Mapping, Paths
from actors.zoho.payload import Document

T = TypeVar("T")
Find = Callable[[Document], Any]

_MOST_LAYOUTS = 500


class Absent:
    """Says that a document does not speak about a column."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


def finder(path: Paths) -> Find:
    """A function that finds a value by its path; of several paths the first that holds something."""
    if isinstance(path, str):
        return _find_one(path)
    if len(path) > 1 and not any("." in one or "*" in one for one in path):
        return _first_key(tuple(path))
    finders = [_find_one(one) for one in path]
    return finders[0] if len(finders) == 1 else _first_of(finders)


def by_layout(judge: Callable[[Sequence[str]], T]) -> Callable[[Document], T]:
    """What depends on a document's keys alone, judged once for each row of keys: documents of one listing share it.

    What `judge` finds is never None.
    """
    judged: dict[tuple[str, ...], T] = {}

    def look_up(document: Document) -> T:
        keys = tuple(document)
        found = judged.get(keys)
        if found is None:
            found = judge(keys)
            if len(judged) < _MOST_LAYOUTS:
                judged[keys] = found
        return found

    return look_up


def _first_key(keys: Sequence[str]) -> Find:
    """`_first_of` for plain keys, which most candidates are."""

    def find(document: Document) -> Any:
        found: Any = ABSENT
        for key in keys:
            value = document.get(key, ABSENT)
            if value is not ABSENT:
                if value is not None and value != "":
                    return value
                found = None
        return found

    return find


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
    matches = re.compile(fnmatch.translate(pattern)).match
    names_in = by_layout(lambda keys: tuple(key for key in keys if matches(key)))

    def find(document: Document) -> Any:
        names = names_in(document)
        return {key: document[key] for key in names} if names else ABSENT

    return find


def top_level(paths: Paths) -> frozenset[str]:
    """The keys of a document that a path begins with; patterns as they are written."""
    return frozenset(path.partition(".")[0] for path in ([paths] if isinstance(paths, str) else paths))


def unmapped(source: Mapping) -> Callable[[Document], frozenset[str]]:
    """The keys of a document that a mapping does not expect: what they say is drift."""
    paths = [source.record.id, source.record.modified, *(column.path for column in source.columns.values())]
    paths += [child.path for child in source.children]
    known = {"@variant", *source.ignored}.union(*map(top_level, paths))
    patterns = [re.compile(fnmatch.translate(name)) for name in known if "*" in name]

    def others(keys: Sequence[str]) -> frozenset[str]:
        rest = set(keys) - known
        return frozenset(key for key in rest if not any(pattern.match(key) for pattern in patterns))

    return by_layout(others)
