"""`migrate`: brings the database to this release."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cyclopts import App

from tds_runtime import migrate as migrations
from tds_runtime.cli.output import Exit
from tds_runtime.cli.session import C, Session

Statements = Callable[[C], Sequence[str]]
"""The daemon's own tables, made on request."""


def register(app: App, session: Session[C], statements: Statements[C]) -> None:
    """Add `migrate` to the command line."""

    @app.command
    async def migrate(*, with_erp_tables: bool = False, status: bool = False, json: bool = False) -> int:
        """Apply the migrations that the database lacks; an embedded server is started for it.

        Args:
            with_erp_tables: also make the default target tables where they are absent.
            status: only say what would be applied.
            json: print JSON.
        """
        settings = session.load().value
        extra = statements(settings) if with_erp_tables else ()
        async with session.database(settings.database, start=True) as database:
            if status:
                names = tuple(migration.name for migration in (await migrations.status(database)).pending)
            else:
                names = await migrations.apply(database, statements=extra)
        if json:
            session.output.data({"pending" if status else "applied": names})
        else:
            for name in names:
                session.output.line(name)
            session.output.note(_summary(len(names), status=status))
        return Exit.OK


def _summary(count: int, *, status: bool) -> str:
    if status:
        return f"{count} migrations to apply."
    return f"{count} migrations applied." if count else "The schema is current."
