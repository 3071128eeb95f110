"""What happens next and when, for many keys at O(log n): one deadline a key, the newest counts."""

from __future__ import annotations

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from math import inf
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SLACK = 64


class Deadlines(Generic[K]):
    """A heap whose outdated entries are left behind and swept out when they outnumber the others."""

    __slots__ = ("_current", "_heap", "_number")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, K]] = []
        self._current: dict[K, int] = {}
        self._number = 0

    def set(self, key: K, when: float) -> None:
        """Give the key a deadline in place of any it had; infinity means none."""
        if when == inf:
            self.clear(key)
            return
        self._number += 1
        self._current[key] = self._number
        heappush(self._heap, (when, self._number, key))
        if len(self._heap) > 2 * len(self._current) + _SLACK:
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapify(self._heap)

    def clear(self, key: K) -> None:
        """Take the key's deadline away."""
        self._current.pop(key, None)

    def earliest(self) -> float:
        """When the next key is due; infinity when none is."""
        while self._heap and not self._counts(self._heap[0]):
            heappop(self._heap)
        return self._heap[0][0] if self._heap else inf

    def due(self, now: float) -> list[K]:
        """The keys whose time has come, oldest first; they have no deadline any more."""
        keys: list[K] = []
        while self.earliest() <= now:
            key = heappop(self._heap)[2]
            del self._current[key]
            keys.append(key)
        return keys

    def __len__(self) -> int:
        return len(self._current)

    def _counts(self, entry: tuple[float, int, K]) -> bool:
        return self._current.get(entry[2]) == entry[1]
