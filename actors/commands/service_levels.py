"""`status --slo`: what is promised, what is kept, and which of it is missed."""

from __future__ import annotations

from actors.service_levels import reading
from actors.service_levels.levels import Level
from actors.tree import Config
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.values import Duration

_UNITS = {"percent": " %", "tasks": "", "actions": ""}


async def show(session: Session[Config], /, *, window: str, days: int, json: bool) -> int:
    """Print every service level; the exit code is 3 when one is missed."""
    settings = session.load().value
    try:
        length = reading.window_of(window)
    except ValueError as error:
        raise Ended(f"--window: {error}", Exit.USAGE) from error
    async with session.database(settings.database) as database:
        report = await reading.report(database, settings.service_levels, window=length, days=days if json else 0)
    if json:
        session.output.data(report)
    else:
        session.output.table(COLUMNS, [row(level) for level in report.levels])
        for name in report.missed:
            session.output.note(f"{name} is missed: ops/runbooks/service_level.md says what to do.")
    return Exit.DEGRADED if report.missed else Exit.OK


COLUMNS = ("service level", "value", "target", "met", "window", "of", "formula")


def row(level: Level) -> tuple[object, ...]:
    """One line of the table."""
    bound = "<" if level.sense == "below" else ">"
    target = "" if level.target is None else f"{bound} {amount(level.target, level.unit)}"
    value = level.note if level.value is None else amount(level.value, level.unit)
    met = "" if level.met is None else ("yes" if level.met else "NO")
    return (level.name, value, target, met, level.window, level.sample, level.formula)


def amount(value: float, unit: str) -> str:
    """A figure with its unit, as people say it."""
    if unit == "seconds":
        return f"{value * 1000:.0f} ms" if value < 1 else str(Duration(round(value, 1)))
    return f"{value:g}{_UNITS[unit]}"
