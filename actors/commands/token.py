"""`token`: who may use the HTTP API and the dashboard."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Literal

import asyncpg
from cyclopts import App

from tds_runtime import audit, sql
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.cli.session import C
from tds_runtime.database import Database
from tds_runtime.values import Duration


def register(app: App, session: Session[C]) -> None:
    """Add `token` to the command line."""
    token = App(name="token", help="Bearer tokens of the HTTP API.")
    app.command(token)
    for add in (_add_create, _add_list, _add_revoke):
        add(token, session)


def _add_create(token: App, session: Session[C]) -> None:
    @token.command
    async def create(
        *, name: str, role: Literal["viewer", "operator"] = "viewer", expires: str = "", json: bool = False
    ) -> None:
        """Make a token and print it, this once; only its hash is kept.

        Args:
            name: whose it is; the audit trail names it.
            role: a viewer reads, an operator also acts.
            expires: after this time (such as 90d); without it never.
            json: print JSON.
        """
        value = f"tds_{secrets.token_urlsafe(32)}"
        until = _until(expires)
        settings = session.load().value
        async with session.database(settings.database) as database:
            digest = hashlib.sha256(value.encode()).digest()
            await _store(database, name, digest, role, session.operator, until)
            detail = {"name": name, "role": role, "expires_at": until}
            await audit.note(database, session.operator, "token.create", detail=detail)
        if json:
            session.output.data({"token": value, "name": name, "role": role, "expires_at": until})
        else:
            session.output.line(value)
            session.output.note(f"Shown this once. Authorization: Bearer TOKEN ({role})")


def _add_list(token: App, session: Session[C]) -> None:
    @token.command(name="list")
    async def list_(*, json: bool = False) -> None:
        """Show the tokens that work, without themselves.

        Args:
            json: print JSON.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            rows = [dict(row.items()) for row in await database.fetch(sql.load("token/list", package="actors"))]
        if json:
            session.output.data({"tokens": rows})
        else:
            columns = ("name", "role", "created_at", "created_by", "expires_at")
            session.output.table(columns, [[row[column] for column in columns] for row in rows])


def _add_revoke(token: App, session: Session[C]) -> None:
    @token.command
    async def revoke(name: str, /) -> None:
        """Make a token worthless at once.

        Args:
            name: whose it is.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            gone = await database.fetchval(sql.load("token/revoke", package="actors"), name)
            if gone is None:
                raise Ended(f"there is no token named {name}.", Exit.NOT_FOUND)
            await audit.note(database, session.operator, "token.revoke", detail={"name": name})
        session.output.note(f"{name} is revoked.")


async def _store(database: Database, name: str, *values: object) -> None:
    async with database.transaction() as connection:
        await connection.execute(sql.load("token/make_way", package="actors"), name)
        try:
            await connection.execute(sql.load("token/create", package="actors"), name, *values)
        except asyncpg.UniqueViolationError as error:
            raise Ended(f"there is a token named {name}; revoke it first.", Exit.CONFLICT) from error


def _until(expires: str) -> datetime | None:
    if not expires:
        return None
    try:
        seconds = Duration(expires)
    except ValueError as error:
        raise Ended(f"--expires: {error}", Exit.USAGE) from error
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds, UTC)
