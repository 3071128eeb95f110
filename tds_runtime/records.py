"""What version of each record is stored, and whether a newly seen one goes over it: a record never goes back in time.

The rules are pure (`decide`, `decide_delete`); the statements lock, read and write the table tds_record_state, and add
to the audit trail what an effect changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tds_runtime import sql
from tds_runtime.columns import SEPARATOR
from tds_runtime.database import Connection

Verdict = Literal["write", "unchanged", "superseded", "refetch", "delete"]
Key = tuple[str, str]
"""Entity and id."""
Standing = Literal["here", "gone", "missing", "unknown"]
"""Missing: never heard of, although its entity was listed whole; unknown: it was not, so that means nothing."""

_NOTHING: Mapping[str, str] = {}
_decode_facets = msgspec.json.Decoder(dict[str, str]).decode
_encode = msgspec.json.Encoder().encode


class State(Struct, frozen=True, kw_only=True, gc=False):
    """What is stored of one record.

    Attributes:
        modified_at: The version's own stamp; None for sources that have none.
        observed_at: When it was last seen at the source; the time before the request was sent, or of the delivery.
        tombstoned_at: Since when it is known to be deleted; None while it lives.
        facets: Hash per facet, of whatever version that facet was last seen in.
        current: The facets that were seen in this very version.
    """

    variant: str = ""
    modified_at: datetime | None = None
    observed_at: datetime | None = None
    tombstoned_at: datetime | None = None
    facets: Mapping[str, str] = _NOTHING
    current: frozenset[str] = frozenset()

    def holds(self, modified_at: datetime | None, facets: Mapping[str, str]) -> bool:
        """Whether this version with this content is stored already, so that a pull may drop it."""
        same = modified_at is None or modified_at == self.modified_at
        return same and self.tombstoned_at is None and _agree(self, facets)


class Version(Struct, frozen=True, kw_only=True, gc=False):
    """A version of a record as it was seen.

    Attributes:
        seen_at: Before the request was sent, for a pull; when it was received, for a webhook.
        pulled: Whether we asked for it. Nothing is proven by the time at which a webhook arrives.
        can_refetch: Whether the source can be asked for the record when the order cannot be told.
    """

    modified_at: datetime | None
    seen_at: datetime
    facets: Mapping[str, str]
    pulled: bool
    can_refetch: bool = True
    variant: str = ""


class Audit(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One line of the audit trail, but for what stood there before and after."""

    source_entity_id: str
    action: str
    local_id: str | None = None
    source_modified_at: datetime | None = None
    task_id: int | None = None
    run_id: int | None = None
    correlation_id: str = ""
    reason: str = ""


class Change(Struct, frozen=True, gc=False):
    """A line of the audit trail with JSON objects of what was changed in it, before and after."""

    line: Audit
    before: str | None = None
    after: str | None = None


# --- the rules


def decide(state: State | None, version: Version) -> Verdict:
    """Whether a version that was seen goes over the one that is stored."""
    if state is None:
        return "write"
    if state.tombstoned_at is not None:
        return _resurrection(state, state.tombstoned_at, version)
    if state.modified_at is not None and version.modified_at is not None:
        if version.modified_at > state.modified_at:
            return "write"
        if version.modified_at < state.modified_at:
            return "superseded"
    return _tie(state, version)


def _resurrection(state: State, tombstoned_at: datetime, version: Version) -> Verdict:
    """Only a pull that began after the deletion was known brings a record back; a webhook may be the reason for one."""
    if version.pulled:
        return "write" if version.seen_at > tombstoned_at else "superseded"
    known, claimed = state.modified_at, version.modified_at
    if known is not None and claimed is not None and claimed <= known:
        return "superseded"
    return "refetch" if version.can_refetch else "superseded"


def _tie(state: State, version: Version) -> Verdict:
    """Equal stamps, or none: content decides whether anything is new, and only a later look which one is right."""
    if _agree(state, version.facets):
        return "unchanged"
    if not _contradict(state, version.facets):
        return "write"
    if not version.pulled and version.can_refetch:
        return "refetch"
    return "write" if state.observed_at is None or version.seen_at > state.observed_at else "superseded"


def _agree(state: State, facets: Mapping[str, str]) -> bool:
    return all(name in state.current and state.facets.get(name) == found for name, found in facets.items())


def _contradict(state: State, facets: Mapping[str, str]) -> bool:
    return any(name in state.current and state.facets.get(name) != found for name, found in facets.items())


def decide_delete(state: State | None, seen_at: datetime) -> Verdict:
    """Whether a deletion that was seen at this time holds: not when the record was seen alive later."""
    if state is None:
        return "delete"
    if state.tombstoned_at is not None:
        return "unchanged"
    return "superseded" if state.observed_at is not None and seen_at < state.observed_at else "delete"


def changed(state: State | None, version: Version) -> frozenset[str]:
    """The facets of a version whose content is not what is stored, of whatever version that is."""
    stored = _NOTHING if state is None else state.facets
    return frozenset(name for name, found in version.facets.items() if stored.get(name) != found)


def advanced(state: State | None, version: Version) -> State:
    """The state once a version is written, or was found to be stored already."""
    if state is None or state.tombstoned_at is not None:
        return State(
            variant=version.variant,
            modified_at=version.modified_at or (state.modified_at if state else None),
            observed_at=version.seen_at,
            facets=version.facets,
            current=frozenset(version.facets),
        )
    newer = (
        state.modified_at is not None and version.modified_at is not None and version.modified_at > state.modified_at
    )
    return State(
        variant=version.variant or state.variant,
        modified_at=version.modified_at or state.modified_at,
        observed_at=_later(state.observed_at, version.seen_at),
        facets={**state.facets, **version.facets},
        current=frozenset(version.facets) if newer else state.current.union(version.facets),
    )


def tombstone(state: State | None, seen_at: datetime, modified_at: datetime | None = None, variant: str = "") -> State:
    """The state once a deletion is written; its content is forgotten, so that a resurrection writes everything."""
    return State(
        variant=variant or (state.variant if state else ""),
        modified_at=_later(state.modified_at if state else None, modified_at),
        observed_at=_later(state.observed_at if state else None, seen_at),
        tombstoned_at=seen_at,
    )


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)


# --- the table


async def known(connection: Connection, entity_type: str, ids: Iterable[str]) -> dict[str, State]:
    """What is stored of these records; those never seen are left out."""
    return _states(await connection.fetch(sql.load("records/known"), entity_type, listed(ids)))


async def standing(connection: Connection, keys: Iterable[Key]) -> dict[Key, Standing]:
    """What is known of these records of any entities."""
    asked = [{"entity": entity, "record": record} for entity, record in sorted(keys)]
    rows = await connection.fetch(sql.load("records/standing"), _encode(asked).decode()) if asked else []
    return {(entity, record): found for entity, record, found in rows}


async def lock(connection: Connection, entity_type: str, ids: Iterable[str]) -> dict[str, State]:
    """The same, locked until the caller's transaction ends."""
    return _states(await connection.fetch(sql.load("records/lock"), entity_type, listed(ids)))


def listed(ids: Iterable[str]) -> str:
    """Ids as a statement takes them: as JSON, because an array costs the client several times as much."""
    return _encode(list(ids)).decode()


def _states(rows: Iterable[Any]) -> dict[str, State]:
    return {
        found: State(
            variant=variant,
            modified_at=modified_at,
            observed_at=observed_at,
            tombstoned_at=tombstoned_at,
            facets=_decode_facets(facets),
            current=frozenset(current),
        )
        for found, variant, modified_at, observed_at, tombstoned_at, facets, current in rows
    }


async def write(
    connection: Connection, entity_type: str, states: Mapping[str, State], changes: Sequence[Change]
) -> None:
    """Store states and audit lines in the caller's transaction; `lock` must have come before in it."""
    if not states and not changes:
        return
    await connection.execute(
        sql.load("records/write"),
        entity_type,
        *_columns(states),
        _encode([change.line for change in changes]).decode(),
        SEPARATOR.join([change.before or "" for change in changes]),
        SEPARATOR.join([change.after or "" for change in changes]),
    )


def _columns(states: Mapping[str, State]) -> list[str]:
    ids = sorted(states)
    rows = [states[found] for found in ids]
    columns: list[list[Any]] = [
        ids,
        [row.variant for row in rows],
        [row.modified_at for row in rows],
        [row.observed_at for row in rows],
        [row.tombstoned_at for row in rows],
        [row.facets for row in rows],
        [_as_array(row.current) for row in rows],
    ]
    return [_encode(column).decode() for column in columns]


def _as_array(names: frozenset[str]) -> str:
    """The text of an array; names are of tables, or words of ours."""
    return '{"' + '","'.join(names) + '"}' if names else "{}"


async def forget(connection: Connection, entity_type: str, ids: Iterable[str]) -> int:
    """Drop what is known of these records' content, so that the next pull writes them again; returns how many."""
    tag = await connection.execute(sql.load("records/forget"), entity_type, list(ids))
    return int(tag.rpartition(" ")[2])
