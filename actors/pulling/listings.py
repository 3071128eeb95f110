"""Full, incremental and balance runs: listings of an entity's sources, and what a complete listing did not show."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct, structs

from actors.pulling import affording, planning
from actors.pulling.desk import Batch, Desk
from actors.zoho.entities import Source
from actors.zoho.listing import Leaf, stamp
from actors.zoho.picking import Page
from tds_runtime import running
from tds_runtime.errors import Outage
from tds_runtime.running import Cursor

MOST_CANDIDATES = 10_000
RESUMED = "the listing was not of one piece: what it did not show may have slipped between its parts, and stays"


class Place(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where a listing goes on: which source, which page; and what its cursor will be.

    `began` is the source's time of the first page: what changes later may have been missed by paging.
    """

    source: int = 0
    page: int = 1
    newest: datetime | None = None
    began: datetime | None = None

    def after(self, leaf: Leaf[Page]) -> Place:
        """The place behind this page."""
        stamps = [row.modified_at for row in leaf.page.rows if row.modified_at is not None]
        newest = max([*stamps, *([self.newest] if self.newest else [])], default=None)
        return structs.replace(self, page=leaf.number + 1, newest=newest, began=self.began or leaf.sent_at)

    @property
    def cursor(self) -> Cursor:
        """Up to where everything has been seen, once the listing is complete."""
        stamps = [stamp for stamp in (self.newest, self.began) if stamp is not None]
        return Cursor(min(stamps) if self.newest else None, self.began)


class Outcome(Struct, frozen=True, kw_only=True):
    """How a listing ended."""

    candidates: int = 0
    alarm: str = ""


# --- full


async def full(desk: Desk) -> Outcome:
    """List every source whole; then ask for what is stored and was not shown, if the listing was of one piece."""
    if not await planning.begin(desk):
        return Outcome()
    place = msgspec.convert(desk.run.position or {}, Place)
    for index, source in enumerate(desk.entity.sources):
        if index >= place.source:
            begin = place if index == place.source else Place(source=index)
            await whole(desk, source, begin, complete=True)
    await desk.clear_pictures()
    if not desk.run.resumed:
        return await _candidates(desk)
    await desk.note("nothing_deleted", RESUMED)
    return Outcome()


async def whole(desk: Desk, source: Source, place: Place, *, complete: bool, params: Mapping[str, str] = {}) -> None:
    """List one source to its end; short outages are waited out and the listing goes on at the page it still wants."""
    params = {**source.order, **params}
    done = False
    while not done:
        try:
            async with desk.client.pages(
                source, _reader(desk, source), params=params, start=place.page, bulk=desk.bulk
            ) as listing:
                async for leaf in listing:
                    place = place.after(leaf)
                    await _write(desk, source, leaf, place, last=not leaf.page.has_more, complete=complete)
            done = True
        except Outage as error:
            await desk.sit_out(error)


def _reader(desk: Desk, source: Source) -> Any:
    return lambda body: desk.picker.page(source, body)


async def _write(
    desk: Desk, source: Source, leaf: Leaf[Page], place: Place, *, last: bool, complete: bool = False
) -> int:
    following = Place(source=place.source + 1) if last else place
    batch = Batch(
        source=source,
        rows=leaf.page.rows,
        asked=desk.asked(leaf.asked_at),
        position=msgspec.to_builtins(following),
        page=leaf.number,
        complete=complete,
        cursor=place.cursor if last else None,
    )
    return await desk.write(batch)


async def _candidates(desk: Desk) -> Outcome:
    """What a complete listing did not show is only a candidate; too many of them are an alarm, not a deletion."""
    total, alarm = 0, ""
    for source in desk.entity.sources:
        variant = desk.entity.variant_of(source)
        missing = await desk.ride(partial(running.missing, desk.database, desk.run, variant, MOST_CANDIDATES))
        total += len(missing.ids)
        allowed = max(desk.options.missing, int(missing.stored * desk.options.missing_share))
        if len(missing.ids) > allowed:
            alarm = "too_many_missing"
            await desk.note("too_many_missing", _refused(len(missing.ids), allowed), "error", stored=missing.stored)
        elif missing.ids and (source.detail_path or not source.paged):
            await desk.note("candidates", ids=list(missing.ids[:100]), count=len(missing.ids))
            await desk.confirm(source, missing.ids)
    return Outcome(candidates=total, alarm=alarm)


def _refused(found: int, allowed: int) -> str:
    return f"{found} stored records were not in a complete listing, more than {allowed}: nothing was deleted"


# --- balances


async def balance(desk: Desk) -> Outcome:
    """List the rows whose amounts move without their stamp; content decides, and nothing is thought to be missing."""
    place = msgspec.convert(desk.run.position or {}, Place)
    for index, source in enumerate(desk.entity.sources):
        if index >= place.source and source.balances:
            begin = place if index == place.source else Place(source=index)
            await whole(desk, source, begin, complete=False)
    return Outcome()


# --- incremental


async def incremental(desk: Desk) -> Outcome:
    """List what changed since the cursor, minus the overlap; whole where the source cannot say, but not every time."""
    place, alarm = msgspec.convert(desk.run.position or {}, Place), ""
    for index, source in enumerate(desk.entity.sources):
        if index >= place.source:
            begin = place if index == place.source else Place(source=index)
            alarm = alarm if await _changed(desk, source, begin) else "over_budget"
    return Outcome(alarm=alarm)


async def _changed(desk: Desk, source: Source, place: Place) -> bool:
    """Bring what changed; false where that takes a whole listing and the day has not enough for it."""
    cursor = await desk.ride(lambda: running.cursor(desk.database, desk.entity.name, source.name))
    overlap = timedelta(seconds=desk.options.overlap)
    if source.modified == "none":
        return await _whole_now_and_then(desk, source, place, cursor)
    if cursor.modified_at is None:
        return await _whole_or_from_now_on(desk, source, place, cursor)
    if source.modified == "filter":
        since = {**source.sort, "last_modified_time": stamp(cursor.modified_at - overlap)}
        await whole(desk, source, place, complete=False, params=since)
    else:
        await _newest_first(desk, source, Place(source=place.source), cursor.modified_at)
    return True


async def _whole_or_from_now_on(desk: Desk, source: Source, place: Place, cursor: Cursor) -> bool:
    """The first time everything is a change; beyond the day's calls it begins now, and a full run brings the rest."""
    if await affording.affords_whole(desk, source, cursor):
        await _history(desk, source, place)
        return True
    await desk.save_cursor(source, Cursor(desk.client.now()))
    return False


async def _history(desk: Desk, source: Source, place: Place) -> None:
    """List everything for the first time: what a full run does, so this run leaves the reserve alone from here on."""
    desk.bulk = True
    await whole(desk, source, place, complete=False)


async def _whole_now_and_then(desk: Desk, source: Source, place: Place, cursor: Cursor) -> bool:
    """A source that cannot be asked for changes is listed whole, unless that was done not long ago."""
    age = (desk.client.now() - cursor.scanned_at).total_seconds() if cursor.scanned_at else None
    if age is not None and 0 <= age < desk.options.scan_every and not desk.run.args.get("force"):
        await desk.note("skipped", f"listed whole {age / 60:.0f} minutes ago, it tells no changes")
        return True
    if not await affording.affords_whole(desk, source, cursor):
        return False
    await (whole(desk, source, place, complete=False) if cursor.scanned_at else _history(desk, source, place))
    return True


async def _newest_first(desk: Desk, source: Source, place: Place, seen: datetime) -> None:
    """List the newest first, until nothing new can follow; a source that does not sort is read to its end."""
    done = False
    while not done:
        try:
            await _until(desk, source, place, seen)
            done = True
        except Outage as error:  # the listing begins anew: meanwhile the order has changed
            await desk.sit_out(error)


async def _until(desk: Desk, source: Source, place: Place, seen: datetime) -> None:
    """Read on while there are changes, behind the cursor as far as the overlap.

    A page that is all behind the cursor and holds no change ends it too: a bulk import gives thousands of records one
    stamp, and they need not be read again every hour.
    """
    mark = seen - timedelta(seconds=desk.options.overlap)
    async with desk.client.pages(source, _reader(desk, source), params=source.sort, bulk=desk.bulk, ahead=0) as listing:
        async for leaf in listing:
            place = place.after(leaf)
            last = not leaf.page.has_more or _ends_before(leaf.page, mark)
            changed = await _write(desk, source, leaf, place, last=last)
            if last:
                break
            if not changed and _ends_before(leaf.page, seen + timedelta(microseconds=1)):
                await desk.save_cursor(source, place.cursor)
                break


def _ends_before(page: Page, mark: datetime) -> bool:
    """Whether everything behind this page is older than the mark: only if the page is sorted as was asked."""
    stamps = [row.modified_at for row in page.rows if row.modified_at is not None]
    if not stamps or len(stamps) < len(page.rows) or page.sort_column not in {"", "last_modified_time"}:
        return False
    return stamps[-1] < mark and all(one >= other for one, other in pairwise(stamps))
