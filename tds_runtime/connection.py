"""A lent connection: statements whose outages have one name, savepoints, and the end of a transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from typing import Any

import anyio
import asyncpg

from tds_runtime.errors import DatabaseGone, Error

Outages = Callable[[Any], AbstractContextManager[None]]


class Connection:
    """A pooled connection, as long as its `async with` lasts; it fails with DatabaseGone or asyncpg.PostgresError."""

    __slots__ = ("_outages", "_wire")

    def __init__(self, wire: Any, outages: Outages) -> None:
        self._outages = outages
        self._wire = wire

    async def fetch(self, statement: str, *arguments: Any) -> list[Any]:
        """Return all rows, as asyncpg Records."""
        with self._outages(self._wire):
            rows: list[Any] = await self._wire.fetch(statement, *arguments)
        return rows

    async def fetchrow(self, statement: str, *arguments: Any) -> Any | None:
        """Return the first row or None."""
        with self._outages(self._wire):
            return await self._wire.fetchrow(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: Any) -> Any:
        """Return the first column of the first row, or None."""
        with self._outages(self._wire):
            return await self._wire.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: Any) -> str:
        """Execute and return the command's tag; without arguments the text may hold several statements."""
        with self._outages(self._wire):
            tag: str = await self._wire.execute(statement, *arguments)
        return tag

    async def executemany(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute once for each row, atomically, in one pipeline."""
        with self._outages(self._wire):
            await self._wire.executemany(statement, rows)

    async def copy(self, table: str, rows: Iterable[Sequence[Any]], columns: Sequence[str]) -> None:
        """Write rows by binary COPY."""
        with self._outages(self._wire):
            await self._wire.copy_records_to_table(table, records=rows, columns=columns)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Roll back to here, and only to here, when the body raises; needs a surrounding transaction."""
        await self.execute("SAVEPOINT tds")
        done = False
        try:
            yield
            done = True
        finally:
            if not is_lost(self._wire):
                with anyio.CancelScope(shield=True):
                    await self.execute("RELEASE SAVEPOINT tds" if done else "ROLLBACK TO SAVEPOINT tds")

    @property
    def wire(self) -> Any:
        """The asyncpg connection itself, for what this class does not wrap; its errors arrive untranslated."""
        return self._wire


def storable(text: str) -> str:
    """Return text as Postgres takes it: without NUL and without lone surrogates, which are escaped."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def cut(wire: Any) -> None:
    """Close the socket. asyncpg takes a connection that died back to its pool, which leaves an empty proxy."""
    with suppress(asyncpg.InterfaceError):
        wire.terminate()


def is_lost(wire: Any) -> bool:
    """Whether the connection is closed, by us, by the server, or by asyncpg after a failure."""
    try:
        return bool(wire.is_closed())
    except asyncpg.InterfaceError:
        return True


async def commit(connection: Connection) -> None:
    """Send COMMIT and make sure that it was one."""
    if is_lost(connection.wire):
        raise DatabaseGone("the connection was lost before COMMIT")
    if await connection.execute("COMMIT") != "COMMIT":  # the server answers ROLLBACK when a statement had failed
        raise Error("a statement of the transaction had failed, so nothing was committed")


async def roll_back(connection: Connection) -> None:
    """Send ROLLBACK, if there is still somebody to send it to."""
    with suppress(DatabaseGone):  # what made us roll back says more than the failure to do so
        if not is_lost(connection.wire):
            await connection.execute("ROLLBACK")
