"""Who did what and why: a row in the audit trail for every action of a person, beside the changes of records."""

from __future__ import annotations

import msgspec

from tds_runtime import sql
from tds_runtime.database import Connection, Database
from tds_runtime.mailbox import CORRELATION

_encode = msgspec.json.Encoder().encode


async def note(
    connection: Connection | Database,
    actor: str,
    action: str,
    *,
    reason: str = "",
    entity: str = "",
    record: str = "",
    run_id: int | None = None,
    correlation_id: str | None = None,
    detail: object = None,
) -> None:
    """Write the row; `action` is noun.verb, `detail` what it was done to beyond the named columns.

    `correlation_id` is that of the message at hand where none is given.
    """
    correlation = CORRELATION.get() if correlation_id is None else correlation_id
    after = None if detail is None else _encode(detail).decode()
    values = (action, actor, reason, entity, record, run_id, correlation, after)
    await connection.execute(sql.load("audit/note"), *values)
