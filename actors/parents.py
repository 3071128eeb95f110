"""Says which records a record refers to, and asks the source for those that are not here.

A foreign key of the ERP makes the record wait for its parent. Without one it is written all the same, and its parent
is asked for when it should be known and is not; not where a pull brought the record: that pull lists the parents too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from msgspec import Struct

from actors.effect import Effect, Work
from actors.zoho.documents import Mapped
from actors.zoho.entities import Entity
from tds_runtime import records
from tds_runtime.database import Connection
from tds_runtime.queue import WEBHOOK, Change
from tds_runtime.records import Key
from tds_runtime.task import REFERRED

_MISSING_KEY = re.compile(r"^Key \((?P<columns>[^)]*)\)=")


class Wanted(Struct, frozen=True):
    """A parent, and the record that refers to it."""

    parent: Key
    child: Work


async def of_written(connection: Connection, entity: Entity, works: Iterable[Work], done: Effect) -> list[Change]:
    """Fetches of missing parents, for the webhooks among the works that were applied.

    Before an entity was listed whole for the first time all of it is unknown, and that listing will bring it.
    """
    applied = {completion.id for completion in done.completions if completion.outcome == "applied"}
    told = [work for work in works if work.task.id in applied and work.task.priority <= WEBHOOK]
    wanted = {key: Wanted(key, work) for work in told for key in referred(entity, work.mapped)}
    found = await records.standing(connection, wanted)
    return [_fetch(entity, one) for key, one in sorted(wanted.items()) if found[key] == "missing"]


async def of_refused(connection: Connection, entity: Entity, work: Work, detail: str) -> list[Change]:
    """Fetches of the parents that a foreign key misses; not of those that the source is known not to have.

    `detail` is what the server said, which names the column. A parent that should be here and is not (somebody has
    deleted its row) is forgotten first, or the fetch would find nothing new.
    """
    wanted = missed(entity, work.mapped, detail)
    found = await records.standing(connection, wanted)
    for parent, record in sorted(key for key in wanted if found[key] == "here"):
        await records.forget(connection, parent, [record])
    return [_fetch(entity, Wanted(key, work)) for key in sorted(wanted) if found[key] != "gone"]


def missed(entity: Entity, mapped: Mapped | None, detail: str) -> set[Key]:
    """The parents in the column that the server named, or all of them when it named none of ours."""
    found = referred(entity, mapped)
    named = _MISSING_KEY.match(detail)
    columns = named["columns"].split(", ") if named else []
    return {key for key, column in found.items() if column in columns} or set(found)


def referred(entity: Entity, mapped: Mapped | None) -> dict[Key, str]:
    """Every record that this one and its children refer to, with the column that says so."""
    return {} if mapped is None else dict(_references(entity, mapped))


def _references(entity: Entity, mapped: Mapped) -> Iterator[tuple[Key, str]]:
    rows = [(entity.target.fields, mapped.values)]
    for children in entity.target.children:
        rows += [(children.fields, values) for values in mapped.children.get(children.table, {}).values()]
    for fields, values in rows:
        for field, value in zip(fields, values, strict=True):
            if field.references and isinstance(value, str) and value:
                yield (field.references, value), field.name


def _fetch(entity: Entity, wanted: Wanted) -> Change:
    task = wanted.child.task
    parent, record = wanted.parent
    return Change(
        entity_type=parent,
        source_entity_id=record,
        operation="fetch",
        priority=task.priority,
        run_id=task.run_id,
        correlation_id=task.correlation_id,
        reason=f"{entity.name} {task.source_entity_id} {REFERRED}",
    )
