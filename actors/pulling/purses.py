"""What an API allows today: the calls that its day has left for bulk work, and how many of these are promised."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec import Struct

from actors.pulling.desk import Desk
from tds_runtime import limiter, sql


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


def enough(share: Share, *, details: int) -> bool:
    """Whether the day has these calls; who only lists takes few, and need not wait for those that are promised."""
    if share.left is None:
        return True
    return share.needed <= share.left + (0 if details else share.waiting)


def reason(api: str, share: Share) -> str:
    """What a plan needs of an API, and why that is not there."""
    until = f"{share.resets_at:%Y-%m-%d %H:%M} UTC" if share.resets_at else "the day ends"
    return (
        f"needs about {share.needed} calls to {api}, {share.left} of the day's {share.a_day} are left for this until "
        f"{until} ({share.kept} are kept for changes, {share.waiting} wait to be made)"
    )
