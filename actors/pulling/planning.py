"""Plans a full run before it begins: what it will take, against the calls that the day has left for such work.

A plan is an estimate: records that are stored in an old version are only counted where the source counts what changed.
It need not be exact, because bulk calls stop at the reserve whatever was planned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import msgspec
from msgspec import Struct, structs

from actors.pulling.desk import Desk
from actors.pulling.purses import Purse, Share, enough, purses, reason
from actors.pulling.reckoning import Need, need
from tds_runtime import logs, running
from tds_runtime.errors import BudgetRefused, DatabaseGone, RateLimited, SourceAnswerInvalid, SourceDown, SourceRejected

INSIST = 'say --insist, or {"insist": true}, to begin all the same: what the day does not allow waits for the next ones'

log = logs.get("pull")


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


# --- what it takes


async def reckon(desk: Desk) -> Plan | None:
    """What a full run of this entity takes; None when the source does not say, which the run itself will meet again."""
    try:
        needs = [await need(desk, source) for source in desk.entity.sources]
    except (SourceDown, RateLimited, SourceRejected, SourceAnswerInvalid) as error:
        log.warning("count.failed", entity=desk.entity.name, reason=str(error))
        return None
    return summed(needs)


def summed(needs: Sequence[Need]) -> Plan:
    """One plan of the needs of an entity's sources."""
    apis: dict[str, Share] = {}
    for one in needs:
        before = apis[one.api].needed if one.api in apis else 0
        apis[one.api] = Share(needed=before + one.calls)
    counts = [one.records for one in needs if one.records is not None]
    return Plan(
        calls=sum(one.calls for one in needs),
        records=sum(counts) if len(counts) == len(needs) else None,
        pages=sum(one.pages for one in needs),
        details=sum(one.details for one in needs),
        apis=apis,
    )


def allot(plans: Mapping[str, Plan], purses: Mapping[str, Purse], *, insist: bool = False) -> dict[str, Plan]:
    """Say of each plan what it may use, the cheapest first, and refuse those for which the day has not enough."""
    spent = dict.fromkeys(purses, 0)
    allotted: dict[str, Plan] = {}
    for name, plan in sorted(plans.items(), key=lambda item: item[1].calls):
        apis = {api: _share(share.needed, purses[api], spent[api]) for api, share in plan.apis.items()}
        short = [(api, share) for api, share in apis.items() if not enough(share, details=plan.details)]
        refused = "" if insist else "; ".join(reason(api, share) for api, share in short)
        allotted[name] = structs.replace(plan, apis=apis, refused=f"{refused}; {INSIST}" if refused else "")
        for api, share in apis.items():
            spent[api] += 0 if refused else share.needed
    return allotted


def _share(needed: int, one: Purse, spent: int) -> Share:
    left = None if one.left is None else max(0, one.left - spent)
    return Share(**{**structs.asdict(one), "left": left}, needed=needed)


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
    return allot({name: reckoned}, await purses(desk, [name]), insist=desk.insists)[name]


async def _keep(desk: Desk, plan: Plan) -> None:
    told: dict[str, Any] = msgspec.to_builtins(plan)
    await desk.ride(lambda: running.plan(desk.database, desk.run, told, plan.records))
    await desk.note("planned", plan.refused, "warning" if plan.refused else "info", **_without_entities(told))


def _without_entities(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name not in {"entities", "refused"}}


async def begin_all(desks: Sequence[Desk]) -> None:
    """Plan a run of everything before it becomes a run per entity, and write that down; each part reads its own."""
    reckoned: dict[str, Plan] = {}
    gone: list[DatabaseGone] = []

    async def one(desk: Desk) -> None:
        try:
            plan = await reckon(desk)
        except DatabaseGone as error:  # only raised when the actor is to stop; not as a group, which nobody expects
            gone.append(error)
        else:
            if plan:
                reckoned[desk.entity.name] = plan

    async with anyio.create_task_group() as group:
        for desk in desks:
            group.start_soon(one, desk)
    if gone:
        raise gone[0]
    if reckoned:
        found = await purses(desks[0], reckoned)
        await _keep(desks[0], whole(allot(reckoned, found, insist=desks[0].insists), found))


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
