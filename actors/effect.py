"""The effect of a batch, inside one transaction: which versions win, their rows, their children, the audit, the state.

Statements are set-based and in key order; nothing is awaited per record. The caller completes the tasks in the same
transaction, so that a task is done exactly when its effect is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from actors.case import Case
from actors.zoho import changes, rows
from actors.zoho.changes import Object
from actors.zoho.documents import Mapped, Values
from actors.zoho.entities import Entity
from actors.zoho.target import Children, Target
from tds_runtime import records
from tds_runtime.database import Connection
from tds_runtime.queue import Completion, Task
from tds_runtime.records import Audit, Change, State
from tds_runtime.task import Outcome

_encode = msgspec.json.Encoder().encode
_OUTCOMES: Mapping[str, Outcome] = {
    "write": "applied",
    "unchanged": "unchanged",
    "superseded": "superseded",
    "delete": "deleted",
}


class Work(Struct, frozen=True, gc=False):
    """One task with its document; a deletion has none."""

    task: Task
    mapped: Mapped | None


class _Result(Struct, frozen=True, gc=False):
    """What a completed task says of itself."""

    local_id: str | None
    action: str
    rows: int


class Effect(Struct, frozen=True, kw_only=True):
    """What a batch did.

    Attributes:
        completions: Tasks that are done with this transaction.
        refetch: Leases of tasks whose order only the source can tell.
        rows: Rows of target and child tables that were written or removed.
        altered: Ids of records whose table kept something else than it was given (a trigger, a narrower type).
    """

    completions: tuple[Completion, ...] = ()
    refetch: tuple[tuple[int, int], ...] = ()
    rows: int = 0
    altered: tuple[str, ...] = ()

    def __add__(self, other: Effect) -> Effect:
        return Effect(
            completions=self.completions + other.completions,
            refetch=self.refetch + other.refetch,
            rows=self.rows + other.rows,
            altered=self.altered + other.altered,
        )

    @property
    def outcomes(self) -> Counter[str]:
        """How many tasks ended in which way."""
        counted = Counter[str](completion.outcome for completion in self.completions)
        if self.refetch:
            counted["refetched"] = len(self.refetch)
        return counted


async def write(connection: Connection, entity: Entity, works: Sequence[Work]) -> Effect:
    """Apply a batch of one entity, at most one task a record, in the caller's transaction.

    Raises:
        asyncpg.PostgresError: A statement was refused; the caller rolls back and narrows the batch down.
    """
    if not works:
        return Effect()
    ordered = sorted(works, key=lambda work: work.task.source_entity_id)
    states = await records.lock(connection, entity.name, [work.task.source_entity_id for work in ordered])
    cases = [Case.of(work.task, work.mapped, states.get(work.task.source_entity_id)) for work in ordered]
    for case in cases:
        if case.mapped is None or not case.mapped.partial:
            case.judge(can_refetch=entity.can_refetch)
    await _read(connection, entity, [case for case in cases if _needs_row(entity, case)])
    for case in cases:
        if case.verdict is None and case.mapped is not None:
            case.mapped = entity.shape.completed(case.mapped, case.old)
            case.judge(can_refetch=entity.can_refetch)
    altered = await _upsert(connection, entity, [case for case in cases if case.verdict == "write"])
    await _remove(connection, entity, [case for case in cases if case.verdict == "delete"])
    await records.write(
        connection, entity.name, _states(cases), [_change(entity.target, case) for case in cases if case.action]
    )
    return Effect(
        completions=tuple(_completion(case) for case in cases if case.verdict != "refetch"),
        refetch=tuple((case.task.id, case.task.fence) for case in cases if case.verdict == "refetch"),
        rows=sum(case.rows for case in cases),
        altered=altered,
    )


def _needs_row(entity: Entity, case: Case) -> bool:
    return case.verdict in {None, "write"} or (case.verdict == "delete" and entity.on_delete != "keep")


async def _read(connection: Connection, entity: Entity, cases: Sequence[Case]) -> None:
    """Lock and read the rows as they stand, so that the audit says what was really there."""
    if not cases:
        return
    found = await connection.fetch(entity.target.read, records.listed(case.id for case in cases))
    if not found:
        return
    stored = {row[0]: row for row in found}
    for case in cases:
        row = stored.get(case.id)
        if row is not None:
            case.local_id = row[1]
            case.old = changes.stored_values(entity.target.fields, tuple(row)[2:])


# --- rows that are written


async def _upsert(connection: Connection, entity: Entity, cases: Sequence[Case]) -> tuple[str, ...]:
    for case in cases:
        _merge(entity, case)
    altered = await _upsert_rows(connection, entity, [case for case in cases if case.row is not None])
    for children in entity.target.children:
        concerned = [case for case in cases if children.table in case.facets]
        if concerned:
            await _replace_children(connection, children, concerned)
    return altered


def _merge(entity: Entity, case: Case) -> None:
    assert case.mapped is not None, "only documents are written"
    assert case.version is not None, "judged before"
    fields = entity.target.fields
    missing = case.old is None
    case.facets = frozenset(case.mapped.facets) if missing else records.changed(case.state, case.version)
    row = changes.merged(fields, case.mapped, case.old, case.facets)
    if row != case.old:
        case.row = row
        case.action = "insert" if missing else "update"
        if not missing:
            case.note(*changes.difference(fields, case.old, row))


async def _upsert_rows(connection: Connection, entity: Entity, cases: Sequence[Case]) -> tuple[str, ...]:
    if not cases:
        return ()
    given = rows.columns([(case.id, *case.row) for case in cases if case.row is not None])
    written = {row[0]: row for row in await connection.fetch(entity.target.upsert, *given)}
    for case in cases:
        if case.id in written:
            case.local_id = written[case.id][1]
            case.rows += 1
    return tuple(case.id for case in cases if case.id not in written or not written[case.id][2])


async def _replace_children(connection: Connection, children: Children, cases: Sequence[Case]) -> None:
    old = await _children(connection, children, [case for case in cases if case.old is not None])
    removed: list[tuple[str, str]] = []
    written: list[tuple[Any, ...]] = []
    for case in cases:
        assert case.mapped is not None, "only documents have children"
        before = old.get(case.id, {})
        gone, new = changes.children_difference(children.fields, before, case.mapped.children[children.table])
        if gone or new:
            removed += [(case.id, key) for key in gone]
            written += [(case.id, key, *values) for key, values in new.items()]
            _note_children(case, children, changes.children_audit(children.fields, before, gone, new))
            case.rows += len(gone) + len(new)
    if removed:
        await connection.execute(children.remove, *map(list, zip(*removed, strict=True)))
    if written:
        await connection.execute(children.upsert, f"[{','.join(map(children.text, written))}]")


def _note_children(case: Case, children: Children, difference: tuple[Object, Object]) -> None:
    before, after = difference
    case.action = case.action or "update"
    case.note({children.table: before} if case.action != "insert" else None, {children.table: after})


async def _children(connection: Connection, children: Children, cases: Sequence[Case]) -> dict[str, dict[str, Values]]:
    found: dict[str, dict[str, Values]] = {}
    if cases:
        for row in await connection.fetch(children.read, [case.id for case in cases]):
            found.setdefault(row[0], {})[row[1]] = changes.stored_values(children.fields, tuple(row)[2:])
    return found


# --- rows that go


async def _remove(connection: Connection, entity: Entity, cases: Sequence[Case]) -> None:
    present = [case for case in cases if case.old is not None]
    if not present or entity.on_delete == "keep":
        return
    if entity.on_delete == "deactivate":
        await _deactivate(connection, entity, present)
    else:
        await _delete(connection, entity, present)


async def _deactivate(connection: Connection, entity: Entity, cases: Sequence[Case]) -> None:
    active = next(place for place, field in enumerate(entity.target.fields) if field.name == entity.target.active)
    living = [case for case in cases if case.old is not None and case.old[active] is not False]
    for case in living:
        assert case.old is not None, "only rows that are there are deactivated"
        case.action, case.rows = "deactivate", 1
        case.note({entity.target.active: case.old[active]}, {entity.target.active: False})
    if living:
        await connection.execute(entity.target.deactivate, [case.id for case in living])


async def _delete(connection: Connection, entity: Entity, cases: Sequence[Case]) -> None:
    ids = [case.id for case in cases]
    for case in cases:
        case.action, case.rows = "delete", 1
        case.note(changes.difference(entity.target.fields, case.old, None)[0], None)
    for children in entity.target.children:
        old = await _children(connection, children, cases)
        for case in cases:
            gone = old.get(case.id, {})
            if gone:
                case.note({children.table: changes.children_audit(children.fields, gone, gone, {})[0]}, None)
                case.rows += len(gone)
        if old:
            await connection.execute(children.clear, ids)
    await connection.execute(entity.target.delete, ids)


# --- what is kept about it


def _states(cases: Iterable[Case]) -> dict[str, State]:
    states = {}
    for case in cases:
        if case.verdict == "delete":
            variant, stamp = case.task.variant, case.task.source_modified_at
            states[case.id] = records.tombstone(case.state, case.seen_at, stamp, variant)
        elif case.version is not None and (case.verdict == "write" or _seen_again(case)):
            states[case.id] = records.advanced(case.state, case.version)
    return states


def _seen_again(case: Case) -> bool:
    """Found unchanged: that it was seen later still matters for whoever saw something else earlier."""
    return case.verdict == "unchanged" and case.state is not None and case.state.tombstoned_at is None


def _change(target: Target, case: Case) -> Change:
    line = Audit(
        source_entity_id=case.id,
        action=case.action,
        local_id=case.local_id,
        source_modified_at=case.version.modified_at if case.version else case.task.source_modified_at,
        task_id=case.task.id,
        run_id=case.task.run_id,
        correlation_id=case.task.correlation_id,
        reason=case.task.reason,
    )
    return Change(line, changes.encoded(case.before), _after(target, case))


def _after(target: Target, case: Case) -> str | None:
    after = changes.encoded(case.after)
    if case.action != "insert" or case.row is None:
        return after
    row = target.text(case.row)
    return row if after is None else rows.joined(row, after)


def _completion(case: Case) -> Completion:
    assert case.verdict is not None, "every case is judged"
    stays = case.verdict == "write" and not case.action
    outcome: Outcome = "unchanged" if stays else _OUTCOMES[case.verdict]
    if not case.action:
        return Completion(case.task.id, case.task.fence, outcome)
    return Completion(case.task.id, case.task.fence, outcome, _encode(_Result(case.local_id, case.action, case.rows)))
