"""What callers of the API did, in the audit trail and in the log."""

from __future__ import annotations

from actors.api.authentication import Caller
from tds_runtime import audit, logs
from tds_runtime.database import Connection, Database
from tds_runtime.errors import Outage


async def note(
    connection: Connection | Database,
    caller: Caller,
    action: str,
    *,
    reason: str = "",
    entity: str = "",
    record: str = "",
    run_id: int | None = None,
    detail: object = None,
) -> None:
    """Write the row, as `tds_runtime.audit` does, and say it in the log."""
    await audit.note(
        connection, caller.name, action, reason=reason, entity=entity, record=record, run_id=run_id, detail=detail
    )
    logs.get("api").info("action.taken", action=action, reason=reason, entity=entity or None, detail=detail)


async def note_or_log(database: Database, caller: Caller, action: str, path: str, reason: str) -> None:
    """Note an action that must be possible with the database away: then the log alone keeps it."""
    try:
        await note(database, caller, action, reason=reason, detail={"path": path})
    except Outage:
        logs.get("api").warning("action.unaudited", action=action, user=caller.name, path=path, reason=reason)
