"""`entity`: what is mapped, how, and whether its tables can take it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from cyclopts import App

from actors.tree import Config
from actors.zoho import entities as mappings
from actors.zoho import tables
from actors.zoho.entities import Entities, Entity
from tds_runtime.cli import Ended, Exit, Session


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
    def explain(name: str, /, *, json: bool = False) -> None:
        """Show the columns of an entity: from which key of the source each is filled.

        Args:
            name: which entity.
            json: print JSON.
        """
        entity = _named(_load(session), name)
        if json:
            session.output.data({**_summary(entity), "columns": _columns(entity), "statements": entity.ddl()})
            return
        session.output.pairs({key: _joined(value) for key, value in _summary(entity).items()})
        rows = _columns(entity)
        session.output.table(list(rows[0]), [[_joined(value) for value in row.values()] for row in rows])

    @verbs.command
    async def check(name: str = "", /) -> int:
        """Compare the mapping with the tables of the database; exit code 1 when something is wrong.

        Args:
            name: which entity; all when nothing is said.
        """
        entities = _load(session)
        wanted = _named(entities, name).tables if name else entities.tables
        settings = session.load().value
        async with session.database(settings.database) as database, database.connection() as connection:
            wrong = await tables.faults(connection, wanted)
        for sentence in wrong:
            session.output.line(sentence)
        return Exit.FAILED if wrong else Exit.OK


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


def _columns(entity: Entity) -> list[dict[str, Any]]:
    target = entity.mapping.target
    shapes = [(target.table, entity.mapping.columns)]
    shapes += [(child.table, child.columns) for child in entity.mapping.children]
    return [
        {
            "table": table,
            "column": name,
            "type": column.type,
            "path": column.path,
            "documents": column.facet,
            "required": column.required,
            "owner": column.owner,
        }
        for table, columns in shapes
        for name, column in columns.items()
    ]


def _joined(value: Any) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)
