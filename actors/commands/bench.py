"""`bench`: measures what the design promises, on this machine."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal

import anyio
from cyclopts import App
from msgspec import Struct

from actors.bench import claim, drain, engine, ingest, soak, sync
from actors.bench import overload as bench_overload
from actors.bench.report import Report, report
from actors.commands.init import samples
from tds_runtime import logs
from tds_runtime.cli import Output

Name = Literal["engine", "ingest", "drain", "claim", "sync", "soak"]


class Scale(Struct, frozen=True, kw_only=True):
    """How much of it."""

    scale: float
    tasks: int
    overload: bool
    seconds: float


async def _engine(_scale: Scale) -> Report:
    """The engine on asyncio, and on trio (figures that end in `_trio`): each backend in a thread of its own."""
    figures: dict[str, float] = {}
    for backend, suffix in (("asyncio", ""), ("trio", "_trio")):
        measured = await anyio.to_thread.run_sync(partial(anyio.run, engine.measure, backend=backend))
        figures |= {f"{name}{suffix}": value for name, value in measured.items()}
    return report("engine", figures)


async def _ingest(scale: Scale) -> Report:
    if scale.overload:
        return await bench_overload.measure(_entities(), seconds=scale.seconds)
    return await ingest.measure(_entities())


MEASURES: dict[Name, Callable[[Scale], Awaitable[Report]]] = {
    "engine": _engine,
    "ingest": _ingest,
    "drain": lambda _scale: drain.measure(_entities()),
    "claim": lambda _scale: claim.measure(),
    "sync": lambda scale: sync.measure(_entities(), scale=scale.scale),
    "soak": lambda scale: soak.measure(_entities(), tasks=scale.tasks),
}


def register(app: App, output: Output) -> None:
    """Add `bench` to the command line."""

    @app.command
    async def bench(
        name: Name,
        /,
        *,
        scale: float = sync.SCALE,
        tasks: int = soak.TASKS,
        overload: bool = False,
        seconds: float = 10.0,
        json: bool = False,
    ) -> None:
        """Run one measurement; its figures are ratios unless their name says a unit.

        Args:
            name: which one.
            scale: of `sync`: how many times the sandbox's 1,312 items, 2,503 contacts and 1,200 invoices.
            tasks: of `soak`: how many go through.
            overload: of `ingest`: a thousand sync requests at once and a thousand webhooks a second instead.
            seconds: of `ingest --overload`: how long the webhooks come.
            json: print one JSON document instead of the table.
        """
        logs.configure(logs.Options(level="error"), stream=sys.stderr)
        measured = await MEASURES[name](Scale(scale=scale, tasks=tasks, overload=overload, seconds=seconds))
        if json:
            output.data(measured)
        else:
            output.pairs({figure: f"{value:g}" for figure, value in measured.figures.items()})


def _entities() -> Path:
    return samples() / "config" / "entities"
