"""What findings do to their tasks, many in one transaction: documents go to their entity, the gone are deleted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from msgspec import Struct

from actors.fetching.asking import Failed, Finding, Found, Gone, Pictured, Refused, Untried
from tds_runtime import logs, records, running, sql
from tds_runtime.database import Connection, Database
from tds_runtime.queue import Queue
from tds_runtime.running import Cost
from tds_runtime.task import Completion, Failure, Fetched, Task

log = logs.get("fetcher")

MISSING = "source_record_missing"


class Settled(Struct, frozen=True, kw_only=True):
    """What was done, for the log and the counters; whose turn it is now, and how many documents wait in the queue."""

    outcomes: dict[str, int]
    entities: frozenset[str]
    waiting: Counter[str]


async def settle(
    database: Database, queue: Queue, findings: Sequence[Finding], costs: Mapping[int, Cost] | None = None
) -> Settled:
    """Everything these findings mean, in one transaction; leases that were lost meanwhile change nothing.

    `costs` is what their calls cost, by run.
    """
    sorted_ = _Sorted(findings)
    async with database.transaction() as connection:
        deletes, graves = await _judge(connection, sorted_.gone)
        answers = [*(_fetched(one) for one in sorted_.found), *deletes]
        held = {task.id: task for task in sorted_.asked}
        taken = await queue.fetched(connection, answers, held)
        if graves or sorted_.final:
            await queue.bury([*graves, *sorted_.final], connection=connection)
        if sorted_.failed:
            await queue.retry(sorted_.failed, connection=connection)
        if sorted_.untried:
            await queue.release(sorted_.untried, connection=connection)
        for (until, reason), leases in sorted_.refused.items():
            await queue.snooze(leases, until, reason, connection=connection)
        await _keep_pictures(connection, queue, sorted_.pictured)
        await running.spend(connection, costs or {})  # last: a run's row is waited for by whoever lists it
    queue.hand_over(taken)
    return Settled(
        outcomes=sorted_.outcomes(len(deletes), len(graves)),
        entities=frozenset(
            {one.task.entity_type for one in sorted_.found} | {one.task.entity_type for one in sorted_.gone}
        ),
        waiting=Counter(one.task.entity_type for one in sorted_.found)
        - Counter(task.entity_type for task in taken if task.operation == "upsert"),
    )


class _Sorted:
    """Findings by what they mean for the queue."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.found: list[Found] = []
        self.gone: list[Gone] = []
        self.final: list[Failure] = []
        self.failed: list[Failure] = []
        self.untried: list[tuple[int, int]] = []
        self.refused: dict[tuple[datetime, str], list[tuple[int, int]]] = defaultdict(list)
        self.pictured: list[Pictured] = []
        for finding in findings:
            self._sort(finding)

    @property
    def asked(self) -> list[Task]:
        """The tasks whose calls were answered, with a document or with its absence."""
        return [one.task for one in self.found] + [one.task for one in self.gone]

    def _sort(self, finding: Finding) -> None:
        match finding:
            case Found():
                self.found.append(finding)
            case Gone():
                self.gone.append(finding)
            case Failed(final=True):
                self.final.append(_failure(finding.task, finding.code, finding.message))
            case Failed():
                self.failed.append(_failure(finding.task, finding.code, finding.message))
            case Untried():
                self.untried.append(_lease(finding.task))
            case Refused():
                self.refused[finding.until.replace(microsecond=0), finding.reason].append(_lease(finding.task))
            case Pictured():
                self.pictured.append(finding)

    def outcomes(self, deleted: int, buried: int) -> dict[str, int]:
        counts = {
            "fetched": len(self.found),
            "deleted": deleted,
            "buried": buried + len(self.final),
            "retried": len(self.failed),
            "returned": len(self.untried),
            "put_off": sum(len(leases) for leases in self.refused.values()),
            "pictured": len(self.pictured),
        }
        return {name: count for name, count in counts.items() if count}


async def _judge(connection: Connection, gone: Sequence[Gone]) -> tuple[list[Fetched], list[Failure]]:
    """A record that is stored here and gone there is deleted; one that nobody knows is a dead letter.

    Unless nobody said that it exists: it was said to be deleted, or another record names it. Then it is remembered as
    deleted, and not asked for again and again.
    """
    by_entity: dict[str, list[Gone]] = defaultdict(list)
    for one in gone:
        by_entity[one.task.entity_type].append(one)
    deletes: list[Fetched] = []
    graves: list[Failure] = []
    for entity, missing in by_entity.items():
        known = await records.known(connection, entity, [one.task.source_entity_id for one in missing])
        for one in missing:
            if one.task.source_entity_id in known or one.task.may_be_missing:
                deletes.append(_deleted(one))
            else:
                graves.append(_failure(one.task, MISSING, one.reason))
    return deletes, graves


def _fetched(found: Found) -> Fetched:
    return Fetched(
        id=found.task.id,
        fence=found.task.fence,
        operation="upsert",
        payload=found.detail.raw,
        source_modified_at=found.detail.modified_at,
        observed_at=found.observed_at,
        variant=found.source.name,
    )


def _deleted(gone: Gone) -> Fetched:
    return Fetched(id=gone.task.id, fence=gone.task.fence, operation="delete", observed_at=gone.observed_at)


async def _keep_pictures(connection: Connection, queue: Queue, pictured: Sequence[Pictured]) -> None:
    completions = []
    for one in pictured:
        item, document = one.task.source_entity_id, one.task.variant
        if one.path:
            await connection.execute(
                sql.load("images/save", package="actors"), item, document, one.path, one.content_type, one.size
            )
        else:
            await connection.execute(sql.load("images/remove", package="actors"), item)
        result = msgspec.json.encode({"path": one.path, "bytes": one.size})
        completions.append(Completion(one.task.id, one.task.fence, "applied" if one.path else "deleted", result))
    await queue.complete(connection, completions)


def _failure(task: Task, code: str, message: str) -> Failure:
    return Failure(id=task.id, fence=task.fence, error_code=code, error_message=message[:2000])


def _lease(task: Task) -> tuple[int, int]:
    return task.id, task.fence
