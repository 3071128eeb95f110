"""`check` and `config`: is the configuration right, what does it say, and where does each value come from?"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from socket import socket
from typing import Any

from cyclopts import App

from tds_runtime import config, database, embedded, migrate, premises
from tds_runtime.cli.output import Exit
from tds_runtime.cli.session import C, Host, Session
from tds_runtime.database import Database
from tds_runtime.document import Where
from tds_runtime.errors import DatabaseGone, DatabaseRefused
from tds_runtime.redaction import Redactor

Check = Callable[[C], Awaitable[Sequence[str]]]
"""Something else to try with --connect; it returns what is wrong."""


def register(app: App, session: Session[C], checks: Sequence[Check[C]]) -> None:
    """Add `check` and `config` to the command line."""

    @app.command
    async def check(*, connect: bool = False) -> int:
        """Read the configuration and build the tree without starting anything.

        Args:
            connect: also reach the database and whatever else the daemon talks to.
        """
        settings = session.load().value
        with socket() as nowhere:
            session.tree(settings, Host(nowhere))
        session.output.note(f"{session.path} is valid.")
        return await _connected(session, settings, checks) if connect else Exit.OK

    configuration = App(name="config", help="Show what is configured.")
    app.command(configuration)

    @configuration.command
    def show(*, origin: bool = False, json: bool = False) -> None:
        """Print the configuration as it is used, secrets masked.

        Args:
            origin: say where each value came from.
            json: print JSON.
        """
        loaded = session.load()
        values = dict(leaves(config.plain(loaded.value)))
        if json and not origin:
            session.output.data(config.plain(loaded.value))
        elif json:
            session.output.data(
                {
                    dotted(where): {"value": value, "origin": _origin(loaded.origins, where)}
                    for where, value in values.items()
                }
            )
        elif origin:
            rows = [(dotted(where), _shown(value), _origin(loaded.origins, where)) for where, value in values.items()]
            session.output.table(("setting", "value", "origin"), rows)
        else:
            session.output.pairs({dotted(where): _shown(value) for where, value in values.items()})

    @configuration.command
    def schema() -> None:
        """Print the JSON Schema of the configuration file, for editors."""
        session.output.data(config.schema(session.shape))


def leaves(value: Any, where: Where = ()) -> Iterator[tuple[Where, Any]]:
    """The values in nested tables, each with its path; a list is one value."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from leaves(inner, (*where, key))
    elif value != {}:
        yield where, value


def dotted(where: Where) -> str:
    """A path as one would write it."""
    return ".".join(str(part) for part in where)


def _shown(value: Any) -> str:
    return "" if value is None else str(value)


def _origin(origins: Mapping[Where, config.Origin], where: Where) -> str:
    for end in range(len(where), 0, -1):
        if where[:end] in origins:
            return str(origins[where[:end]])
    return "default"


async def _connected(session: Session[C], settings: C, checks: Sequence[Check[C]]) -> int:
    wrong = await _database_problems(session, settings.database)
    for check in checks:
        wrong += await check(settings)
    redactor = Redactor(config.secrets(settings))  # what the other side answers may repeat what it was sent
    for problem in wrong:
        session.output.note(redactor.text(problem))
    return Exit.UNREACHABLE if wrong else Exit.OK


async def _database_problems(session: Session[C], options: database.Options) -> list[str]:
    if options.dsn == "embedded" and await embedded.attach(options.data_directory) is None:
        premises.binaries()  # says so when the extra is not installed
        session.output.note("database: embedded, not running now; the daemon will start it.")
        return []
    try:
        async with Database(options, application_name="tds-runtime-check").opened() as opened:
            async with opened.unguarded() as connection:
                await migrate.check(connection)
            status = await migrate.status(opened)
    except (DatabaseGone, DatabaseRefused) as error:
        return [f"database: {error}"]
    session.output.note(f"database: reached, {len(status.pending)} migrations to apply.")
    return []
