"""Facts that are tests elsewhere, run in full: the engine's simulation, and the plans on another PostgreSQL."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import anyio
from faults.fact import Fact
from faults.place import ROOT, Place

DEBIAN = Path("/usr/lib/postgresql")
COUNTED = re.compile(r"(\d+) (passed|failed|error|skipped)")


async def simulation(_place: Place, *, seeds: int) -> Fact:
    """So many random trees under random faults, each reproducible by its seed."""
    return await _suite("simulation", ["tests/simulation", "-n", "2"], {"TDS_SIMULATION_SEEDS": str(seeds)})


async def plans(_place: Place) -> Fact:
    """The hot statements on the newest PostgreSQL that is installed beside the wheel's, if there is one."""
    found = _servers()
    if not found:
        return Fact(fact="plans", passed=True, figures={"skipped": "no other PostgreSQL is installed"}, seconds=0.0)
    programs = found[-1].parent
    fact = await _suite("plans", ["tests/postgres/test_plans.py"], {"TDS_TEST_PROGRAMS": str(programs)})
    fact.figures["postgresql"] = programs.parent.name
    return fact


async def predecessors_day(_place: Place) -> Fact:
    """52 product and 6 invoice webhooks are buried by a planted fault; one is retried, then all: 58 completed."""
    return await _suite("predecessors_day", ["tests/daemon/test_promises.py", "-k", "fifty_eight"], {})


async def killed_and_frozen_nodes(_place: Place) -> Fact:
    """Processes that claim are killed at random moments, and frozen until another node has done their work."""
    return await _suite("killed_and_frozen_nodes", ["tests/postgres/test_crash.py"], {})


def _servers() -> list[Path]:
    return sorted(DEBIAN.glob("*/bin/postgres"), key=lambda program: float(program.parts[-3]))


async def _suite(name: str, words: list[str], environment: Mapping[str, str]) -> Fact:
    began = time.monotonic()
    arguments = ["-q", "-p", "no:cacheprovider", "--timeout", "3600", *words]
    done = await anyio.run_process(
        [sys.executable, "-m", "pytest", *arguments], check=False, cwd=ROOT, env={**os.environ, **environment}
    )
    text = done.stdout.decode(errors="replace")
    figures: dict[str, int | float | str] = {word: int(count) for count, word in COUNTED.findall(text[-2000:])}
    figures.update({key.lower(): value for key, value in environment.items() if value.isdigit()})
    if done.returncode:
        figures["output"] = text[-2000:]
    return Fact(fact=name, passed=done.returncode == 0, figures=figures, seconds=round(time.monotonic() - began, 1))
