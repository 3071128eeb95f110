"""One record on its way through an effect: what came, what was stored, what was decided, what changed."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from actors.zoho.changes import Object
from actors.zoho.documents import Mapped, Values
from tds_runtime import records
from tds_runtime.queue import Task
from tds_runtime.records import State, Verdict, Version


class Case(Struct, kw_only=True, eq=False, gc=False):
    """Filled in step by step while its transaction runs, and gone with it.

    The garbage collector need not look at it (gc=False): thousands live briefly, and none is part of a cycle.

    Attributes:
        mapped: The document; None for a deletion.
        old: The row as it stands; None when there is none.
        row: The row as it is to be; None when nothing changes in it.
        facets: The facets to write.
        action: What the audit trail will call it; empty when nothing changes.
        after: What the audit trail will say; of an insert what it says beside the row.
        rows: Rows written or removed, children included.
    """

    id: str
    task: Task
    mapped: Mapped | None
    state: State | None
    verdict: Verdict | None = None
    version: Version | None = None
    old: Values | None = None
    row: Values | None = None
    local_id: str | None = None
    facets: frozenset[str] = frozenset()
    action: str = ""
    before: Object | None = None
    after: Object | None = None
    rows: int = 0

    @classmethod
    def of(cls, task: Task, mapped: Mapped | None, state: State | None) -> Case:
        """The case as it begins."""
        return cls(id=task.source_entity_id, task=task, mapped=mapped, state=state)

    @property
    def seen_at(self) -> datetime:
        """When the record was like this at the source."""
        return self.task.observed_at or self.task.enqueued_at

    def judge(self, *, can_refetch: bool) -> None:
        """Decide, once the document is whole."""
        if self.mapped is None:
            self.verdict = records.decide_delete(self.state, self.seen_at)
            return
        self.version = Version(
            modified_at=self.mapped.modified_at or self.task.source_modified_at,
            seen_at=self.seen_at,
            facets=self.mapped.facets,
            pulled=self.task.payload_kind != "webhook",
            can_refetch=can_refetch,
            variant=self.mapped.variant,
        )
        self.verdict = records.decide(self.state, self.version)

    def note(self, before: Object | None, after: Object | None) -> None:
        """Add to what the audit trail will say."""
        if before is not None:
            self.before = {**(self.before or {}), **before}
        if after is not None:
            self.after = {**(self.after or {}), **after}
