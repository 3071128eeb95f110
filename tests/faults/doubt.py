"""Commits in doubt: executed with the reply lost, or never sent, of what is acknowledged and of what is worked."""

from __future__ import annotations

import time

import anyio
from faults import aftermath
from faults.fact import Fact
from faults.place import Place, execute
from faults.planting import Fault, Plan, operations
from faults.proxy import Proxy, proxy
from faults.traffic import REFUSED, Habit, traffic
from faults.wire import through

SENDERS = 8
EAGER = Habit(pause=0.0)
WITHIN = 600.0
EFFECTS = """
SELECT count(*) FILTER (WHERE kind = 'row'), count(DISTINCT (record, version)) FILTER (WHERE kind = 'row') FROM effects
"""
# A delivery is one statement that commits by itself; work ends with COMMIT. Each kind comes at every fourth of them.
PATHS = {"ingest": ("intake/store", ""), "work": ("COMMIT", "queue/complete")}
KINDS = {"executed": "sent", "never_sent": "before"}


def planted(commits: int) -> dict[str, Fault]:
    """A quarter of `commits` for each path and kind, the executed ones two commits apart from the others."""
    return {
        f"{path}_{kind}": Fault(
            operation=operation,
            within=within,
            ordinal=2 + 2 * late,
            every=4,
            times=commits // 4,
            point=point,
            action="reset",
        )
        for path, (operation, within) in PATHS.items()
        for late, (kind, point) in enumerate(KINDS.items())
    }


async def in_doubt(place: Place, *, commits: int) -> Fact:
    """Put commits in doubt under senders that repeat what was not acknowledged, and let the checker read the tables.

    Args:
        place: where.
        commits: how many, both paths and both kinds together; a multiple of 4.
    """
    began = time.monotonic()
    dsn, faults = await place.database(), planted(commits)
    with proxy(dsn, operations()) as wire:
        daemon = await place.nursery.start(place.configure(through(dsn, wire.port)))
        async with traffic(daemon.log.parent, daemon.address, senders=SENDERS, habit=EAGER) as flow:
            await flow.more(20)
            wire.arm(Plan(tuple(faults.values())))
            await struck(wire)
            await flow.more(20)
        fired = dict(zip(faults, wire.statistics().fired, strict=True))
        drained = await aftermath.settled(dsn)
        [(effects, versions)] = await execute(dsn, EFFECTS)
        figures: dict[str, int | float | str] = {
            **{f"in_doubt_{name}": count for name, count in fired.items()},
            "acknowledged": flow.acknowledged,
            "answers_503": sum(one.status == REFUSED for one in flow.answers),
            "repeats": len(flow.answers) - flow.acknowledged,
            "effects": effects,
            "versions_with_effect": versions,
            "drained_s": round(drained, 2),
            "restarts": aftermath.troubles(daemon),
            **await aftermath.violations(dsn, flow.history.lines, daemon),
        }
        await daemon.stop()
    wanted = sum(fired.values()) == commits and effects == versions
    passed = wanted and not figures["restarts"] and not figures["violations"]
    return Fact(fact="commits in doubt", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def struck(wire: Proxy) -> None:
    """Return when all that was planted has struck."""
    with anyio.fail_after(WITHIN):
        while wire.unfired():  # noqa: ASYNC110 - the proxy lives in another thread
            await anyio.sleep(0.02)
