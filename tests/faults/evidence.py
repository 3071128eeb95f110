"""Gathers what a run left behind, for the checker: inbox, queue, effects, rows, dead letters, logs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import asyncpg
from faults.history import Line
from faults.place import SECRET
from msgspec import Struct

from tds_runtime.task import digest

SECRETS: Mapping[str, str] = {
    "webhook secret": SECRET,
    "client secret": "aClientSecretForTheTests",
    "refresh token": "aRefreshTokenForTheTests",
}
INBOX = """
SELECT id, source_entity_id, modified_at IS NOT NULL, effects_version(modified_at), operation, body
  FROM tds_inbox_events WHERE entity_type = 'product' ORDER BY id
"""
EFFECTS = "SELECT id, kind, record, version, action, content FROM effects ORDER BY id"
TASKS = """
SELECT id, source_entity_id, status, operation, COALESCE(outcome, ''), coalesced, attempt_count,
       COALESCE(error_code, '')
  FROM tds_sync_queue WHERE entity_type = 'product' ORDER BY id
"""
ROWS = "SELECT zoho_item_id, COALESCE(price, 0)::integer, is_active, name FROM products ORDER BY 1"
LETTERS = """
SELECT source_entity_id, error_code FROM tds_dead_letter_queue WHERE resolved_at IS NULL ORDER BY id
"""
TABLES = """
SELECT c.relname FROM pg_class AS c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
   AND (c.relname LIKE 'tds\\_%' OR c.relname IN ('products', 'invoices')) ORDER BY 1
"""


class Stored(Struct, frozen=True):
    """A row of the inbox."""

    id: int
    record: str
    version: int
    operation: str
    digest: str


class Effect(Struct, frozen=True):
    """A change that became visible: of a product (`row`) or of a record's state; `id` is the order of the commits."""

    id: int
    kind: str
    record: str
    version: int
    action: str
    content: str


class Task(Struct, frozen=True):
    """A row of the queue, live or done."""

    id: int
    record: str
    status: str
    operation: str
    outcome: str
    coalesced: int
    attempts: int
    code: str


class Row(Struct, frozen=True):
    """A product as it stands at the end."""

    record: str
    version: int
    active: bool
    content: str


class Sample(Struct, frozen=True):
    """What a daemon used at one moment: bytes, descriptors, connections to Postgres."""

    resident: int
    descriptors: int
    connections: int


class Evidence(Struct, frozen=True, kw_only=True):
    """All that is known of a run."""

    history: Sequence[Line] = ()
    inbox: Sequence[Stored] = ()
    effects: Sequence[Effect] = ()
    tasks: Sequence[Task] = ()
    rows: Sequence[Row] = ()
    letters: Sequence[tuple[str, str]] = ()
    sinks: Mapping[str, bytes] = {}
    samples: Sequence[Sample] = ()


async def gather(
    dsn: str, history: Sequence[Line], *, logs: Iterable[Path] = (), samples: Sequence[Sample] = ()
) -> Evidence:
    """Read what a run left behind, in one snapshot of the database."""
    connection = await asyncpg.connect(dsn, timeout=10, command_timeout=120)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return Evidence(
                history=history,
                inbox=[_stored(row) for row in await connection.fetch(INBOX)],
                effects=[Effect(*row) for row in await connection.fetch(EFFECTS)],
                tasks=[Task(*row) for row in await connection.fetch(TASKS)],
                rows=[Row(*row) for row in await connection.fetch(ROWS)],
                letters=[(record, code) for record, code in await connection.fetch(LETTERS)],
                sinks={path.name: path.read_bytes() for path in logs} | await _leaks(connection),
                samples=samples,
            )
    finally:
        await connection.close(timeout=10)


def _stored(row: asyncpg.Record) -> Stored:
    number, record, dated, version, operation, body = row
    owner = record or f"body:{digest(body).hex()}"
    return Stored(number, owner, version if dated else -1, operation, hashlib.sha256(body).hexdigest()[:16])


async def _leaks(connection: asyncpg.Connection) -> dict[str, bytes]:
    """Per table the rows in which a secret stands; the others need not be carried here."""
    found = {}
    wanted = [f"%{secret}%" for secret in SECRETS.values()]
    for (table,) in await connection.fetch(TABLES):
        rows = await connection.fetch(f"SELECT t::text FROM {table} AS t WHERE t::text LIKE ANY ($1)", wanted)
        found[f"table {table}"] = "\n".join(row[0] for row in rows).encode()
    return found


def sample(pid: int, connections: int) -> Sample:
    """What a process uses now."""
    status = Path(f"/proc/{pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0]) << 10
    return Sample(resident, sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir()), connections)
