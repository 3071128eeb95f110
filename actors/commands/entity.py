"""`entity`: what is mapped, how, and whether its tables can take it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from cyclopts import App

from actors.configuration import Config
from actors.zoho import entities as mappings
from actors.zoho import explaining
from actors.zoho.entities import Entities, Entity
from tds_runtime.cli import Ended, Exit, Output, Session
from tds_runtime.errors import DatabaseGone


def register(app: App, session: Session[Config]) -> None:
    """Add `entity` to the command line."""
    verbs = App(name="entity", help="The mapped kinds of records.")
    app.command(verbs)

    @verbs.command(name="list")
    def list_(*, json: bool = False) -> None:
        """Show every entity: where it comes from and which tables it goes to.

        Args:
            json: print JSON.
        """
        rows = [_summary(entity) for entity in _load(session)]
        if json:
            session.output.data({"entities": rows})
        else:
            session.output.table(list(rows[0]), [[_joined(value) for value in row.values()] for row in rows])

    @verbs.command
    async def explain(name: str, /, *, json: bool = False) -> None:
        """Show what an entity's mapping was compiled to: decoder, statements, and which columns do not fit.

        Args:
            name: which entity.
            json: print JSON.
        """
        entity = _named(_load(session), name)
        found = {**_summary(entity), "columns": explaining.columns(entity), "statements": explaining.statements(entity)}
        wrong, drift = await _compared(session, entity)
        if json:
            session.output.data({**found, "tables": list(entity.ddl()), "wrong": wrong, "drift": drift})
        else:
            _print(session.output, entity, found, wrong, drift)

    @verbs.command
    async def check(name: str = "", /, *, json: bool = False) -> int:
        """Compare the mapping with the tables of the database; exit code 1 when something is wrong.

        Args:
            name: which entity; all when nothing is said.
            json: print JSON.
        """
        entities = _load(session)
        wanted = [_named(entities, name)] if name else list(entities)
        settings = session.load().value
        async with session.database(settings.database) as database, database.connection() as connection:
            wrong = [str(one) for entity in wanted for one in await explaining.wrong(connection, entity)]
        if json:
            session.output.data({"wrong": wrong})
        for sentence in () if json else wrong:
            session.output.line(sentence)
        return Exit.FAILED if wrong else Exit.OK


async def _compared(session: Session[Config], entity: Entity) -> tuple[list[str] | None, list[dict[str, Any]] | None]:
    """What does not fit, and which keys nobody maps; None of both where there is no database to ask."""
    settings = session.load().value
    try:
        async with session.database(settings.database) as database, database.connection() as connection:
            wrong = [str(one) for one in await explaining.wrong(connection, entity)]
            return wrong, await explaining.drift(connection, entity.name)
    except (Ended, DatabaseGone) as error:
        session.output.note(f"Not compared with the database: {error}")
        return None, None


def _print(
    output: Output, entity: Entity, found: dict[str, Any], wrong: list[str] | None, drift: list[dict[str, Any]] | None
) -> None:
    output.pairs({key: _joined(value) for key, value in _summary(entity).items()})
    rows = found["columns"]
    output.table(list(rows[0]), [[_joined(value) for value in row.values()] for row in rows])
    for name, text in found["statements"].items():
        output.line(f"-- {name}")
        for line in text.splitlines():
            output.line(line)
    for sentence in wrong or ():
        output.line(f"does not fit: {sentence}")
    for one in drift or ():
        output.line(f"not mapped: {one['key']}, seen {one['seen']} times, last {one['last_seen_at']}")


def _load(session: Session[Config]) -> Entities:
    return mappings.load(session.load().value.entities.directory)


def _named(entities: Entities, name: str) -> Entity:
    if name not in entities:
        near = get_close_matches(name, entities.names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(entities.names)}."
        raise Ended(f"there is no entity {name}; {hint}", Exit.NOT_FOUND)
    return entities[name]


def _summary(entity: Entity) -> dict[str, Any]:
    return {
        "entity": entity.name,
        "from": [f"{source.api} {source.list_path}" for source in entity.sources],
        "webhook": list(entity.webhook.paths) if entity.webhook else [],
        "tables": [table.name for table in entity.tables],
        "on delete": entity.on_delete,
    }


def _joined(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
