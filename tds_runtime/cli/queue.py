"""`queue`: what waits, what is in work, and holding it back."""

from __future__ import annotations

from cyclopts import App

from tds_runtime import sql
from tds_runtime.cli.output import Exit
from tds_runtime.cli.session import C, Session
from tds_runtime.cli.status import Entity, print_entities


def register(app: App, session: Session[C]) -> None:
    """Add `queue` to the command line."""
    queue = App(name="queue", help="Waiting tasks and tasks in work.")
    app.command(queue)

    @queue.default
    async def show(*, json: bool = False) -> int:
        """Show the unfinished tasks of each entity.

        Args:
            json: print JSON.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            entities = tuple(Entity(**dict(row)) for row in await database.fetch(sql.load("status/entities")))
        if json:
            session.output.data({"entities": entities})
        else:
            print_entities(session.output, entities)
        return Exit.OK
