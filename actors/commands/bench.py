"""`bench`: measures what the design promises, on this machine."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
from cyclopts import App

from actors.bench import claim, drain, engine, ingest, sync
from actors.bench.report import Report, report
from actors.commands.init import samples
from tds_runtime import logs
from tds_runtime.cli import Output

Name = Literal["engine", "ingest", "drain", "claim", "sync"]


async def _engine(_scale: float) -> Report:
    """The engine on asyncio, and on trio (figures that end in `_trio`): each backend in a thread of its own."""
    figures: dict[str, float] = {}
    for backend, suffix in (("asyncio", ""), ("trio", "_trio")):
        measured = await anyio.to_thread.run_sync(partial(anyio.run, engine.measure, backend=backend))
        figures |= {f"{name}{suffix}": value for name, value in measured.items()}
    return report("engine", figures)


MEASURES: dict[Name, Callable[[float], Awaitable[Report]]] = {
    "engine": _engine,
    "ingest": lambda _scale: ingest.measure(_entities()),
    "drain": lambda _scale: drain.measure(_entities()),
    "claim": lambda _scale: claim.measure(),
    "sync": lambda scale: sync.measure(_entities(), scale=scale),
}


def register(app: App, output: Output) -> None:
    """Add `bench` to the command line."""

    @app.command
    async def bench(name: Name, /, *, scale: float = 1.0, json: bool = False) -> None:
        """Run one measurement; its figures are ratios unless their name says a unit.

        Args:
            name: which one.
            scale: of `sync`: how many times the sandbox's 1,312 items and 2,503 contacts.
            json: print one JSON document instead of the table.
        """
        logs.configure(logs.Options(level="error"), stream=sys.stderr)
        measured = await MEASURES[name](scale)
        if json:
            output.data(measured)
        else:
            output.pairs({figure: f"{value:g}" for figure, value in measured.figures.items()})


def _entities() -> Path:
    return samples() / "config" / "entities"
