"""`status --slo`: what is promised, what is kept, and which of it is missed."""

from __future__ import annotations

from actors.configuration import Config
from actors.service_levels import reading
from actors.service_levels.showing import COLUMNS, row
from tds_runtime.cli import Ended, Exit, Session


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
