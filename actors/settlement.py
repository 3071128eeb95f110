"""Settles a batch of tasks: maps them, writes what they say, and ends every one of them in the same transaction.

A batch is first written as a whole. When a statement is refused, it is written again with savepoints, halving until the
guilty records stand alone, so that one bad record costs its neighbours a few round trips and nothing else.
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from anyio.lowlevel import checkpoint
from msgspec import Struct

from actors import effect, parents, refusals
from actors.effect import Effect, Work
from actors.refusals import REFUSED, Refusal, Refused, TargetUnfit
from actors.zoho.documents import Fault, Mapped, RecordInvalid
from actors.zoho.entities import Entity
from tds_runtime.database import Connection, Database
from tds_runtime.queue import Change, Failure, Queue, Task

MAPPED_AT_A_TIME = 25
"""Records between two checkpoints: mapping is pure computing, and others want to run."""

_UNNAMED = "body:"
_SHORTEST_WAIT, _LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=1)
# What a document might provoke in the mapping that nobody thought of: a fault of this program, tried again and then
# buried with its traceback, while the neighbours go on.
_UNFORESEEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


def _now() -> datetime:
    return datetime.now(UTC)


class Prepared(Struct, frozen=True, kw_only=True):
    """A batch after mapping.

    Attributes:
        works: What can be written.
        invalid: Tasks that no retry can mend, with their reason.
        unforeseen: Tasks that made the mapping fail in a way it should not.
        incomplete: Deliveries that are no whole record; the source is asked for it.
    """

    works: tuple[Work, ...]
    invalid: tuple[Failure, ...] = ()
    unforeseen: tuple[Failure, ...] = ()
    incomplete: tuple[tuple[int, int], ...] = ()


class Settled(Struct, frozen=True, kw_only=True):
    """What became of a batch.

    Attributes:
        outcomes: How many tasks ended in which way: applied, unchanged, superseded, deleted, refetched, buried,
            waiting (for a parent), retried.
        rows: Rows written or removed.
        failures: Why tasks were not completed.
        claimed: The next tasks, taken in the same transaction.
    """

    outcomes: Counter[str]
    rows: int = 0
    altered: tuple[str, ...] = ()
    failures: tuple[Failure, ...] = ()
    claimed: tuple[Task, ...] = ()


class Settlement:
    """Settles the batches of one entity."""

    def __init__(self, entity: Entity, database: Database, queue: Queue, *, now: Callable[[], datetime] = _now) -> None:
        self._entity = entity
        self._database = database
        self._queue = queue
        self._now = now

    # --- mapping

    async def prepare(self, tasks: Sequence[Task], beat: Callable[[], None] = lambda: None) -> Prepared:
        """Map a batch; a task that cannot be mapped fails alone."""
        works: list[Work] = []
        invalid: list[Failure] = []
        unforeseen: list[Failure] = []
        incomplete: list[tuple[int, int]] = []
        for number, task in enumerate(tasks, 1):
            try:
                mapped = self._map(task)
                if self._is_cut(task, mapped):
                    incomplete.append((task.id, task.fence))
                else:
                    works.append(Work(task, mapped))
            except RecordInvalid as error:
                if self._may_refetch(task, error):
                    incomplete.append((task.id, task.fence))
                else:
                    invalid.append(_failure(task, "invalid_record", str(error)))
            except _UNFORESEEN as error:
                unforeseen.append(_failure(task, "mapping_failed", repr(error), traceback.format_exc()))
            if number % MAPPED_AT_A_TIME == 0:
                beat()
                await checkpoint()
        return Prepared(
            works=tuple(works), invalid=tuple(invalid), unforeseen=tuple(unforeseen), incomplete=tuple(incomplete)
        )

    def _map(self, task: Task) -> Mapped | None:
        if task.operation == "delete":
            if _is_unnamed(task):
                raise RecordInvalid([Fault("id", "of what was deleted is missing")])
            return None
        return self._entity.map(
            task.payload or b"",
            task.payload_kind,
            content_type=task.content_type,
            variant=task.variant,
            record_id=task.source_entity_id,
        )

    def _is_cut(self, task: Task, mapped: Mapped | None) -> bool:
        """Whether a document was delivered without any of its lines: form fields and placeholders have none.

        Written as it is, it would be taken for whole by every pull that sees the same stamp.
        """
        if mapped is None or task.payload_kind != "webhook" or not self._entity.has_details:
            return False
        return bool(self._entity.target.children) and not mapped.children and self._entity.can_refetch

    def _may_refetch(self, task: Task, error: RecordInvalid) -> bool:
        partial = task.payload is None or (task.payload_kind == "webhook" and error.incomplete)
        return partial and not _is_unnamed(task) and self._entity.can_refetch

    # --- writing

    async def settle(self, prepared: Prepared, claim: int = 0) -> Settled:
        """Write a batch and end its tasks, all in one transaction; safe to repeat when its outcome is unknown.

        Args:
            prepared: The batch.
            claim: How many tasks to take in the same round trip that completes these.

        Raises:
            LeaseLost: Another owner holds some of the tasks; nothing was changed.
            DatabaseGone: Postgres went away; perhaps everything was changed.
            TargetUnfit: The target table is not what the mapping says.
        """
        try:
            return await self._transact(prepared, claim, careful=False)
        except REFUSED as error:
            if claim and refusals.is_of_the_queue(error):
                return await self.settle(prepared)
            self._check(error)
            if refusals.is_transient(error):
                return await self._put_back(prepared, error)
        try:
            return await self._transact(prepared, 0, careful=True)
        except REFUSED as error:
            self._check(error)
            return await self._put_back(prepared, error)

    def _check(self, error: Refused) -> None:
        if refusals.is_unfit(error):
            raise TargetUnfit(f"the target of {self._entity.name} is not what its mapping says: {error}") from error

    async def _transact(self, prepared: Prepared, claim: int, *, careful: bool) -> Settled:
        async with self._database.transaction() as connection:
            refused: list[Refusal] = []
            if careful:
                done = await self._narrow(connection, prepared.works, refused)
            else:
                done = await effect.write(connection, self._entity, prepared.works)
            outcomes, failures = done.outcomes, [*prepared.invalid, *prepared.unforeseen]
            await self._bury(connection, prepared.invalid, outcomes)
            await self._retry(connection, prepared.unforeseen, outcomes)
            await self._refetch(connection, (*done.refetch, *prepared.incomplete), outcomes)
            failures += await self._refuse(connection, refused, outcomes)
            await self._queue.enqueue(
                connection, await parents.of_written(connection, self._entity, prepared.works, done)
            )
            claimed = await self._complete(connection, done, claim)
            return Settled(
                outcomes=+outcomes, rows=done.rows, altered=done.altered, failures=tuple(failures), claimed=claimed
            )

    async def _complete(self, connection: Connection, done: Effect, claim: int) -> tuple[Task, ...]:
        if not claim:
            await self._queue.complete(connection, done.completions)
            return ()
        return tuple(await self._queue.complete_and_claim(connection, done.completions, self._entity.name, claim))

    async def _narrow(self, connection: Connection, works: Sequence[Work], refused: list[Refusal]) -> Effect:
        """Write what can be written; halve what is refused until single records remain."""
        if not works:
            return Effect()
        try:
            async with connection.savepoint():
                return await effect.write(connection, self._entity, works)
        except REFUSED as error:
            if refusals.is_transient(error) or refusals.is_unfit(error):
                raise
            if len(works) == 1:
                refused.append(refusals.judged(self._entity, works[0], error))
                return Effect()
        middle = len(works) // 2
        first = await self._narrow(connection, works[:middle], refused)
        return first + await self._narrow(connection, works[middle:], refused)

    # --- endings that are no completion

    async def _refuse(
        self, connection: Connection, refused: Iterable[Refusal], outcomes: Counter[str]
    ) -> list[Failure]:
        failures: dict[str, list[Failure]] = {"bury": [], "retry": [], "wait": []}
        changes: list[Change] = []
        waiting: list[Task] = []
        for refusal in refused:
            failures[refusal.fate].append(_failure(refusal.work.task, refusal.code, refusal.message))
            if refusal.fate == "wait":
                waiting.append(refusal.work.task)
                changes += await parents.of_refused(connection, self._entity, refusal.work, refusal.detail)
        await self._bury(connection, failures["bury"], outcomes)
        await self._retry(connection, failures["retry"], outcomes)
        await self._wait(connection, zip(waiting, failures["wait"], strict=True), outcomes)
        await self._queue.enqueue(connection, changes)
        return [failure for listed in failures.values() for failure in listed]

    async def _bury(self, connection: Connection, failures: Sequence[Failure], outcomes: Counter[str]) -> None:
        if failures:
            await self._queue.bury(failures, connection=connection)
            outcomes["buried"] += len(failures)

    async def _retry(self, connection: Connection, failures: Sequence[Failure], outcomes: Counter[str]) -> None:
        if failures:
            moved = await self._queue.retry(failures, connection=connection)
            outcomes["retried"] += len(moved.returned)
            outcomes["buried"] += len(moved.buried)

    async def _wait(
        self, connection: Connection, failures: Iterable[tuple[Task, Failure]], outcomes: Counter[str]
    ) -> None:
        """Put off for as long again as has been waited already: the parent is asked for each time."""
        now = self._now()
        groups: dict[tuple[timedelta, str], list[tuple[int, int]]] = {}
        for task, failure in failures:
            waited = now - (task.snoozed_at or now)
            seconds = timedelta(seconds=round(waited.total_seconds()))
            key = min(max(seconds, _SHORTEST_WAIT), _LONGEST_WAIT), failure.error_message
            groups.setdefault(key, []).append((task.id, task.fence))
        for (wait, reason), leases in groups.items():
            await self._queue.snooze(leases, now + wait, reason, connection=connection)
            outcomes["waiting"] += len(leases)

    async def _refetch(self, connection: Connection, leases: Sequence[tuple[int, int]], outcomes: Counter[str]) -> None:
        if leases:
            moved = await self._queue.refetch(connection, leases, "the delivery is no whole record")
            outcomes["refetched"] = len(moved.returned)
            outcomes["buried"] += len(moved.buried)

    async def _put_back(self, prepared: Prepared, error: Refused) -> Settled:
        """Nothing of the batch is wrong, or nobody can say what: all of it waits and is tried again."""
        code, message = type(error).__name__, str(error).split("\n")[0]
        failures = [_failure(work.task, code, message) for work in prepared.works]
        ended = [*failures, *prepared.invalid, *prepared.unforeseen]
        moved = await self._queue.retry(failures)
        outcomes = Counter[str](retried=len(moved.returned), buried=len(moved.buried))
        async with self._database.transaction() as connection:
            await self._bury(connection, prepared.invalid, outcomes)
            await self._retry(connection, prepared.unforeseen, outcomes)
            await self._refetch(connection, prepared.incomplete, outcomes)
        return Settled(outcomes=+outcomes, failures=tuple(ended))


def _is_unnamed(task: Task) -> bool:
    return task.source_entity_id.startswith(_UNNAMED)


def _failure(task: Task, code: str, message: str, stack: str = "") -> Failure:
    return Failure(id=task.id, fence=task.fence, error_code=code, error_message=message, traceback=stack)
