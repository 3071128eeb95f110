"""What operators and the healer do with the queue: look, retry and discard dead letters, cancel, put off, pause."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from tds_runtime import columns, sql
from tds_runtime.database import Connection, Database
from tds_runtime.task import DeadLetter, Selection

ALL = Selection()
AT_A_TIME = 1000  # rows a maintenance statement moves at most


class Statistics(Struct, frozen=True, kw_only=True):
    """Tasks by status over the whole retention; `oldest_waiting` is the age in seconds of the oldest waiting task."""

    pending: int
    processing: int
    failed: int
    dead_letter: int
    completed: int
    cancelled: int
    oldest_waiting: float

    @property
    def total(self) -> int:
        """All tasks that are still on record."""
        return self.pending + self.processing + self.failed + self.dead_letter + self.completed + self.cancelled


class Oversight:
    """The queue as those see it who work on none of its tasks."""

    def __init__(self, database: Database, *, max_attempts: int) -> None:
        self.database = database
        self._max_attempts = max_attempts

    async def dead_letters(
        self, selection: Selection = ALL, *, before: int | None = None, limit: int = 50
    ) -> list[DeadLetter]:
        """Return unresolved dead letters, the newest first, with ids below `before`."""
        rows = await self.database.fetch(
            sql.load("queue/dead_letters"), *columns.of_selection(selection), before, limit
        )
        return [DeadLetter(**dict(row.items())) for row in rows]

    async def count_dead(self, selection: Selection = ALL) -> int:
        """Count unresolved dead letters."""
        return int(await self.database.fetchval(sql.load("queue/count_dead"), *columns.of_selection(selection)))

    async def retry_dead(
        self,
        selection: Selection,
        *,
        by: str,
        once: bool = False,
        limit: int = AT_A_TIME,
        connection: Connection | None = None,
    ) -> int:
        """Put dead letters back into the queue, oldest first, one per record; returns how many.

        With `once` (the healer) a task gets one attempt and the retry is counted; else (a person) it starts from zero.
        """
        attempts = self._max_attempts - 1 if once else 0
        arguments = (*columns.of_selection(selection), limit, by, attempts, once)
        return int(await (connection or self.database).fetchval(sql.load("queue/retry_dead"), *arguments))

    async def discard_dead(
        self,
        selection: Selection,
        *,
        by: str,
        note: str = "",
        limit: int = AT_A_TIME,
        connection: Connection | None = None,
    ) -> int:
        """Give dead letters up: the tasks end as cancelled; returns how many."""
        arguments = (*columns.of_selection(selection), limit, by, note)
        return int(await (connection or self.database).fetchval(sql.load("queue/discard_dead"), *arguments))

    async def cancel(self, selection: Selection, *, by: str, reason: str = "", limit: int = AT_A_TIME) -> int:
        """End waiting tasks as cancelled; what is in flight is not touched. Returns how many."""
        arguments = (*columns.of_selection(selection), limit, f"{by}: {reason}")
        return int(await self.database.fetchval(sql.load("queue/cancel"), *arguments))

    async def put_off(self, selection: Selection, until: datetime, *, by: str, reason: str = "") -> int:
        """Keep waiting tasks from being claimed before a time, a portion at a time; returns how many."""
        arguments = (*columns.of_selection(selection), AT_A_TIME, until, f"{by}: {reason}")
        return int(await self.database.fetchval(sql.load("queue/put_off"), *arguments))

    async def pause(self, entity_type: str, *, by: str, reason: str = "", until: datetime | None = None) -> None:
        """Stop claiming tasks of an entity, until a time or until `resume`; they are still accepted."""
        await self.database.execute(sql.load("queue/pause"), entity_type, reason, by, until)

    async def resume(self, entity_type: str) -> bool:
        """Claim tasks of the entity again; False when it was not paused."""
        return await self.database.execute(sql.load("queue/resume"), entity_type) != "DELETE 0"

    async def paused(self) -> dict[str, str]:
        """Return the paused entities with the reasons."""
        return dict(await self.database.fetch(sql.load("queue/paused")))

    async def backlog(self, entity_type: str, most: int) -> int:
        """Count the changes of an entity that wait to be written, no further than to `most`."""
        return int(await self.database.fetchval(sql.load("queue/backlog"), entity_type, most))

    async def statistics(self) -> Statistics:
        """Count tasks by status."""
        row = await self.database.fetchrow(sql.load("queue/statistics"))
        assert row is not None
        return Statistics(**dict(row.items()))
