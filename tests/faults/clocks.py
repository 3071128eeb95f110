"""Sets the clock of a daemon forward and back by a day, while the database keeps the time."""

from __future__ import annotations

import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
from faults import aftermath
from faults.disks import skipped
from faults.fact import Fact
from faults.neighbours import SCHEDULE, SLOTS
from faults.place import Place, execute
from faults.traffic import traffic
from faults.warm import Warm, _address

from actors.processes import process
from actors.stage import command, wait_ready

OFFSETS = ("+1d", "-1d", "+0")
PLACES = ("/usr/lib", "/usr/local/lib")
LEASE = 3.0


def library() -> Path | None:
    """Where libfaketime is: named by FAKETIME_LIBRARY, or where distributions put it."""
    if named := os.environ.get("FAKETIME_LIBRARY"):
        return Path(named)
    return next((found for root in PLACES for found in sorted(Path(root).glob("**/libfaketimeMT.so.1"))), None)


async def clock_jumps(here: Place, *, seconds: float = 10.0) -> Fact:
    """A day forward, two days back, and right again, each for some leases: nothing doubled, no slot lost or twice."""
    began = time.monotonic()
    faketime = library()
    if faketime is None:
        return skipped("clock jumps", "there is no libfaketime here")
    dsn = await here.database()
    configuration = here.configure(dsn, more=SCHEDULE)
    offset = configuration.with_name("offset")
    offset.write_text("+0\n")
    async with skewed(configuration, faketime, offset) as daemon, traffic(configuration.parent, daemon.address) as flow:
        await flow.more(50)
        slowest = 0.0
        start = time.monotonic()
        for jump in OFFSETS:
            offset.write_text(f"{jump}\n")
            jumped = time.monotonic()
            await anyio.sleep(seconds)
            await flow.more(50)
            slowest = max(slowest, flow.first_ack(jumped))
        end = time.monotonic()
        flow.stopping = True
        drained = await aftermath.settled(dsn)
        troubles, days = aftermath.troubles(daemon), days_seen(daemon)
    slots = dict((await execute(dsn, SLOTS))[0])
    figures: dict[str, int | float | str] = {
        "days_in_its_log": days,
        "acknowledged": flow.acknowledged,
        "acks_after_jump_s": round(slowest, 2),
        **aftermath.answered(flow, start, end),
        "drained_s": round(drained, 2),
        **{f"slots_{word}": count for word, count in slots.items()},
        "restarts": troubles,
        **await aftermath.violations(dsn, flow.history.lines, daemon),
    }
    passed = (
        days >= len(OFFSETS)
        and slowest < 2 * LEASE
        and slots["decided"] == slots["slots"] == slots["expected"] > 1
        and not any(figures[name] for name in ("unreachable", "livez_failed", "restarts", "violations"))
    )
    return Fact(fact="clock jumps", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


def days_seen(daemon: Warm) -> int:
    """Count the days that its log speaks of: the fault has fired when there are several."""
    return len(set(re.findall(rb'"timestamp":"(\d{4}-\d\d-\d\d)T', daemon.log.read_bytes())))


@asynccontextmanager
async def skewed(configuration: Path, faketime: Path, offset: Path) -> AsyncIterator[Warm]:
    """A daemon whose wall clock is off by what a file says; its monotonic clock is right."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TDS_")}
    environment |= {
        "LD_PRELOAD": str(faketime),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "TDS_QUEUE__LEASE": f"{LEASE}s",
    }
    log, address = configuration.with_name("daemon.log"), _address(configuration)
    async with process(command("run", "--config", str(configuration)), log, environment) as child:
        await wait_ready(address, child, log)
        daemon = Warm(child.pid, address, log)
        yield daemon
        daemon.returncode = 0  # what follows asks nothing of the process any more
