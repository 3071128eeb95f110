"""Shows that SIGKILLs at random moments lose nothing, repeat nothing and turn nothing back."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import anyio
from faults.checker import Expected, Violation, check
from faults.evidence import Evidence, Sample, gather, sample
from faults.fact import Fact
from faults.history import Delivery, History, Senders, plan
from faults.place import Place, execute
from faults.warm import Warm

from actors.processes import process
from actors.stage import command, wait_ready

POISON = 900_000
SHOWN = 5  # violations that the fact tells in full
WAITING = "SELECT count(*) FROM tds_sync_queue_live WHERE status IN ('pending', 'processing', 'failed')"
CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tds-runtime' AND datname = current_database()"
)
PATIENT = "[queue]\nfirst_delay = '200ms'\nlongest_delay = '1s'\n"


class Executioner:
    """Kills a daemon at given counts of acknowledgements and starts it again; one in eight dies while it starts."""

    def __init__(self, place: Place, dsn: str, configuration: Path, random: Random) -> None:
        self.killed = 0
        self.killed_in_start = 0
        self.back: list[float] = []
        self.samples: list[Sample] = []
        self._place, self._dsn, self._configuration, self._random = place, dsn, configuration, random
        self._daemon: Warm | None = None

    async def start(self) -> Warm:
        """The first daemon."""
        self._daemon = await self._place.nursery.start(self._configuration)
        return self._daemon

    async def run(self, senders: Senders, targets: list[int]) -> None:
        """One kill after each of these counts, at a random moment."""
        for target in targets:
            await senders.until(target)
            await anyio.sleep(self._random.uniform(0.0, 0.03))
            await self.take_sample()
            await self._kill_and_start(senders)

    async def _kill_and_start(self, senders: Senders) -> None:
        assert self._daemon is not None
        await self._daemon.kill()
        began = time.monotonic()
        self.killed += 1
        if self._random.random() < 1 / 8:
            unready = await self._place.nursery.start(self._configuration, ready=False)
            await anyio.sleep(self._random.uniform(0.0, 0.4))
            await unready.kill()
            self.killed_in_start += 1
            began = time.monotonic()
        self._daemon = await self._place.nursery.start(self._configuration)
        await senders.until(senders.acknowledged + 1)
        self.back.append(time.monotonic() - began)

    async def start_cold(self) -> float:
        """Kill once more and start as a service manager would, imports and all; returns the seconds until ready."""
        assert self._daemon is not None
        await self._daemon.kill()
        began = time.monotonic()
        words = command("run", "--config", str(self._configuration))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TDS_")}
        async with process(words, self._daemon.log, environment) as daemon:
            await wait_ready(self._daemon.address, daemon, self._daemon.log)
            return time.monotonic() - began

    async def take_sample(self) -> None:
        """What the living daemon uses."""
        assert self._daemon is not None
        [[connections]] = await execute(self._dsn, CONNECTIONS)
        self.samples.append(sample(self._daemon.pid, connections))


async def killings(
    place: Place, *, webhooks: int = 5_000, kills: int = 20, seed: int = 1, back_within: float = 3.0, senders: int = 16
) -> Fact:
    """`webhooks` deliveries acknowledged under `kills` SIGKILLs of the daemon at random moments.

    Args:
        place: where.
        webhooks: how many distinct deliveries the senders do not rest before; some are planted poison.
        kills: evenly spread over them but for chance.
        seed: of plan and kills.
        back_within: seconds from a kill to the next acknowledgement, and of a start with all imports, at most.
        senders: at once.
    """
    began = time.monotonic()
    random = Random(seed)
    dsn = await place.database()
    configuration = place.configure(dsn, more=PATIENT)
    poison = [Delivery(record=POISON + n, version=1, more=',"rate":"much"') for n in range(1, 1 + max(3, kills // 10))]
    deliveries = mixed(plan(webhooks - len(poison), records=max(50, webhooks // 20), seed=seed), poison, webhooks)
    executioner = Executioner(place, dsn, configuration, random)
    with History(configuration.with_name("history.jsonl")) as history:
        daemon = await executioner.start()
        sending = Senders(daemon.address, history, deliveries, count=senders)
        started = time.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(sending.run)
            await executioner.run(sending, sorted(random.sample(range(1, webhooks * 9 // 10), kills)))
        seconds = sending.last_ok - started
        await drained(dsn)
        await executioner.take_sample()
        cold = await executioner.start_cold()
        found = await gather(dsn, history.lines, logs=[daemon.log], samples=executioner.samples)
    violations = check(found, Expected(buried={one.record_id: "invalid_record" for one in poison}))
    figures = _figures(executioner, sending, found, violations)
    figures |= {"acknowledged_per_s": round(sending.acknowledged / seconds), "cold_start_s": round(cold, 2)}
    fired = executioner.killed == kills and int(figures["interrupted_tasks"]) > 0
    passed = not violations and fired and max(*executioner.back, cold) <= back_within
    return Fact(
        fact="killings",
        passed=passed,
        figures={"seed": seed, **figures},
        seconds=round(time.monotonic() - began, 1),
    )


def mixed(deliveries: Iterator[Delivery], others: list[Delivery], among: int) -> Iterator[Delivery]:
    """The others, evenly among so many."""
    every = max(1, among // (len(others) + 1))
    waiting = list(others)
    for number, delivery in enumerate(deliveries, 1):
        yield delivery
        if waiting and number % every == 0:
            yield waiting.pop()
    yield from waiting


async def drained(dsn: str, within: float = 60.0) -> None:
    """Return when nothing waits any more, or after so many seconds: then the checker will say what does."""
    with anyio.move_on_after(within):
        while (await execute(dsn, WAITING))[0][0]:  # noqa: ASYNC110 - another process sets no event here
            await anyio.sleep(0.1)


def _figures(
    executioner: Executioner, sending: Senders, found: Evidence, violations: list[Violation]
) -> dict[str, int | float | str]:
    back = executioner.back
    return {
        "acknowledged": sending.acknowledged,
        "kills": executioner.killed,
        "kills_in_start": executioner.killed_in_start,
        "lost": count(violations, "I1"),
        "duplicate_effects": count(violations, "I2"),
        "reversals": count(violations, "I3"),
        "violations": len(violations),
        "back_max_s": round(max(back), 2),
        "back_median_s": round(statistics.median(back), 2),
        "delivered_again": sending.repeated,
        "forgeries_refused": sending.refused,
        "interrupted_tasks": sum(task.attempts > 1 for task in found.tasks),
        "effects": sum(one.kind == "row" for one in found.effects),
        "dead_letters": len(found.letters),
        "resident_max_mb": max(one.resident for one in executioner.samples) >> 20,
        **{f"violation_{number}": str(one) for number, one in enumerate(violations[:SHOWN], 1)},
    }


def count(violations: list[Violation], invariant: str) -> int:
    """How many of them are of this invariant."""
    return sum(one.invariant == invariant for one in violations)
