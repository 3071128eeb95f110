"""Who did what and why: a row in the audit trail for every action."""

from __future__ import annotations

import msgspec

from actors.api.authentication import Caller
from tds_runtime import logs, sql
from tds_runtime.database import Connection, Database
from tds_runtime.errors import Outage
from tds_runtime.mailbox import CORRELATION

_encode = msgspec.json.Encoder().encode


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
    """Write the row; `action` is noun.verb, `detail` what it was done to beyond the named columns."""
    after = None if detail is None else _encode(detail).decode()
    values = (action, caller.name, reason, entity, record, run_id, CORRELATION.get(), after)
    await connection.execute(sql.load("audit/note", package="actors"), *values)
    logs.get("api").info("action.taken", action=action, reason=reason, entity=entity or None, detail=detail)


async def note_or_log(database: Database, caller: Caller, action: str, path: str, reason: str) -> None:
    """Note an action that must be possible with the database away: then the log alone keeps it."""
    try:
        await note(database, caller, action, reason=reason, detail={"path": path})
    except Outage:
        logs.get("api").warning("action.unaudited", action=action, user=caller.name, path=path, reason=reason)
