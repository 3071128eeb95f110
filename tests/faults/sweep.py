"""The crash sweep: at every round trip of a webhook's way to its row the daemon is killed, or its connection reset.

A dry run counts the round trips between the first delivery and the quiet state. Then each of them is struck once at
each point with each action, every time about a record of its own: the sender repeats what was not acknowledged, a fresh
daemon (or the same one) finishes, and the checker reads what all the records went through.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from faults.aftermath import troubles
from faults.checker import Violation, check
from faults.evidence import gather
from faults.fact import Fact
from faults.history import Delivery
from faults.place import Place
from faults.planting import Action, Fault, Plan, Point
from faults.stage import Stage, staged
from msgspec import Struct

QUIETLY = frozenset(
    {"queue/tick", "nodes/renew", "queue/return_expired", "nodes/neighbours", "nodes/forget", "upstreams/read"}
)
"""What a daemon asks now and then without any webhook."""
REHEARSALS = 3
TRIES = 4  # at a point whose round trip did not come by: somebody's poll took the task along
POINTS: tuple[Point, ...] = ("before", "sent", "replied")
Scenario = Callable[[int], Sequence[Delivery]]


def trip(record: int) -> list[Delivery]:
    """One webhook."""
    return [Delivery(record=record, version=1)]


def life(record: int) -> list[Delivery]:
    """A webhook, its duplicate, a newer version, the older one again, and the deletion."""
    versions = [Delivery(record=record, version=version) for version in (1, 1, 3, 2)]
    return [*versions, Delivery(record=record, version=4, operation="delete")]


class Strike(Struct, frozen=True):
    """One point of the sweep: the n-th round trip with that operation, when, and what is done."""

    operation: str
    ordinal: int
    point: Point
    action: Action

    def plan(self) -> Plan:
        fault = Fault(operation=self.operation, ordinal=self.ordinal, point=self.point, action=self.action)
        return Plan((fault,))


class Sweep:
    """Goes from point to point, each with a record of its own."""

    def __init__(self, stage: Stage, scenario: Scenario, *, cold: bool) -> None:
        self.missed = 0
        self._stage, self._scenario, self._cold = stage, scenario, cold
        self._records = itertools.count(1)

    async def rehearse(self) -> list[tuple[str, int]]:
        """The round trips that come by each time, as operation and how many of that operation came before."""
        runs = []
        for _ in range(REHEARSALS):
            await self._prepare()
            self._stage.wire.arm(record=True)
            await self._perform()
            runs.append(Counter(trip.operation for trip in self._stage.wire.trips()))
        each = runs[0]
        for run in runs[1:]:
            each &= run
        return [(name, one) for name, count in each.items() if name not in QUIETLY for one in range(1, count + 1)]

    async def strike(self, strike: Strike) -> bool:
        """Play the scenario with one fault planted, again when its round trip did not come by; whether it struck."""
        for _ in range(TRIES):
            await self._prepare()
            self._stage.wire.arm(strike.plan(), call=self._stage.kill)
            try:
                await self._perform()
            except* TimeoutError as error:
                raise AssertionError(f"not quiet again after {strike}") from error
            if await self._stage.fired():
                if strike.action == "call":
                    await self._stage.replaced()
                return True
            self.missed += 1
        return False

    async def end(self) -> None:
        """Have everything done that is still to be done."""
        await self._prepare()
        await self._stage.quiet()

    async def _prepare(self) -> None:
        """Have a daemon that is ready: a fresh one, or one that has done this before."""
        self._stage.wire.arm()
        self._stage.wire.mend()
        if self._cold:
            await self._stage.aclose()
        if await self._stage.start() and not self._cold:
            await self._perform()

    async def _perform(self) -> None:
        await self._stage.perform(self._scenario(next(self._records)))


async def sweep(
    place: Place,
    *,
    scenario: Scenario = trip,
    actions: Sequence[Action] = ("call", "reset"),
    cold: bool = False,
    connections: int = 1,
    mutant: str = "",
) -> Fact:
    """Strike at every round trip of a scenario, at each point, with each action.

    Args:
        place: where.
        scenario: what is delivered about a record.
        actions: call is SIGKILL; a blackhole lasts until nobody waits for its end, and what fell into it comes late.
        cold: a fresh daemon for each, so that connecting and preparing are round trips of the way, too.
        connections: of the daemon for work.
        mutant: what is wrong with the daemon, to see that it is noticed.
    """
    began = time.monotonic()
    async with staged(place, connections=connections, mutant=mutant) as stage:
        performed = Sweep(stage, scenario, cold=cold)
        trips = await performed.rehearse()
        strikes = [Strike(*one, point, action) for action in actions for one in trips for point in POINTS]
        passed_by = [strike for strike in strikes if not await performed.strike(strike)]
        await performed.end()
        violations = check(await gather(stage.dsn, stage.history.lines, logs=[stage.daemon.log]))
        figures = {
            "round_trips": len(trips),
            "points": len(strikes),
            **{f"points_{action}": sum(one.action == action for one in strikes) for action in actions},
            "points_never_struck": len(passed_by),
            "repeated": performed.missed,
            "starts": stage.starts,
            "deliveries": stage.deliveries,
            "violations": len(violations),
            "troubles": troubles(stage.daemon),
        }
    report(passed_by, violations)
    passed = bool(strikes) and not (passed_by or violations or figures["troubles"])
    return Fact(fact="crash sweep", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


def report(passed_by: Sequence[Strike], violations: Sequence[Violation]) -> None:
    """Say on standard error what a reader of a failed run wants to know."""
    for one in (*passed_by, *violations):
        print(one, file=sys.stderr)  # noqa: T201 - progress of the campaign
