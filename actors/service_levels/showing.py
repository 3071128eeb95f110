"""Service levels as rows of a table for people."""

from __future__ import annotations

from actors.service_levels.levels import WHOLE, Level, Unit
from tds_runtime.values import Duration

COLUMNS = ("service level", "value", "target", "met", "window", "of", "formula")

_SIGNS = {"percent": " %", "tasks": "", "actions": ""}


def row(level: Level) -> tuple[str, ...]:
    """One line of the table."""
    bound = "<" if level.sense == "below" else ("" if level.target == WHOLE else ">")
    return (
        level.name,
        level.note if level.value is None else amount(level.value, level.unit),
        "" if level.target is None else f"{bound} {amount(level.target, level.unit)}".strip(),
        "" if level.met is None else ("yes" if level.met else "NO"),
        level.window,
        str(level.sample),
        level.formula,
    )


def amount(value: float, unit: Unit) -> str:
    """A figure with its unit, as people say it: 99.5 %, 120 ms, 5m."""
    if unit == "seconds":
        return f"{value * 1000:.0f} ms" if value < 1 else str(Duration(round(value, 1)))
    return f"{value:g}{_SIGNS[unit]}"
