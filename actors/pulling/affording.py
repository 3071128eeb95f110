"""Whether a part of a run may take what it takes: whole listings of incremental runs, scheduled sweeps of stock."""

from __future__ import annotations

from datetime import datetime

from msgspec import structs

from actors.pulling import reckoning
from actors.pulling.desk import Desk
from actors.pulling.purses import Purse, Share, enough, purse, purses, reason
from actors.pulling.reckoning import Need
from actors.zoho.client import CHUNK
from actors.zoho.entities import Source
from actors.zoho.listing import pages
from tds_runtime import sql
from tds_runtime.running import Cursor

SWEEPS = 0.75
"""Share of the calls left to bulk work that stock sweeps may take; the rest is for full runs and what changes."""

EARLY = 60.0
"""Seconds by which a sweep may come before its time, since the slots of its schedule are never quite even."""


async def affords_whole(desk: Desk, source: Source, cursor: Cursor) -> bool:
    """Whether an incremental run may list this source whole: as a full run it would not begin beyond what is left."""
    if desk.run.resumed or desk.insists:
        return True
    one = Need(api=source.api, records=None, pages=await reckoning.listing(desk, source), details=0)
    if cursor.scanned_at is None:
        one = await reckoning.need(desk, source)
    own = (await purses(desk, [desk.entity.name]))[source.api]
    share = Share(**structs.asdict(own), needed=one.calls)
    if enough(share, details=one.details):
        return True
    message = f"{source.list_path}: a whole listing {reason(source.api, share)}"
    await desk.note("refused", message, "warning", needed=share.needed, left=share.left)
    return False


async def affords_sweep(desk: Desk, source: Source) -> bool:
    """Whether a scheduled sweep of stock may run now: it stretches where it would use up the day before its end."""
    if desk.run.schedule is None or desk.run.resumed or desk.insists:
        return True
    stored, _ = await reckoning.stored(desk, source, Cursor())
    needed, own = pages(stored, CHUNK), purse(desk, source.api)
    since = await desk.ride(
        lambda: desk.database.fetchval(sql.load("pulling/swept", package="actors"), desk.entity.name)
    )
    wait = 0.0 if since is None else sweep_again(needed, own, desk.client.now()) - since
    if wait <= EARLY and (own.left is None or needed <= own.left):
        return True
    message = f"a sweep takes {needed} calls and the day has {own.left} left for it: they are to last to its end"
    await desk.note("skipped", message, "warning", needed=needed, left=own.left, again_in=round(max(wait, 0.0)))
    return False


def sweep_again(needed: int, own: Purse, now: datetime) -> float:
    """Seconds between two sweeps of so many calls with which the day's calls last to its end; that end at most."""
    if own.left is None or own.resets_at is None:
        return 0.0
    seconds = max(0.0, (own.resets_at - now).total_seconds())
    return min(seconds, seconds * needed / (own.left * SWEEPS)) if own.left else seconds
