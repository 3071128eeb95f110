"""Says of one record whether both sides agree: pure, so that what a comparison calls wrong can be reasoned about.

A listing shows the columns that list rows have; the rest, details and child rows, is held against the hashes that the
record state keeps of what was written last.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from actors.reconciling.tally import Finding
from actors.zoho import payload
from actors.zoho.documents import CONTAINED, Fault, Mapped, RecordInvalid
from actors.zoho.entities import Entity, Source
from actors.zoho.matching import Difference, Look, differences
from actors.zoho.payload import Malformed
from actors.zoho.picking import Listed

STAMP = "@modified"
"""Stands for a column where the source has a newer version whose details nobody has seen here."""

_LISTED = frozenset(CONTAINED["list"])


class Record(Struct, frozen=True, kw_only=True):
    """A record as the listing showed it; `asked_at` is the database's time before the page was asked for.

    `mapped` is None where it cannot be mapped; `faults` say why.
    """

    id: str
    raw: bytes
    source: Source
    asked_at: datetime
    modified_at: datetime | None
    mapped: Mapped | None
    faults: tuple[Fault, ...] = ()


def listed(entity: Entity, source: Source, row: Listed, asked_at: datetime) -> Record:
    """Map a row of a listing."""
    mapped: Mapped | None = None
    faults: tuple[Fault, ...] = ()
    try:
        mapped = entity.shape.map(payload.parse(row.raw), "list", source.name)
    except RecordInvalid as error:
        faults = error.faults
    except Malformed as error:
        faults = (Fault("document", str(error)),)
    return Record(
        id=row.id,
        raw=row.raw,
        source=source,
        asked_at=asked_at,
        modified_at=row.modified_at,
        mapped=mapped,
        faults=faults,
    )


Wrong = tuple[Literal["missing", "different"], tuple[Difference, ...]]


def judge(entity: Entity, record: Record, look: Look) -> Wrong | None:
    """What is wrong with a record, None when both sides agree in every column that the listing has."""
    if look.row is None:
        return "missing", ()
    if record.mapped is None:
        return "different", tuple(Difference(fault.column, f"invalid: {fault.reason}", None) for fault in record.faults)
    found = differences(entity, record.mapped, look.row)
    if record.source.details == "changed" and _is_newer(record, look):
        known = look.state.modified_at if look.state else None
        found = (*found, Difference(STAMP, record.modified_at, known))
    return ("different", found) if found else None


def _is_newer(record: Record, look: Look) -> bool:
    """Whether the source has a version whose lines, which no list row shows, were not fetched."""
    known = look.state.modified_at if look.state else None
    return record.modified_at is not None and known is not None and record.modified_at > known


def is_in_flight(record: Record, look: Look) -> bool:
    """Whether it is still on its way, or changed here after the page that is compared was asked for."""
    if look.waiting:
        return True
    state = look.state
    if state is None:
        return False
    seen = state.observed_at if look.row is not None else state.tombstoned_at
    return seen is not None and seen > record.asked_at


def altered(entity: Entity, look: Look) -> tuple[str, ...]:
    """The parts of a row that no listing shows and that are not what was written last: `detail`, tables of children."""
    if look.row is None or look.state is None:
        return ()
    known, found = look.state.facets, entity.shape.hashes(look.row.values, look.row.children)
    return tuple(
        facet
        for facet, now in found.items()
        if facet not in _LISTED and _is_comparable(known.get(facet, ""), now) and now != known[facet]
    )


def _is_comparable(known: str, now: str) -> bool:
    """A hash of another length is of an older release, which took child rows in another order."""
    return len(known) == len(now)


def finding(record: Record, wrong: Wrong, look: Look) -> Finding:
    """A record of the listing that does not match."""
    kind, found = wrong
    return Finding(
        record=record.id,
        kind="in_flight" if is_in_flight(record, look) else kind,
        variant=record.source.name,
        local_id=look.row.local_id if look.row else None,
        differences=found,
    )
