"""Records of one kind in the order of one column, kept right while single records change."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

Key = str | float


class SortedIndex:
    """Ascending (key, index) pairs; a change costs one search and one shift."""

    def __init__(self, pairs: Iterable[tuple[Key, int]]) -> None:
        self._entries: list[tuple[Key, int]] = sorted(pairs)
        self._keys = {index: key for key, index in self._entries}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[int]:
        return (index for _, index in self._entries)

    def put(self, index: int, key: Key) -> None:
        """Insert a record, or move it to where its new key belongs."""
        if self._keys.get(index) == key:
            return
        self.drop(index)
        insort(self._entries, (key, index))
        self._keys[index] = key

    def drop(self, index: int) -> None:
        """Forget a record; nothing happens when it is not there."""
        key = self._keys.pop(index, None)
        if key is not None:
            del self._entries[bisect_left(self._entries, (key, index))]

    def part(self, start: int, stop: int, *, descending: bool) -> list[int]:
        """The records at these places of the ascending or descending order."""
        if not descending:
            return [index for _, index in self._entries[start:stop]]
        size = len(self._entries)
        entries = self._entries[max(0, size - stop) : max(0, size - start)]
        return [index for _, index in reversed(entries)]

    def since(self, key: Key, *, inclusive: bool) -> list[int]:
        """The records whose key is at, or after, that one."""
        at = bisect_left(self._entries, (key, -1 if inclusive else 1 << 62))
        return [index for _, index in self._entries[at:]]
