"""The constant part of every document, in the recorded order of its keys; entities lay their own values over it."""

from __future__ import annotations

import math
from importlib.resources import files
from typing import Any

import msgspec

Document = dict[str, Any]


class Shapes:
    """Named shapes of one module, read once from `shapes/<module>.json`."""

    def __init__(self, module: str) -> None:
        raw = files("actors.sandbox").joinpath("shapes", f"{module}.json").read_bytes()
        self._shapes: dict[str, Document] = msgspec.json.decode(raw, type=dict[str, dict[str, Any]])

    def __getitem__(self, name: str) -> Document:
        return self._shapes[name]

    def without(self, name: str, keys: frozenset[str]) -> Document:
        """The shape minus keys that some records do not have."""
        return {key: value for key, value in self._shapes[name].items() if key not in keys}


def laid(shape: Document, values: Document) -> Document:
    """The shape with those of the values that it has a key for."""
    return shape | {key: value for key, value in values.items() if key in shape}


def number(value: object) -> float:
    """A number as a client may send it, as one or as text; ValueError for anything else, the infinite too."""
    found = float(str(value))
    if not math.isfinite(found):
        raise ValueError(value)
    return found
