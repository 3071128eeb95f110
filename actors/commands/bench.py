"""`bench`: measures what the design promises, on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from cyclopts import App

from actors.bench import claim, drain, ingest
from actors.bench.report import Report
from actors.commands.init import samples
from tds_runtime.cli import Output

Name = Literal["ingest", "drain", "claim"]

MEASURES: dict[Name, Callable[[], Awaitable[Report]]] = {
    "ingest": lambda: ingest.measure(_entities()),
    "drain": lambda: drain.measure(_entities()),
    "claim": claim.measure,
}


def register(app: App, output: Output) -> None:
    """Add `bench` to the command line."""

    @app.command
    async def bench(name: Name, /, *, json: bool = False) -> None:
        """Run one measurement; its figures are ratios unless their name says a unit.

        Args:
            name: which one.
            json: print one JSON document instead of the table.
        """
        report = await MEASURES[name]()
        if json:
            output.data(report)
        else:
            output.pairs({figure: f"{value:g}" for figure, value in report.figures.items()})


def _entities() -> Path:
    return samples() / "config" / "entities"
