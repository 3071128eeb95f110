"""Hands out what was made before while its settings are the same, so that a reload starts nobody again for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Recall(Protocol):
    """`Memory.recall`."""

    def __call__(self, name: str, settings: object, make: Callable[[], T]) -> T: ...


class Memory:
    """What one process has made, by name; of each the latest."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[object, Any]] = {}

    def recall(self, name: str, settings: object, make: Callable[[], T]) -> T:
        """What was made under this name if it was made of equal settings; otherwise make it anew."""
        known = self._made.get(name)
        if known is None or known[0] != settings:
            known = self._made[name] = (settings, make())
        made: T = known[1]
        return made
