"""`audit`: what happened to one record, with the values before and after."""

from __future__ import annotations

from typing import Any

import msgspec
from cyclopts import App

from tds_runtime import sql
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.cli.session import C


def register(app: App, session: Session[C]) -> None:
    """Add `audit` to the command line."""

    @app.command
    async def audit(
        entity: str, record: str, /, *, before: int | None = None, limit: int = 20, json: bool = False
    ) -> None:
        """Show the history of a record, the newest change first.

        Args:
            entity: which kind of record.
            record: its id at the source.
            before: go on below this id.
            limit: how many.
            json: print JSON.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            found = await database.fetch(sql.load("records/history"), entity, record, before, limit)
        rows = [_row(dict(row.items())) for row in found]
        if json:
            session.output.data({"changes": rows})
        elif rows:
            columns = ("id", "occurred_at", "action", "actor", "task_id", "run_id", "changed")
            session.output.table(
                columns, [[_changed(row) if c == "changed" else row[c] for c in columns] for row in rows]
            )
        else:
            raise Ended(f"nothing is known of {entity} {record}.", Exit.NOT_FOUND)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    sides = {side: msgspec.json.decode(row[side]) if row[side] else None for side in ("before", "after")}
    return row | sides


def _changed(row: dict[str, Any]) -> str:
    before, after = row["before"] or {}, row["after"] or {}
    if not isinstance(before, dict) or not isinstance(after, dict):
        return ""
    return ", ".join(name for name in after if after.get(name) != before.get(name))[:200]
