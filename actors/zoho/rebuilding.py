"""Builds target rows again from the audit trail: folding what every effect left there gives the tables again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from actors.zoho import rows
from actors.zoho.entities import Entity
from actors.zoho.target import Field, Target
from tds_runtime import sql
from tds_runtime.database import Connection

Object = dict[str, Any]

_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_decode_rows = msgspec.json.Decoder(dict[str, dict[str, Raw] | None]).decode
_encode = msgspec.json.Encoder().encode


def fold(tables: Iterable[str], lines: Iterable[str | None]) -> tuple[Object | None, dict[str, Object]]:
    """One record's row and its child rows by table and key, as they stand after these lines; no row once it is gone.

    Args:
        tables: Names of the child tables.
        lines: `after` of each audit line, oldest first; None where the row was removed.
    """
    row: Object | None = None
    children: dict[str, Object] = {table: {} for table in tables}
    for after in lines:
        if after is None:
            row, children = None, {table: {} for table in children}
            continue
        changed = _decode(after.encode())
        for table, below in children.items():
            if table in changed:
                _fold_rows(below, _decode_rows(bytes(changed.pop(table))))
        row = {**(row or {}), **changed}
    return row, children


def _fold_rows(rows: Object, changed: Mapping[str, Object | None]) -> None:
    for key, after in changed.items():
        if after is None:
            rows.pop(key, None)
        else:
            rows[key] = after


async def rebuild(connection: Connection, entity: Entity, page: int = 2000) -> int:
    """Write every row that the audit trail of an entity leads to, in the caller's transaction; returns how many rows.

    Rows and child rows are written by their source ids; the ERP's own ids are given anew.
    """
    written = 0
    async for records in _records(connection, entity, page):
        written += await _write(connection, entity.target, records)
    return written


async def _write(connection: Connection, target: Target, records: Mapping[str, list[str | None]]) -> int:
    tables = [children.table for children in target.children]
    folded = {record: fold(tables, lines) for record, lines in records.items()}
    wanted = [
        (record, *[_given(field, row.get(field.name)) for field in target.fields])
        for record, (row, _) in folded.items()
        if row is not None
    ]
    if wanted:
        await connection.fetch(target.upsert, *rows.columns(wanted))
    written = len(wanted)
    for children in target.children:
        parent, key = children.names[:2]
        below = [
            {parent: record, key: name, **values}
            for record, (row, found) in folded.items()
            if row is not None
            for name, values in found[children.table].items()
        ]
        await connection.execute(children.upsert, _encode(below).decode())
        written += len(below)
    return written


def _given(field: Field, value: Raw | None) -> Raw | str | None:
    """A value of the audit trail as an upsert takes it: JSON columns as text."""
    if value is None or field.type != "jsonb":
        return value
    text = bytes(value).decode()
    return None if text == "null" else text


async def _records(connection: Connection, entity: Entity, page: int) -> AsyncIterator[dict[str, list[str | None]]]:
    """Whole records, page by page: the last record of a full page is kept back, its lines may go on."""
    last, line = "", 0
    found: dict[str, list[str | None]] = {}
    while lines := await connection.fetch(sql.load("records/trail"), entity.name, last, line, page):
        for record, line, after in lines:  # noqa: B007 - the last line's number is where the next page begins
            found.setdefault(record, []).append(after)
        last = lines[-1][0]
        rest = found.pop(last)
        if found:
            yield found
        found = {last: rest}
    if found:
        yield found
