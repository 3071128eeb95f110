"""`alert`: what a person should look at, and saying that somebody does."""

from __future__ import annotations

from cyclopts import App

from tds_runtime import sql
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.cli.session import C


def register(app: App, session: Session[C]) -> None:
    """Add `alert` to the command line."""
    verbs = App(name="alert", help="What a person should look at.")
    app.command(verbs)

    @verbs.command(name="list")
    async def list_(*, all: bool = False, limit: int = 50, json: bool = False) -> None:  # noqa: A002 - the option's name
        """Show open alerts, the newest first.

        Args:
            all: also those that are resolved.
            limit: how many.
            json: print JSON.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            found = await database.fetch(sql.load("alert/list", package="actors"), all, limit)
        rows = [dict(row.items()) for row in found]
        if json:
            session.output.data({"alerts": rows})
        else:
            columns = ("id", "severity", "alert_type", "title", "occurrences", "created_at", "acknowledged_by")
            session.output.table(columns, [[row[column] for column in columns] for row in rows])

    @verbs.command
    async def ack(number: int, /, *, comment: str) -> None:
        """Say that somebody looks at an alert; it stays open until its cause is gone.

        Args:
            number: the alert's id.
            comment: what is being done.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            values = (number, session.operator, comment)
            if await database.fetchval(sql.load("alert/acknowledge", package="actors"), *values) is None:
                raise Ended(f"there is no open alert {number}.", Exit.NOT_FOUND)
        session.output.note(f"alert {number} is acknowledged.")
