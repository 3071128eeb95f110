"""The campaign: `python -m faults [FACT ...] [--small]` tries facts one by one and prints a line of JSON for each.

Each plays on a Postgres of its own. Progress goes to standard error; the exit status is 1 when a fact failed.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
import msgspec
from faults import clocks, contention, disks, neighbours, resources, servers, standby, suites
from faults.blackhole import blackholed, reset_often, trickled
from faults.calls import calls_of_a_day
from faults.convergence import convergence, unguarded
from faults.doubt import in_doubt
from faults.fact import Fact
from faults.idle import idle
from faults.killings import killings
from faults.mutants import caught
from faults.owners import owners_of
from faults.place import ground, place
from faults.poison import fifty_at_once, poison
from faults.pulls import pull_sweep
from faults.sweep import life, sweep, trip
from msgspec import Struct

from tds_runtime.incarnation import collapse


class Trial(Struct, frozen=True):
    """A fact, the figures that it is tried with, and smaller ones for a quick look."""

    fact: Callable[..., Awaitable[Fact]]
    full: Mapping[str, Any] = {}
    small: Mapping[str, Any] = {}


FACTS: dict[str, Trial] = {
    "killings": Trial(killings, {"webhooks": 100_000, "kills": 200}, {"webhooks": 1_000, "kills": 5}),
    "mutants": Trial(caught),
    "fifty_at_once": Trial(fifty_at_once, {"rounds": 20}),
    "poison": Trial(poison, {"neighbours": 90}, {"endless": False}),
    "predecessors_day": Trial(suites.predecessors_day),
    "killed_and_frozen_nodes": Trial(suites.killed_and_frozen_nodes),
    "simulation": Trial(suites.simulation, {"seeds": 1_000}, {"seeds": 100}),
    "plans": Trial(suites.plans),
    "idle": Trial(idle, {"seconds": 60}, {"seconds": 8}),
    "sweep": Trial(sweep),
    "sweep_cold": Trial(sweep, {"cold": True}, {"cold": True, "actions": ("reset",)}),
    "sweep_life": Trial(sweep, {"scenario": life}, {"scenario": life, "actions": ("reset",)}),
    "sweep_pools": Trial(
        sweep, {"scenario": life, "actions": ("reset", "close"), "connections": 4}, {"connections": 4}
    ),
    "sweep_pull": Trial(pull_sweep, {}, {"actions": ("reset",), "points": ("sent",)}),
    "sweep_blackhole": Trial(sweep, {"scenario": trip, "actions": ("blackhole",)}, {"actions": ("blackhole",)}),
    "doubt": Trial(in_doubt, {"commits": 500}, {"commits": 40}),
    "blackhole": Trial(blackholed, {"seconds": 10}, {"seconds": 5}),
    "trickle": Trial(trickled, {"deliveries": 1_000}, {"deliveries": 200}),
    "resets": Trial(reset_often, {"every": 15, "resets": 600}, {"every": 15, "resets": 60}),
    "frozen_owners": Trial(owners_of),
    "server_stopped": Trial(servers.server_stopped, {"seconds": 10.0}, {"seconds": 2.0}),
    "server_frozen": Trial(servers.server_frozen, {"seconds": 30.0}, {"seconds": 5.0}),
    "postmaster_killed": Trial(servers.postmaster_killed, {"kills": 20}, {"kills": 2}),
    "backends_killed": Trial(servers.backends_killed, {"times": 10}, {"times": 1}),
    "backends_hung": Trial(servers.backends_hung, {"times": 5}, {"times": 1}),
    "failed_over": Trial(servers.failed_over, {"seconds": 10.0}, {"seconds": 1.0}),
    "connections_exhausted": Trial(servers.connections_exhausted, {"seconds": 10.0}, {"seconds": 1.0}),
    "old_snapshot": Trial(contention.xmin_pinned, {"tasks": 50_000}, {"tasks": 5_000}),
    "deadlocks": Trial(contention.deadlocked),
    "migration_lock": Trial(contention.migration_waits),
    "standby_gone": Trial(standby.standby_gone, {"seconds": 20.0}, {"seconds": 6.0}),
    "standby_takes_over": Trial(standby.standby_takes_over),
    "neighbour_killed": Trial(neighbours.neighbour_killed, {"seconds": 20.0}, {"seconds": 6.0}),
    "neighbour_frozen": Trial(neighbours.neighbour_frozen, {"seconds": 20.0}, {"seconds": 7.0}),
    "neighbour_frozen_in_transaction": Trial(neighbours.neighbour_frozen_in_transaction),
    "disk_fails": Trial(disks.disk_fails, {"seconds": 5.0}, {"seconds": 2.0}),
    "disk_full": Trial(disks.disk_full, {"seconds": 10.0}, {"seconds": 5.0}),
    "log_disk_full": Trial(disks.log_disk_full, {"seconds": 10.0}, {"seconds": 4.0}),
    "log_unread": Trial(resources.log_unread, {"seconds": 15.0}, {"seconds": 8.0}),
    "descriptors_exhausted": Trial(resources.descriptors_exhausted, {}, {"seconds": 3.0, "lease": 3.0, "before": 0.0}),
    "convergence": Trial(convergence, {"scale": 0.5, "rounds": 8, "records": 25, "late": 20.0}),
    "convergence_unguarded": Trial(unguarded),
    "calls_of_a_day": Trial(calls_of_a_day, {}, {"plans": ("standard",), "days": 1, "hours": 4}),
    "clock_jumps": Trial(clocks.clock_jumps, {"seconds": 10.0}, {"seconds": 7.0}),
}


async def attempt(name: str, trial: Trial, *, small: bool) -> Fact:
    """Try one fact; one that breaks has failed."""
    began = time.monotonic()
    try:
        with ground() as directory:
            async with place(directory) as here:
                found = await trial.fact(here, **(trial.small if small else trial.full))
    except Exception as error:  # noqa: BLE001 - the facts after this one are wanted as well
        traceback.print_exception(error)
        cause = collapse(error)
        figures: dict[str, int | float | str] = {"error": f"{type(cause).__name__}: {cause}"[:2000]}
        found = Fact(fact=name, passed=False, figures=figures, seconds=round(time.monotonic() - began, 1))
    return msgspec.structs.replace(found, fact=name)


async def campaign(names: Sequence[str], *, small: bool) -> int:
    """Try these facts; returns the exit status."""
    failed = 0
    for number, name in enumerate(names, 1):
        _say(f"{number}/{len(names)} {name} ...")
        fact = await attempt(name, FACTS[name], small=small)
        sys.stdout.write(msgspec.json.encode(fact).decode() + "\n")
        sys.stdout.flush()
        _say(f"{number}/{len(names)} {name}: {'passed' if fact.passed else 'FAILED'} in {fact.seconds:.0f} s")
        failed += not fact.passed
    _say(f"{len(names) - failed} of {len(names)} facts hold")
    return 1 if failed else 0


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


def main() -> int:
    """Read the command line and run the campaign."""
    parser = argparse.ArgumentParser(prog="python -m faults", description="Try the promises of the daemon.")
    parser.add_argument("facts", nargs="*", metavar="FACT", help=f"all of them, or some of: {', '.join(FACTS)}")
    parser.add_argument("--small", action="store_true", help="a quick look instead of the full figures")
    options = parser.parse_args()
    unknown = sorted(set(options.facts) - set(FACTS))
    if unknown:
        parser.error(f"there is no fact {', '.join(unknown)}")
    return anyio.run(lambda: campaign(options.facts or list(FACTS), small=options.small))


if __name__ == "__main__":
    sys.exit(main())
