"""`inbox`: the webhooks as they came, and sending them through the queue again."""

from __future__ import annotations

from cyclopts import App

from tds_runtime import audit, intake, sql
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.cli.session import C


def register(app: App, session: Session[C]) -> None:
    """Add `inbox` to the command line."""
    verbs = App(name="inbox", help="Webhooks as they came.")
    app.command(verbs)

    @verbs.command(name="list")
    async def list_(
        *, entity: str = "", record: str = "", before: int | None = None, limit: int = 50, json: bool = False
    ) -> None:
        """Show what arrived, the newest first.

        Args:
            entity: only of this entity.
            record: only of the record with this id at the source.
            before: go on below this id.
            limit: how many.
            json: print JSON.
        """
        settings = session.load().value
        arguments = (entity or None, before, record or None, limit)
        async with session.database(settings.database) as database:
            found = await database.fetch(sql.load("inbox/recent", package="actors"), *arguments)
        rows = [dict(row.items()) for row in found]
        if json:
            session.output.data({"deliveries": rows})
        else:
            columns = ("id", "received_at", "entity_type", "source_entity_id", "operation", "modified_at", "bytes")
            session.output.table(columns, [[row[column] for column in columns] for row in rows])

    @verbs.command
    async def replay(*ids: int, json: bool = False) -> None:
        """Put deliveries through the queue again, of each record the latest; what is older than stored changes nothing.

        Args:
            *ids: the deliveries' ids.
            json: print JSON.
        """
        if not ids:
            raise Ended("Say which deliveries: ids.", Exit.USAGE)
        settings = session.load().value
        async with session.database(settings.database) as database:
            tasks = await intake.replay(database, ids)
            await audit.note(database, session.operator, "inbox.replay", detail={"ids": ids, "enqueued": tasks})
        if json:
            session.output.data({"enqueued": tasks})
        else:
            session.output.line(f"{tasks} enqueued")
