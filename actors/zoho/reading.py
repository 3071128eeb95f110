"""Reads a record's bytes into a document that holds only what its mapping wants, which is a fraction of what is sent.

A record with a key that the mapping neither wants nor ignores is read whole, as ever: what such keys say is drift.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from collections.abc import Mapping as Mapping_
from decimal import Decimal
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from actors.zoho import payload
from actors.zoho.finding import top_level
from actors.zoho.mapping import Child, Mapping, Paths
from actors.zoho.payload import MALFORMED, Document

_MOST_LEARNT = 300
"""Keys learnt by patterns; a source that invents more than these is read whole."""


class Reader:
    """Reads the records of one entity; what the source sends, in which order, is learnt from the first of them.

    The order matters: a decoder that expects the keys as they come need not search for them.
    """

    def __init__(self, source: Mapping) -> None:
        plain = [source.record.id, source.record.modified, *(column.path for column in source.columns.values())]
        wanted = frozenset[str]().union(*map(top_level, plain))
        every = wanted.union(*(top_level(child.path) for child in source.children))
        rows = [(path, child) for child in source.children for path in _listed(child.path)]
        places = Counter(path for path, _ in rows)
        self._inside = {
            path: _part(child)
            for path, child in rows
            if "." not in path and path not in wanted and places[path] == 1 and _is_plain(child)
        }
        self._wanted = {key for key in every if "*" not in key}
        self._ignored = {key for key in source.ignored if "*" not in key} - self._wanted
        self._is_wanted, self._is_expected = _matcher(every), _matcher([*every, *source.ignored])
        self._learnt = 0
        self._quick: Callable[[bytes], Document] | None = None

    def read(self, body: bytes) -> Any:
        """The document; `Malformed` for bytes that are none."""
        if self._quick is not None:
            try:
                return self._quick(body)
            except MALFORMED:
                pass  # what is wrong with it, or new in it, is seen below
        found = payload.parse(body)
        if isinstance(found, dict):
            self._learn(found)
        return found

    def _learn(self, document: Document) -> None:
        """Take this document as the example of those to come, if it is the first or has keys of a pattern."""
        known = self._wanted | self._ignored
        new = [key for key in document if key not in known and self._is_expected(key)]
        if (self._quick is not None and not new) or self._learnt + len(new) > _MOST_LEARNT:
            return
        for key in new:
            (self._wanted if self._is_wanted(key) else self._ignored).add(key)
        self._learnt += len(new)
        self._quick = self._compiled([*document, *sorted(known.difference(document))])

    def _compiled(self, keys: Iterable[str]) -> Callable[[bytes], Document]:
        kinds = {key: self._kind(key) for key in keys if key in self._wanted or key in self._ignored}
        shape, take = _picking(kinds, self._wanted, strict=True)
        decode = msgspec.json.Decoder(shape, float_hook=Decimal).decode
        parts = [(key, take_part) for key, (_, take_part) in self._inside.items()]

        def quick(body: bytes) -> Document:
            document = take(decode(body))
            for key, take_part in parts:
                found = document.get(key)
                if found is not None:
                    document[key] = [take_part(one) for one in found] if isinstance(found, list) else take_part(found)
            return document

        return quick

    def _kind(self, key: str) -> Any:
        if key in self._inside:
            shape = self._inside[key][0]
            return list[shape] | shape | None  # type: ignore[valid-type] # the type is made at run time
        return Any if key in self._wanted else Raw


Part = tuple[Any, Callable[[Any], Document]]


def _picking(kinds: Mapping_[str, Any], wanted: Collection[str], *, strict: bool) -> Part:
    """A type for objects with these keys, and what makes a document of those that are wanted and there.

    With `strict` no other keys may be there.
    """
    names = {key: f"field{place}" for place, key in enumerate(kinds)}
    fields = [(names[key], kind | UnsetType, UNSET) for key, kind in kinds.items()]
    renamed = {name: key for key, name in names.items()}
    shape = msgspec.defstruct("Picked", fields, rename=renamed, forbid_unknown_fields=strict, gc=False)
    taken = [key for key in kinds if key in wanted]
    # One more than wanted: of a single name attrgetter would make no tuple.
    values, keys = attrgetter("__class__", *(names[key] for key in taken)), ("", *taken)

    def take(found: Any) -> Document:
        document = {key: value for key, value in zip(keys, values(found), strict=True) if value is not UNSET}
        del document[""]
        return document

    return shape, take


def _listed(paths: Paths) -> list[str]:
    return [paths] if isinstance(paths, str) else paths


def _is_plain(child: Child) -> bool:
    """Whether the keys that are wanted of its rows are known by name."""
    return not any("*" in key for key in _keys(child))


def _keys(child: Child) -> frozenset[str]:
    if child.expand:
        return frozenset({"*"})  # a row is laid over by what it contains, key by key
    paths = [child.key, *(column.path for column in child.columns.values())]
    return frozenset[str]().union(*map(top_level, paths))


def _part(child: Child) -> Part:
    keys = _keys(child)
    return _picking(dict.fromkeys(sorted(keys), Any), keys, strict=False)


def _matcher(names: Iterable[str]) -> Callable[[str], bool]:
    patterns = [re.compile(fnmatch.translate(name)) for name in names if "*" in name]
    return lambda key: any(pattern.match(key) for pattern in patterns)
