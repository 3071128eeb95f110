"""`metrics`: the catalogue of what is measured."""

from __future__ import annotations

from collections.abc import Iterable

from cyclopts import App

from tds_runtime.cli import Output
from tds_runtime.metrics import Description, Metrics

HEAD = """\
# The metrics

What `/metrics` shows and `tds_metrics` keeps: every minute for 7 days, by the hour for 400. This page is written by
`tds-runtime metrics > ops/metrics.md`; a test says when it is out of date. Labels have few values, which are known
beforehand: what a stranger chooses becomes no series.

| name | kind | unit | labels | meaning |
|---|---|---|---|---|
"""


def register(app: App, output: Output) -> None:
    """Add `metrics` to the command line."""

    @app.command
    async def metrics(*, json: bool = False) -> None:
        """Show the catalogue: name, kind, unit, labels and meaning of every metric.

        Args:
            json: print JSON.
        """
        catalogue = Metrics().catalogue()
        if json:
            output.data({"metrics": catalogue})
        else:
            output.stdout.file.write(page(catalogue))


def page(catalogue: Iterable[Description]) -> str:
    """The catalogue as a page of Markdown."""
    return HEAD + "".join(
        f"| `{one.name}` | {one.kind} | {one.unit} | {', '.join(f'`{label}`' for label in one.labels)} | {one.help} |\n"
        for one in catalogue
    )
