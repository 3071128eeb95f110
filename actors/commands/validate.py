"""`reconcile validate`: the tables by themselves, without the source."""

from __future__ import annotations

from difflib import get_close_matches

from cyclopts import App

from actors.configuration import Config
from actors.reports import EVERYTHING
from actors.zoho import entities as mappings
from actors.zoho import validating
from actors.zoho.entities import Entities
from tds_runtime.cli import Ended, Exit, Output, Session


def add(verbs: App, session: Session[Config]) -> None:
    """Add `validate` to the verbs of `reconcile`."""

    @verbs.command
    async def validate(
        entity: str = "", /, *, kind: str = "", after: str = "", limit: int = 50, json: bool = False
    ) -> int:
        """Look through the tables alone, without the source; exit code 3 when something is not as the mapping demands.

        Args:
            entity: only its tables; all when nothing is said.
            kind: only integrity, orphans or duplicates.
            after: with --kind: go on behind this position.
            limit: how many problems of each kind.
            json: print JSON.
        """
        if (kind and kind not in validating.KINDS) or (after and not kind):
            raise Ended(f"--kind is one of {', '.join(validating.KINDS)}; --after needs it.", Exit.USAGE)
        settings = session.load().value
        entities = mappings.load(settings.entities.directory)
        known(entity or EVERYTHING, entities)
        async with session.database(settings.database) as database:
            found = {
                one: await validating.look(database, entities, one, entity=entity, position=after, limit=limit)
                for one in validating.KINDS
                if kind in ("", one)
            }
        _print(session.output, found, json=json)
        return Exit.DEGRADED if any(page.items for page in found.values()) else Exit.OK


def known(entity: str, entities: Entities) -> None:
    """Refuse an entity that there is not, with a hint."""
    names = (*entities.names, EVERYTHING)
    if entity not in names:
        near = get_close_matches(entity, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}."
        raise Ended(f"there is no entity {entity}; {hint}", Exit.NOT_FOUND)


def _print(output: Output, found: dict[validating.Kind, validating.Page], *, json: bool) -> None:
    if json:
        output.data(found)
        return
    rows = [
        (kind, one.entity, one.table, one.record, one.part, "; ".join(one.problems))
        for kind, page in found.items()
        for one in page.items
    ]
    output.table(("kind", "entity", "table", "record", "part", "problems"), rows)
    for kind, page in found.items():
        if page.next:
            output.note(f"{kind}: there is more, go on with --kind {kind} --after {page.next}")
