"""Counts the keys of documents that no mapping knows, and keeps the counts where an operator can read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from tds_runtime import sql
from tds_runtime.database import Database, storable

MOST_KEYS, LONGEST_KEY = 200, 200
EVERY = 60.0
"""Seconds between two writings; a key that is new is written at once."""


class Drift:
    """What one life of an entity's actor has seen; keys beyond the first two hundred are not told apart any more."""

    def __init__(self, entity: str, clock: Callable[[], float]) -> None:
        self._entity = entity
        self._clock = clock
        self._known: set[str] = set()
        self._waiting: Counter[str] = Counter()
        self._new = False
        self._written_at = clock()

    def add(self, documents: Iterable[frozenset[str]]) -> tuple[str, ...]:
        """Count the keys of these documents; answers those that were never seen before."""
        found = Counter(key for keys in documents for key in keys)
        new = sorted(key for key in found if key not in self._known)[: MOST_KEYS - len(self._known)]
        self._known.update(new)
        self._new = self._new or bool(new)
        self._waiting.update({key: count for key, count in found.items() if key in self._known})
        return tuple(new)

    @property
    def is_due(self) -> bool:
        """Whether there is something that should be written now."""
        return bool(self._waiting) and (self._new or self._clock() - self._written_at >= EVERY)

    async def write(self, database: Database) -> None:
        """Add what was counted to the table; what could not be written is kept for the next time."""
        counts = Counter[str]()
        for key, seen in self._waiting.items():
            counts[storable(key)[:LONGEST_KEY]] += seen
        await database.execute(
            sql.load("drift/count", package="actors"), self._entity, list(counts), list(counts.values())
        )
        self._waiting.clear()
        self._new, self._written_at = False, self._clock()
