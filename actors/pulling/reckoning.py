"""What listing a source takes, in calls: its pages, and the details of what is not stored as it is there."""

from __future__ import annotations

from msgspec import Struct

from actors.pulling import sift
from actors.pulling.desk import Desk
from actors.zoho.entities import Source
from actors.zoho.listing import pages, stamp
from tds_runtime import running, sql
from tds_runtime.running import Cursor


class Need(Struct, frozen=True, kw_only=True):
    """What one source will take."""

    api: str
    records: int | None
    pages: int
    details: int

    @property
    def calls(self) -> int:
        return self.pages + self.details


async def need(desk: Desk, source: Source) -> Need:
    """What listing this source whole takes, with the details of what is not stored as it is there; up to two calls."""
    records = await desk.count(source)
    listed = await listing(desk, source, records) if source.paged else 1
    due = 0 if records is None or source.details != "changed" else await _details(desk, source, records)
    return Need(api=source.api, records=records, pages=listed, details=due)


async def listing(desk: Desk, source: Source, records: int | None = None) -> int:
    """Calls that list so many records; as many as are stored where the source does not tell."""
    if records is None:
        records, _ = await stored(desk, source, Cursor())
    return pages(records, desk.client.options.page_size)


def details(*, records: int, changed: int | None, stored: int, newer: int) -> int:
    """Records of which a detail call is due.

    `changed` of the source's records are at or behind the cursor, `newer` of the `stored` ones are; without a
    count of the changed ones only those are known that are not stored at all.
    """
    if changed is None:
        return max(0, records - stored)
    return max(0, changed - newer) + max(0, records - changed - (stored - newer))


async def _details(desk: Desk, source: Source, records: int) -> int:
    if _takes_all(desk):
        return records
    cursor = await _cursor(desk, source)
    changed = await _changed(desk, source, cursor)
    known, newer = await stored(desk, source, cursor)
    return details(records=records, changed=changed, stored=known, newer=newer)


def _takes_all(desk: Desk) -> bool:
    return bool(desk.run.args.get("force")) or desk.run.kind == "price_list"


async def _cursor(desk: Desk, source: Source) -> Cursor:
    return await desk.ride(lambda: running.cursor(desk.database, desk.entity.name, source.name))


async def _changed(desk: Desk, source: Source, cursor: Cursor) -> int | None:
    """How many records changed since the cursor, where the source can count that."""
    if source.modified != "filter" or cursor.modified_at is None:
        return None
    return await desk.count(source, {"last_modified_time": stamp(cursor.modified_at)})


async def stored(desk: Desk, source: Source, cursor: Cursor) -> tuple[int, int]:
    """How many records are stored as whole as a run leaves them, and how many of these are newer than the cursor."""
    by_detail = source.details == "changed" and sift.has_detail(desk.entity)
    facets = ["detail"] if by_detail else []
    values = (desk.entity.name, desk.entity.variant_of(source), facets, cursor.modified_at)
    row = await desk.ride(lambda: desk.database.fetchrow(sql.load("pulling/stored", package="actors"), *values))
    assert row is not None
    return row["stored"], row["newer"]
