"""What a run will take before it takes it: calls by API, against those that the day has left for such work.

A plan is an estimate: records that are stored in an old version are only counted where the source counts what changed.
It need not be exact, because bulk calls stop at the reserve whatever was planned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
import msgspec
from msgspec import Struct, structs

from actors.pulling import sift
from actors.pulling.desk import Desk
from actors.zoho.client import CHUNK
from actors.zoho.entities import Source
from tds_runtime import limiter, logs, running, sql
from tds_runtime.errors import BudgetRefused, RateLimited, SourceAnswerInvalid, SourceDown, SourceRejected
from tds_runtime.running import Cursor

SWEEPS = 0.75
"""Share of the calls left to bulk work that stock sweeps may take; the rest is for full runs and what changes."""

EARLY = 60.0
"""Seconds by which a sweep may come before its time, since the slots of its schedule are never quite even."""

INSIST = 'say --insist, or {"insist": true}, to begin all the same: what the day does not allow waits for the next ones'

log = logs.get("pull")


class Purse(Struct, frozen=True, kw_only=True):
    """What one API allows today; `left` is what bulk work may still use of it, None where nobody counts."""

    a_day: int = 0
    kept: int = 0
    waiting: int = 0
    left: int | None = None
    resets_at: datetime | None = None


class Share(Purse, frozen=True, kw_only=True):
    """What a plan needs of one API."""

    needed: int


class Plan(Struct, frozen=True, kw_only=True):
    """What a run will take.

    Attributes:
        records: What the source counts; None when it does not tell.
        pages: Calls that list.
        details: Calls for one record each, of those that are not stored as they are there.
        refused: Why the run does not begin; "" when it does.
        entities: Of a run of everything: the plan of each of its runs.
    """

    calls: int = 0
    records: int | None = None
    pages: int = 0
    details: int = 0
    apis: dict[str, Share] = {}
    refused: str = ""
    entities: dict[str, Plan] = {}


class Cost(Struct, frozen=True, kw_only=True):
    """What one source will take."""

    api: str
    records: int | None
    pages: int
    details: int

    @property
    def calls(self) -> int:
        return self.pages + self.details


# --- what it takes


def details(*, records: int, changed: int | None, stored: int, newer: int) -> int:
    """Records of which a detail call is due.

    `changed` of the source's records are at or behind the cursor, `newer` of the `stored` ones are; without a
    count of the changed ones only those are known that are not stored at all.
    """
    if changed is None:
        return max(0, records - stored)
    return max(0, changed - newer) + max(0, records - changed - (stored - newer))


def pages(records: int, size: int) -> int:
    """Calls that list so many records: at least one, which says that there are none."""
    return max(1, math.ceil(records / size))


async def cost(desk: Desk, source: Source) -> Cost:
    """What listing this source whole takes, with the details of what is not stored as it is there; up to two calls."""
    records = await desk.client.count(source)
    listing = await _pages(desk, source, records) if source.paged else 1
    due = 0 if records is None or source.details != "changed" else await _details(desk, source, records)
    return Cost(api=source.api, records=records, pages=listing, details=due)


async def _pages(desk: Desk, source: Source, records: int | None) -> int:
    if records is None:
        records, _ = await _stored(desk, source, Cursor())
    return pages(records, desk.client.options.page_size)


async def _details(desk: Desk, source: Source, records: int) -> int:
    if _takes_all(desk):
        return records
    cursor = await _cursor(desk, source)
    changed = await _changed(desk, source, cursor)
    stored, newer = await _stored(desk, source, cursor)
    return details(records=records, changed=changed, stored=stored, newer=newer)


def _takes_all(desk: Desk) -> bool:
    return bool(desk.run.args.get("force")) or desk.run.kind == "price_list"


async def _cursor(desk: Desk, source: Source) -> Cursor:
    return await desk.ride(lambda: running.cursor(desk.database, desk.entity.name, source.name))


async def _changed(desk: Desk, source: Source, cursor: Cursor) -> int | None:
    """How many records changed since the cursor, where the source can count that."""
    if source.modified != "filter" or cursor.modified_at is None:
        return None
    return await desk.client.count(source, {"last_modified_time": stamp(cursor.modified_at)})


async def _stored(desk: Desk, source: Source, cursor: Cursor) -> tuple[int, int]:
    by_detail = source.details == "changed" and sift.has_detail(desk.entity)
    facets = ["detail"] if by_detail else []
    values = (desk.entity.name, variant(desk, source), facets, cursor.modified_at)
    row = await desk.ride(lambda: desk.database.fetchrow(sql.load("pulling/stored", package="actors"), *values))
    assert row is not None
    return row["stored"], row["newer"]


def variant(desk: Desk, source: Source) -> str:
    """The variant that this source's records have; "" where that says nothing."""
    return source.name if len(desk.entity.sources) > 1 else ""


def stamp(moment: datetime) -> str:
    """A time as the source takes it: with an offset, without a fraction and never with a Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+0000")


async def reckon(desk: Desk) -> Plan | None:
    """What a full run of this entity takes; None when the source does not say, which the run itself will meet again."""
    try:
        costs = [await cost(desk, source) for source in desk.entity.sources]
    except (SourceDown, RateLimited, SourceRejected, SourceAnswerInvalid) as error:
        log.warning("count.failed", entity=desk.entity.name, reason=str(error))
        return None
    return summed(costs)


def summed(costs: Sequence[Cost]) -> Plan:
    """One plan of the costs of an entity's sources."""
    apis: dict[str, Share] = {}
    for one in costs:
        before = apis[one.api].needed if one.api in apis else 0
        apis[one.api] = Share(needed=before + one.calls)
    counts = [one.records for one in costs if one.records is not None]
    return Plan(
        calls=sum(one.calls for one in costs),
        records=sum(counts) if len(counts) == len(costs) else None,
        pages=sum(one.pages for one in costs),
        details=sum(one.details for one in costs),
        apis=apis,
    )


# --- what is left


async def purses(desk: Desk, planned: Iterable[str]) -> dict[str, Purse]:
    """What each API allows, less the detail calls that wait for entities other than those that are planned."""
    if all(purse(desk, api).left is None for api in desk.client.caller.budgets):
        return {api: Purse() for api in desk.client.caller.budgets}
    rows = await desk.ride(lambda: desk.database.fetch(sql.load("pulling/waiting", package="actors")))
    own, waiting = set(planned), dict.fromkeys(desk.client.caller.budgets, 0)
    for row in rows:
        if row["entity_type"] not in own and (api := desk.apis.get(row["entity_type"])):
            waiting[api] += row["calls"]
    return {api: purse(desk, api, calls) for api, calls in waiting.items()}


def purse(desk: Desk, api: str, waiting: int = 0) -> Purse:
    """What one API allows, as it told last."""
    budget, reserve = desk.client.caller.budgets[api], desk.client.options.reserve
    left = limiter.spendable(budget, desk.client.now().timestamp(), reserve)
    if left is None:
        return Purse()
    return Purse(
        a_day=budget.limit,
        kept=math.floor(budget.limit * reserve),
        waiting=waiting,
        left=max(0, left - waiting),
        resets_at=datetime.fromtimestamp(budget.resets_at, UTC),
    )


def allot(plans: Mapping[str, Plan], purses: Mapping[str, Purse], *, insist: bool = False) -> dict[str, Plan]:
    """Say of each plan what it may use, the cheapest first, and refuse those for which the day has not enough."""
    spent = dict.fromkeys(purses, 0)
    allotted: dict[str, Plan] = {}
    for name, plan in sorted(plans.items(), key=lambda item: item[1].calls):
        apis = {api: _share(share.needed, purses[api], spent[api]) for api, share in plan.apis.items()}
        short = [(api, share) for api, share in apis.items() if not enough(share, details=plan.details)]
        refused = "" if insist else "; ".join(_reason(api, share) for api, share in short)
        allotted[name] = structs.replace(plan, apis=apis, refused=f"{refused}; {INSIST}" if refused else "")
        for api, share in apis.items():
            spent[api] += 0 if refused else share.needed
    return allotted


def enough(share: Share, *, details: int) -> bool:
    """Whether the day has these calls; who only lists takes few, and need not wait for those that are promised."""
    if share.left is None:
        return True
    return share.needed <= share.left + (0 if details else share.waiting)


def _share(needed: int, one: Purse, spent: int) -> Share:
    left = None if one.left is None else max(0, one.left - spent)
    return Share(**{**structs.asdict(one), "left": left}, needed=needed)


def _reason(api: str, share: Share) -> str:
    until = f"{share.resets_at:%Y-%m-%d %H:%M} UTC" if share.resets_at else "the day ends"
    return (
        f"needs about {share.needed} calls to {api}, {share.left} of the day's {share.a_day} are left for this until "
        f"{until} ({share.kept} are kept for changes, {share.waiting} wait to be made)"
    )


# --- runs


async def begin(desk: Desk) -> bool:
    """Plan a run and write that down; false when only the plan was wanted.

    Raises BudgetRefused when the day has not enough for it; a run that goes on was planned when it began.
    """
    if desk.run.resumed:
        return True
    plan = await _of_part(desk) or await _alone(desk)
    if plan is not None:
        await _keep(desk, plan)
        if plan.refused and not _only_plans(desk):
            raise BudgetRefused(plan.refused)
    return not _only_plans(desk)


def _only_plans(desk: Desk) -> bool:
    return bool(desk.run.args.get("plan"))


async def _of_part(desk: Desk) -> Plan | None:
    if desk.run.parent_id is None:
        return None
    found = await desk.ride(lambda: running.plan_of_part(desk.database, desk.run))
    return msgspec.json.decode(found, type=Plan) if found else None


async def _alone(desk: Desk) -> Plan | None:
    reckoned, name = await reckon(desk), desk.entity.name
    if reckoned is None:
        return None
    return allot({name: reckoned}, await purses(desk, [name]), insist=_insists(desk))[name]


def _insists(desk: Desk) -> bool:
    return bool(desk.run.args.get("insist"))


async def _keep(desk: Desk, plan: Plan) -> None:
    told: dict[str, Any] = msgspec.to_builtins(plan)
    await desk.ride(lambda: running.plan(desk.database, desk.run, told, plan.records))
    await desk.note("planned", plan.refused, "warning" if plan.refused else "info", **_without_entities(told))


def _without_entities(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in {"entities", "refused"}}


async def begin_all(desks: Sequence[Desk]) -> None:
    """Plan a run of everything before it becomes a run per entity, and write that down; each part reads its own."""
    reckoned: dict[str, Plan] = {}

    async def one(desk: Desk) -> None:
        if plan := await reckon(desk):
            reckoned[desk.entity.name] = plan

    async with anyio.create_task_group() as group:
        for desk in desks:
            group.start_soon(one, desk)
    if reckoned:
        found = await purses(desks[0], reckoned)
        await _keep(desks[0], whole(allot(reckoned, found, insist=_insists(desks[0])), found))


def whole(plans: Mapping[str, Plan], found: Mapping[str, Purse]) -> Plan:
    """The plan of everything: the sums, what each API allows, and the plans of the parts."""
    needed = dict.fromkeys(found, 0)
    for plan in plans.values():
        for api, share in plan.apis.items():
            needed[api] += share.needed
    counts = [plan.records for plan in plans.values() if plan.records is not None]
    refused = sorted(name for name, plan in plans.items() if plan.refused)
    return Plan(
        calls=sum(plan.calls for plan in plans.values()),
        records=sum(counts),
        pages=sum(plan.pages for plan in plans.values()),
        details=sum(plan.details for plan in plans.values()),
        apis={api: Share(**structs.asdict(one), needed=needed[api]) for api, one in found.items()},
        refused=f"not begun: {', '.join(refused)}" if refused else "",
        entities=dict(plans),
    )


# --- parts of incremental and stock runs


async def affords_whole(desk: Desk, source: Source, cursor: Cursor) -> bool:
    """Whether an incremental run may list this source whole: as a full run it would not begin beyond what is left."""
    if desk.run.resumed or _insists(desk):
        return True
    one = Cost(api=source.api, records=None, pages=await _pages(desk, source, None), details=0)
    if cursor.scanned_at is None:
        one = await cost(desk, source)
    own = (await purses(desk, [desk.entity.name]))[source.api]
    share = Share(**structs.asdict(own), needed=one.calls)
    if enough(share, details=one.details):
        return True
    reason = f"{source.list_path}: a whole listing {_reason(source.api, share)}"
    await desk.note("refused", reason, "warning", needed=share.needed, left=share.left)
    return False


async def affords_sweep(desk: Desk, source: Source) -> bool:
    """Whether a scheduled sweep of stock may run now: it stretches where it would use up the day before its end."""
    if desk.run.schedule is None or desk.run.resumed or _insists(desk):
        return True
    stored, _ = await _stored(desk, source, Cursor())
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
