"""Records of one kind in the order of one column, kept right while single records change."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Key = str | float


class SortedIndex:
    """Indexes in ascending order of their keys, then of themselves; a change costs one search and one shift.

    There may be a million records: each takes four bytes for its place and eight for its key, equal texts are shared.
    """

    def __init__(self, pairs: Iterable[tuple[Key, int]]) -> None:
        self._keys: list[Key | None] = []
        shared: dict[Key, Key] = {}
        for key, index in pairs:
            self._remember(index, shared.setdefault(key, key))
        present = (index for index, key in enumerate(self._keys) if key is not None)
        self._order = array("I", sorted(present, key=self._key))

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[int]:
        return iter(self._order)

    def _key(self, index: int) -> Key:
        key = self._keys[index]
        assert key is not None, "only what is in the order is looked at"
        return key

    def _remember(self, index: int, key: Key | None) -> None:
        if index >= len(self._keys):
            self._keys.extend([None] * (index + 1 - len(self._keys)))
        self._keys[index] = key

    def _place(self, key: Key, index: int) -> int:
        """Where a record with that key stands, or would."""
        first = bisect_left(self._order, key, key=self._key)
        last = bisect_right(self._order, key, first, key=self._key)
        return bisect_left(self._order, index, first, last)

    def put(self, index: int, key: Key) -> None:
        """Insert a record, or move it to where its new key belongs."""
        if index < len(self._keys) and self._keys[index] == key:
            return
        self.drop(index)
        self._order.insert(self._place(key, index), index)
        self._remember(index, key)

    def drop(self, index: int) -> None:
        """Forget a record; nothing happens when it is not there."""
        key = self._keys[index] if index < len(self._keys) else None
        if key is not None:
            del self._order[self._place(key, index)]
            self._keys[index] = None

    def part(self, start: int, stop: int, *, descending: bool) -> list[int]:
        """The records at these places of the ascending or descending order."""
        if not descending:
            return self._order[start:stop].tolist()
        size = len(self._order)
        return self._order[max(0, size - stop) : max(0, size - start)].tolist()[::-1]

    def since(self, key: Key, *, inclusive: bool) -> list[int]:
        """The records whose key is at, or after, that one."""
        find = bisect_left if inclusive else bisect_right
        return self._order[find(self._order, key, key=self._key) :].tolist()
