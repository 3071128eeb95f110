"""Tasks of one entity that are in flight already and wait here, in this process, for the actor that writes them.

Who stores a change and finds its actor idle enough takes the task for it in the same statement, and lays it down here
once that is committed: the actor need not claim it, which costs Postgres another version of the row and the payload's
way back. The queue stays the only truth: what lies here is leased, fenced and given back like everything in flight.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import anyio

from tds_runtime.task import Task


class Handover:
    """Between those who store changes of one entity and its actor; `most` tasks fit."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: deque[Task] = deque()
        self._attended: Callable[[], bool] | None = None
        self._left = anyio.Event()
        self._came = anyio.Event()
        self.is_doubted = False
        """Whether something may have been taken for the actor without being laid down: an answer was lost."""

    def __len__(self) -> int:
        """How many tasks lie here."""
        return len(self._tasks)

    @contextmanager
    def attended(self, holds_lease: Callable[[], bool]) -> Iterator[None]:
        """The actor is there, and takes what is laid down while this process may work on it."""
        self._attended = holds_lease
        try:
            yield
        finally:
            self._attended = None
            self._tell()

    def has_room(self, tasks: int) -> bool:
        """Whether so many more would be taken soon: never while the actor is away, always when nothing lies here."""
        if self._attended is None or not self._attended():
            return False
        return not self._tasks or len(self._tasks) + tasks <= self._most

    async def wait(self, tasks: int, within: float) -> bool:
        """Wait until so many more fit, at most so many seconds; returns at once while the actor is away."""
        with anyio.move_on_after(within):
            while self._attended is not None and not self.has_room(tasks):
                await self._left.wait()
        return self.has_room(tasks)

    def put(self, tasks: Sequence[Task]) -> None:
        """Lay down tasks that were taken for the actor; it has to be woken then."""
        self._tasks.extend(tasks)
        self._came.set()
        self._came = anyio.Event()

    async def next(self) -> None:
        """Wait until something is laid down from now on."""
        await self._came.wait()

    def take(self, most: int | None = None) -> list[Task]:
        """Up to `most` of them (None: all), the oldest first."""
        count = len(self._tasks) if most is None else min(most, len(self._tasks))
        self._tell()
        return [self._tasks.popleft() for _ in range(count)]

    def _tell(self) -> None:
        self._left.set()
        self._left = anyio.Event()
