"""What goes through the queue: a change on its way in, a task in flight, its endings; which of two changes stays."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

Operation = Literal["upsert", "delete", "fetch"]
Kind = Literal["webhook", "list", "detail"]
Outcome = Literal["applied", "unchanged", "superseded", "deleted"]
Verdict = Literal["earlier", "later", "fetch"]

WEBHOOK = 10
INCREMENTAL = 20
FULL = 30

DOUBTED = "said to be deleted"
"""The reason of a fetch that an unsigned word of a deletion caused; intake/store.sql and intake/replay.sql write it."""
REFERRED = "refers to it"
"""How the reason of a fetch ends that another record caused, which names this one."""


class Change(Struct, frozen=True, kw_only=True):
    """Something that happened to a record, seen by a pull or asked for by a person.

    `payload` is the record as JSON (None for delete and fetch); `variant` names the source block, "" if there is
    one only; `coalesced` counts changes that were folded into this one before it reached the queue.
    """

    entity_type: str
    source_entity_id: str
    operation: Operation = "upsert"
    payload: bytes | None = None
    payload_kind: Kind = "list"
    variant: str = ""
    source_modified_at: datetime | None = None
    observed_at: datetime | None = None
    priority: int = FULL
    run_id: int | None = None
    correlation_id: str = ""
    reason: str = ""
    coalesced: int = 0

    @property
    def payload_hash(self) -> bytes | None:
        """Sixteen bytes that tell payloads apart."""
        return None if self.payload is None else digest(self.payload)


class Task(
    Struct, frozen=True, gc=False
):  # positional: one is made for each row claimed, in the order of queue/task.sql
    """A change in flight: (id, fence) is the lease; `payload` is None where only the record's id is known."""

    id: int
    fence: int
    entity_type: str
    source_entity_id: str
    operation: Operation
    priority: int
    attempt_count: int
    payload: bytes | None
    payload_kind: Kind
    variant: str
    content_type: str
    source_modified_at: datetime | None
    observed_at: datetime | None
    enqueued_at: datetime
    snoozed_at: datetime | None
    run_id: int | None
    correlation_id: str
    reason: str
    coalesced: int
    first_inbox_id: int | None
    last_inbox_id: int | None

    @property
    def may_be_missing(self) -> bool:
        """Whether nobody has claimed that the record is there: its absence is an answer, not a failure."""
        return self.reason.endswith((DOUBTED, REFERRED))


class Completion(Struct, frozen=True, gc=False):
    """A task is done; `result` is JSON: the local id, what was done, how many rows changed."""

    id: int
    fence: int
    outcome: Outcome
    result: bytes | None = None


class Failure(Struct, frozen=True, kw_only=True):
    """An attempt failed."""

    id: int
    fence: int
    error_code: str
    error_message: str
    traceback: str = ""


class Fetched(Struct, frozen=True, kw_only=True):
    """What a detail call found: the record, or that it is gone (delete); `variant` None keeps the task's."""

    id: int
    fence: int
    operation: Literal["upsert", "delete"]
    payload: bytes | None = None
    source_modified_at: datetime | None = None
    observed_at: datetime | None = None
    variant: str | None = None


class Enqueued(Struct, frozen=True):
    """Changes accepted, how many of them were folded into a waiting task, and those that were taken at once."""

    accepted: int
    coalesced: int
    taken: tuple[Task, ...] = ()


class Moved(Struct, frozen=True):
    """Ids that really changed: those back in the queue, and those that became dead letters."""

    returned: frozenset[int]
    buried: frozenset[int]

    @property
    def ids(self) -> frozenset[int]:
        """All of them."""
        return self.returned | self.buried


class DeadLetter(Struct, frozen=True, kw_only=True):
    """A burial that nobody has resolved yet."""

    id: int
    task_id: int
    entity_type: str
    source_entity_id: str
    operation: Operation
    error_code: str
    error_message: str
    traceback: str
    attempt_count: int
    attempts: str
    retry_count: int
    correlation_id: str
    last_inbox_id: int | None
    run_id: int | None
    first_buried_at: datetime
    buried_at: datetime


class Selection(Struct, frozen=True, kw_only=True):
    """Which dead letters (or, for `cancel`, waiting tasks): every condition that is given must hold.

    `ids` are the dead letters' own ids (for `cancel` the tasks'); `older_than` is in seconds since the burial;
    `retried_at_most` counts retries by the healer.
    """

    ids: tuple[int, ...] | None = None
    entity_type: str | None = None
    source_entity_id: str | None = None
    error_code: str | None = None
    older_than: float | None = None
    retried_at_most: int | None = None


def digest(payload: bytes) -> bytes:
    """Return sixteen bytes that tell payloads apart."""
    return blake2b(payload, digest_size=16).digest()


def fold(earlier: Change, later: Change) -> Change:
    """Make one change of two of the same record; the function tds_fold in the database decides the same way."""
    decided = verdict(earlier, later)
    kept = earlier if decided == "earlier" else later
    if decided == "fetch":
        kept = replace(later, operation="fetch", payload=None, observed_at=None, reason="ambiguous")
    return replace(
        kept, priority=min(earlier.priority, later.priority), coalesced=earlier.coalesced + later.coalesced + 1
    )


def verdict(earlier: Change, later: Change) -> Verdict:
    """Say which of two changes of one record stays, or that only fetching the record can tell."""
    if later.operation != "upsert":
        return "later"
    if earlier.operation != "upsert":
        return "earlier"
    return _newer(earlier, later) or _of_equal_stamps(earlier, later)


def _newer(earlier: Change, later: Change) -> Verdict | None:
    a, b = earlier.source_modified_at, later.source_modified_at
    if a is None or b is None:
        return "later"
    if a == b:
        return None
    return "earlier" if a > b else "later"


def _of_equal_stamps(earlier: Change, later: Change) -> Verdict:
    a, b = earlier.observed_at, later.observed_at
    if earlier.payload_hash is not None and earlier.payload_hash == later.payload_hash:
        return "earlier"
    if later.payload_kind == "webhook":
        return "fetch"  # the order of arrival proves nothing about webhooks
    if earlier.payload_kind == "webhook":
        observed_after = a is not None and b is not None and b > a
        return "later" if later.payload_kind == "detail" and observed_after else "fetch"
    return "earlier" if a is not None and b is not None and a > b else "later"
