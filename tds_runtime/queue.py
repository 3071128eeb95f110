"""The durable queue: one waiting task per record, one in flight, every ending fenced by (id, fence).

All statements take arrays in id order and say what they really changed; a stale owner changes nothing and learns it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Annotated, Any

import asyncpg
from msgspec import Meta, Struct
from msgspec.structs import replace

from tds_runtime import columns, sql
from tds_runtime.database import Connection, Database
from tds_runtime.errors import LeaseLost
from tds_runtime.handover import Handover
from tds_runtime.oversight import AT_A_TIME, Oversight, Statistics
from tds_runtime.task import (
    FULL,
    INCREMENTAL,
    WEBHOOK,
    Change,
    Completion,
    DeadLetter,
    Enqueued,
    Failure,
    Fetched,
    Moved,
    Operation,
    Selection,
    Task,
    fold,
)
from tds_runtime.trial import SUSPECT, Suspects, Trial
from tds_runtime.values import Duration

__all__ = [
    "FULL", "INCREMENTAL", "WEBHOOK", "Change", "Completion", "DeadLetter", "Enqueued", "Failure", "Fetched", "Moved",
    "Options", "Queue", "Selection", "Statistics", "Task",
]  # fmt: skip

SYNC: tuple[Operation, ...] = ("upsert", "delete")
JSON = "application/json"
MOST = 1000  # the greatest batch; queue/pick.sql says it too
HANDED = 2  # batches that may wait for an entity's actor beside the queue
FORGOTTEN = 3  # times as long as anybody waits for an answer: then a claim that nobody here has heard of is given back


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section [queue]: `batch` tasks a claim, `workers` batches in flight per entity, and how patient failures are."""

    batch: Annotated[int, Meta(ge=1, le=MOST)] = 250
    workers: int = 2
    poll: Duration = Duration("1s")
    lease: Duration = Duration("60s")
    max_attempts: int = 5
    first_delay: Duration = Duration("5s")
    longest_delay: Duration = Duration("15m")
    longest_snooze: Duration = Duration("24h")


class Queue(Oversight):
    """The queue as one process sees it; `boot_id` names the process and so the owner of what it claims."""

    def __init__(
        self, database: Database, *, boot_id: str, options: Options | None = None, random: Random | None = None
    ) -> None:
        options = options or Options()
        super().__init__(database, max_attempts=options.max_attempts)
        self.boot_id = boot_id
        self.options = options
        self.trial = Trial()
        self._in_hand: set[int] = set()
        self._handovers: dict[str, Handover] = {}
        self._random = random or Random()  # noqa: S311 - jitter, not a secret

    async def enqueue(self, connection: Connection, changes: Iterable[Change]) -> Enqueued:
        """Add changes in the caller's transaction, each folded into the waiting task of its record if there is one."""
        given = list(changes)
        if not given:
            return Enqueued(0, 0)
        folded = fold_all(given)
        met = await connection.fetchval(sql.load("queue/enqueue"), *columns.of_changes(folded))
        return Enqueued(len(given), len(given) - len(folded) + met)

    # --- handing over

    def handover(self, entity_type: str) -> Handover:
        """Where tasks of this entity wait that were taken for its actor."""
        return self._handovers.setdefault(entity_type, Handover(HANDED * self.options.batch))

    async def enqueue_taken(self, connection: Connection, changes: Iterable[Change]) -> Enqueued:
        """Like `enqueue`, but what can be worked on at once is taken at once: `hand_over` it once this is committed.

        Raises:
            asyncpg.UniqueViolationError: another claimer was faster with a record; begin anew, with `enqueue`.
        """
        given = list(changes)
        if not given:
            return Enqueued(0, 0)
        folded = fold_all(given)
        rows = await connection.fetch(sql.load("queue/hand_over"), *columns.of_changes(folded), self.boot_id)
        by_key = {(one.entity_type, one.source_entity_id): one for one in folded}
        taken = tuple(
            _task(by_key[entity, record], found, fence, attempt, enqueued_at)
            for _, found, fence, attempt, entity, record, enqueued_at in rows
            if found is not None
        )
        return Enqueued(len(given), len(given) - len(folded) + rows[0][0], taken)

    def hand_over(self, tasks: Sequence[Task]) -> None:
        """Lay down what was taken for its actor, which has to be woken then."""
        self._in_hand.update(task.id for task in tasks)
        for entity_type in {task.entity_type for task in tasks}:
            self.handover(entity_type).put([task for task in tasks if task.entity_type == entity_type])

    # --- working

    async def claim(
        self,
        entity_types: Sequence[str],
        operations: Sequence[Operation] = SYNC,
        limit: int | None = None,
        *,
        suspects: Suspects = "alone",
    ) -> list[Task]:
        """Take up to `limit` tasks (default: a batch) in a transaction of their own, the most urgent and oldest first.

        Either upserts and deletes of one entity, or the fetches of any number of them. Among the former a suspect
        (`trial.SUSPECT`) that is the first in line comes alone; with "skip" others come instead of it.
        """
        limit = limit or self.options.batch
        try:
            rows = await self.database.fetch(*_claim(entity_types, operations, limit, self.boot_id, suspects))
        except asyncpg.UniqueViolationError:
            return []  # another claimer was faster with the same record; the next claim sees it
        return await self._taken(self.database, [Task(*row) for row in rows])

    async def complete(self, connection: Connection, completions: Sequence[Completion]) -> None:
        """Finish tasks in the caller's transaction.

        Raises:
            LeaseLost: at least one lease is another owner's by now; let the transaction roll back.
        """
        if completions:
            finished = await connection.fetchval(sql.load("queue/complete"), *columns.of_completions(completions))
            self._let_go(completions)
            _all_held(finished, len(completions))

    async def complete_and_claim(
        self, connection: Connection, completions: Sequence[Completion], entity_type: str, limit: int | None = None
    ) -> list[Task]:
        """Finish tasks and take the next of the entity in one round trip, in the caller's transaction.

        Nothing is taken while a suspect is the first in line: `claim` takes those.
        """
        rows = await connection.fetch(
            sql.load("queue/complete_and_claim"),
            *columns.of_completions(completions), entity_type, limit or self.options.batch, self.boot_id, "stop",
        )  # fmt: skip
        self._let_go(completions)
        _all_held(rows[0][0], len(completions))
        return await self._taken(connection, [Task(*row[1:]) for row in rows if row[1] is not None])

    async def retry(self, failures: Sequence[Failure], *, connection: Connection | None = None) -> Moved:
        """Let failed tasks wait with backoff and full jitter; those without attempts left become dead letters."""
        options, ordered = self.options, columns.by_id(failures)
        jitter = [self._random.uniform(0.0, 1.0) for _ in ordered]
        return await self._move(
            connection, "retry", *columns.of_failures(ordered), jitter,
            options.max_attempts, options.first_delay, options.longest_delay, self.boot_id,
        )  # fmt: skip

    async def bury(self, failures: Sequence[Failure], *, connection: Connection | None = None) -> Moved:
        """Make failed tasks dead letters at once: no retry can mend them."""
        return await self._move(connection, "bury", *columns.of_failures(columns.by_id(failures)), self.boot_id)

    async def snooze(
        self,
        leases: Iterable[tuple[int, int]],
        until: datetime | None,
        reason: str,
        *,
        connection: Connection | None = None,
    ) -> Moved:
        """Put tasks off until a time without spending the attempt; `longest_snooze` after the first they are buried."""
        limit = self.options.longest_snooze
        return await self._move(connection, "snooze", *columns.of_leases(leases), until, reason, limit)

    async def release(self, leases: Iterable[tuple[int, int]], *, connection: Connection | None = None) -> Moved:
        """Give tasks back untouched, the attempt refunded."""
        return await self._move(connection, "release", *columns.of_leases(leases))

    async def fetched(
        self, connection: Connection | None, answers: Sequence[Fetched], held: Mapping[int, Task] | None = None
    ) -> tuple[Task, ...]:
        """Turn fetches into the upserts and deletes that their detail calls found; they wait for their entity then.

        Those of `held` stay in flight while their entity's actor has room for them; they are returned, to be handed
        over once this is committed. A suspect does not: it has to be claimed alone.
        """
        if not answers:
            return ()
        ordered, staying = columns.by_id(answers), self._staying(held or {})
        rows = await (connection or self.database).fetch(
            sql.load("queue/fetched"), *columns.of_answers(ordered), [one.id in staying for one in ordered]
        )
        self._in_hand.difference_update(one.id for one in ordered)
        kept = {row["id"] for row in rows if row["kept"]}
        return tuple(_answered(staying[one.id], one) for one in ordered if one.id in kept)

    def _staying(self, held: Mapping[int, Task]) -> Mapping[int, Task]:
        by_entity: dict[str, list[Task]] = {}
        for task in held.values():
            if task.attempt_count < SUSPECT:
                by_entity.setdefault(task.entity_type, []).append(task)
        having = (tasks for name, tasks in by_entity.items() if self.handover(name).has_room(len(tasks)))
        return {task.id: task for tasks in having for task in tasks}

    async def refetch(self, connection: Connection | None, leases: Iterable[tuple[int, int]], reason: str) -> Moved:
        """Turn tasks whose payload is no whole or no trustworthy record into fetches; without attempts left: buried."""
        return await self._move(connection, "refetch", *columns.of_leases(leases), reason, self.options.max_attempts)

    async def return_own(self, entity_types: Sequence[str], operations: Sequence[Operation] = SYNC) -> Moved:
        """Put back what an earlier incarnation in this process held: the first act of every worker."""
        attempts = self.options.max_attempts
        return await self._sweep(
            "return_own", "worker_lost", attempts, self.boot_id, list(entity_types), list(operations), AT_A_TIME
        )

    async def return_expired(self, limit: int = AT_A_TIME) -> Moved:
        """Put back what dead nodes held."""
        return await self._sweep("return_expired", "node_lost", self.options.max_attempts, limit)

    async def return_stuck(self, older_than: float, limit: int = AT_A_TIME) -> Moved:
        """Put back what has been in flight for more than `older_than` seconds, whoever holds it."""
        return await self._sweep("return_stuck", "stuck", self.options.max_attempts, older_than, limit)

    async def return_forgotten(self, limit: int = AT_A_TIME) -> Moved:
        """Give back what this process has claimed without hearing of it, the attempt refunded.

        A server that hangs may carry a claim out long after we gave up waiting for its answer. Whoever really works
        on such a task loses the lease and nothing else, by its fence.
        """
        older_than = FORGOTTEN * self.database.options.command_timeout
        arguments = (self.boot_id, list(self._in_hand), float(older_than), limit)
        found = await self.database.fetch(sql.load("queue/forgotten"), *arguments)
        return await self.release([(row["id"], row["fence"]) for row in found])

    async def promote_due(self, limit: int = AT_A_TIME) -> int:
        """Make claimable what has waited long enough; returns how many."""
        return int(await self.database.fetchval(sql.load("queue/promote_due"), limit))

    async def due(self) -> set[tuple[str, str]]:
        """Return (entity, "upsert") for entities with claimable work, and one (entity, "fetch") if any fetch waits."""
        return {(entity, operation) for entity, operation in await self.database.fetch(sql.load("queue/due"))}

    async def tick(self) -> set[tuple[str, str]]:
        """Promote what is due and return what has work, in one round trip: all that an idle node asks each second."""
        rows = await self.database.fetch(sql.load("queue/tick"), AT_A_TIME)
        return {(entity, operation) for entity, operation in rows}

    async def _taken(self, source: Connection | Database, tasks: list[Task]) -> list[Task]:
        self._in_hand.update(task.id for task in tasks)
        return await _whole(source, tasks)

    def _let_go(self, completions: Iterable[Completion]) -> None:
        self._in_hand.difference_update(completion.id for completion in completions)

    async def _move(self, connection: Connection | None, name: str, ids: list[int], *arguments: Any) -> Moved:
        if not ids:
            return Moved(frozenset(), frozenset())
        source = connection or self.database
        moved = _moved(await source.fetch(sql.load(f"queue/{name}"), ids, *arguments))
        self._in_hand.difference_update(ids)
        return moved

    async def _sweep(self, name: str, *arguments: Any) -> Moved:
        moved = _moved(await self.database.fetch(sql.load(f"queue/{name}"), *arguments))
        self._in_hand.difference_update(moved.ids)
        return moved


def fold_all(changes: Iterable[Change]) -> list[Change]:
    """Fold changes of the same record, in order of arrival; one per record remains."""
    kept: dict[tuple[str, str], Change] = {}
    for change in changes:
        key = (change.entity_type, change.source_entity_id)
        kept[key] = fold(kept[key], change) if key in kept else change
    return list(kept.values())


def _task(change: Change, identity: int, fence: int, attempt: int, enqueued_at: datetime) -> Task:
    """The task that a change has become."""
    return Task(
        identity,
        fence,
        change.entity_type,
        change.source_entity_id,
        change.operation,
        change.priority,
        attempt,
        change.payload,
        change.payload_kind,
        change.variant,
        JSON,
        change.source_modified_at,
        change.observed_at,
        enqueued_at,
        None,
        change.run_id,
        change.correlation_id,
        change.reason,
        change.coalesced,
        None,
        None,
    )


def _answered(task: Task, answer: Fetched) -> Task:
    """The task that a fetch has become."""
    return replace(
        task,
        operation=answer.operation,
        payload=answer.payload,
        payload_kind="detail",
        variant=task.variant if answer.variant is None else answer.variant,
        content_type=JSON,
        source_modified_at=answer.source_modified_at,
        observed_at=answer.observed_at,
        snoozed_at=None,
    )


def _claim(
    entity_types: Sequence[str], operations: Sequence[Operation], limit: int, boot_id: str, suspects: Suspects
) -> tuple[Any, ...]:
    """The statement and its arguments."""
    if tuple(operations) == ("fetch",):
        return sql.load("queue/claim_fetch"), list(entity_types), limit, boot_id
    if set(operations) != set(SYNC) or len(entity_types) != 1:
        raise ValueError("claim upserts and deletes of one entity, or fetches")
    return sql.load("queue/claim"), entity_types[0], limit, boot_id, suspects


async def _whole(source: Connection | Database, tasks: list[Task]) -> list[Task]:
    """Add the payloads that came into the inbox after the claim had begun; those that were pruned stay None."""
    missing = [task.id for task in tasks if task.payload is None and task.operation == "upsert"]
    if not missing:
        return tasks
    bodies = dict(await source.fetch(sql.load("queue/bodies"), missing))
    return [replace(task, payload=bodies[task.id]) if task.id in bodies else task for task in tasks]


def _moved(rows: Sequence[Any]) -> Moved:
    return Moved(
        frozenset(task for task, buried in rows if not buried), frozenset(task for task, buried in rows if buried)
    )


def _all_held(finished: int, given: int) -> None:
    if finished != given:
        raise LeaseLost(f"{given - finished} of {given} tasks belong to another owner by now")
