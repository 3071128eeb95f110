"""`queue`: what waits and what is in work; holding an entity back; giving waiting tasks up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from cyclopts import App

from tds_runtime import audit, sql
from tds_runtime.cli.output import Ended, Exit, Output
from tds_runtime.cli.session import C, Session, duration
from tds_runtime.cli.status import Entity, print_entities
from tds_runtime.database import Database
from tds_runtime.oversight import AT_A_TIME
from tds_runtime.queue import Queue, Selection


def register(app: App, session: Session[C]) -> None:
    """Add `queue` to the command line."""
    queue = App(name="queue", help="Waiting tasks and tasks in work.")
    app.command(queue)
    for add in (_add_show, _add_pause, _add_cancel, _add_snooze):
        add(queue, session)


def _add_show(queue: App, session: Session[C]) -> None:
    @queue.default
    async def show(*, json: bool = False) -> None:
        """Show the unfinished tasks of each entity, and which entities are paused.

        Args:
            json: print JSON.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            entities = await _entities(database)
            paused = await opened(session, database).paused()
        if json:
            session.output.data({"entities": entities, "paused": paused})
            return
        print_entities(session.output, entities)
        for entity, reason in paused.items():
            session.output.note(f"{entity} is paused: {reason or 'no reason given'}")


def _add_pause(queue: App, session: Session[C]) -> None:
    @queue.command
    async def pause(entity: str, /, *, reason: str, lasting: str = "") -> None:
        """Hold an entity back: its tasks wait, webhooks are still stored.

        Args:
            entity: which one.
            reason: why, for whoever looks next.
            lasting: for how long (such as 2h); without it until `queue resume`.
        """
        settings = session.load().value
        until = datetime.now(UTC) + timedelta(seconds=duration(lasting)) if lasting else None
        async with session.database(settings.database) as database:
            await opened(session, database).pause(entity, by=session.operator, reason=reason, until=until)
            detail = {"until": until}
            await audit.note(database, session.operator, "queue.pause", reason=reason, entity=entity, detail=detail)
        session.output.note(f"{entity} is paused.")

    @queue.command
    async def resume(entity: str, /) -> None:
        """Let a paused entity go on.

        Args:
            entity: which one.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            if not await opened(session, database).resume(entity):
                raise Ended(f"{entity} is not paused.", Exit.NOT_FOUND)
            await audit.note(database, session.operator, "queue.resume", entity=entity)
        session.output.note(f"{entity} goes on.")


def _add_cancel(queue: App, session: Session[C]) -> None:
    @queue.command
    async def cancel(*ids: int, entity: str = "", reason: str, yes: bool = False, json: bool = False) -> None:
        """Give waiting tasks up; they stay on record as cancelled.

        Args:
            *ids: the tasks' ids.
            entity: instead of ids: all that wait of this entity.
            reason: why, for whoever looks next.
            yes: do not ask.
            json: print JSON.
        """
        chosen = _chosen(ids, entity)
        session.output.confirm(f"Cancel {len(ids) or 'all'} waiting tasks{entity and ' of ' + entity}?", yes=yes)

        def cancel_some(tasks: Queue) -> Awaitable[int]:
            return tasks.cancel(chosen, by=session.operator, reason=reason, limit=AT_A_TIME)

        count = await moved(session, chosen, cancel_some, action="queue.cancel", reason=reason)
        _report(session.output, "cancelled", count, json=json)


def _add_snooze(queue: App, session: Session[C]) -> None:
    @queue.command
    async def snooze(*ids: int, entity: str = "", lasting: str, reason: str, json: bool = False) -> None:
        """Put waiting tasks off; no attempt is spent, and a newer change of a record lets its task go at once.

        Args:
            *ids: the tasks' ids.
            entity: instead of ids: all that wait of this entity now.
            lasting: for how long (such as 2h).
            reason: why, for whoever looks next.
            json: print JSON.
        """
        chosen, until = _chosen(ids, entity), datetime.now(UTC) + timedelta(seconds=duration(lasting))

        def snooze_some(tasks: Queue) -> Awaitable[int]:
            return tasks.put_off(chosen, until, by=session.operator, reason=reason)

        count = await moved(session, chosen, snooze_some, action="queue.snooze", reason=reason)
        _report(session.output, "snoozed", count, json=json)


def _chosen(ids: tuple[int, ...], entity: str) -> Selection:
    if bool(ids) == bool(entity):
        raise Ended("Say which tasks: ids, or --entity.", Exit.USAGE)
    return Selection(ids=ids or None, entity_type=entity or None)


async def moved(
    session: Session[C], chosen: Selection, move: Callable[[Queue], Awaitable[int]], *, action: str, reason: str = ""
) -> int:
    """Move all that is chosen, AT_A_TIME of it at a time, note the action and return how many."""
    settings = session.load().value
    async with session.database(settings.database) as database:
        tasks = opened(session, database)
        total = portion = await move(tasks)
        while portion == AT_A_TIME:
            portion = await move(tasks)
            total += portion
        if total:
            entity, detail = chosen.entity_type or "", {"selection": chosen, "moved": total}
            await audit.note(database, session.operator, action, reason=reason, entity=entity, detail=detail)
        return total


def _report(output: Output, verb: str, count: int, *, json: bool) -> None:
    if json:
        output.data({verb: count})
    else:
        output.line(f"{count} {verb}")


def opened(session: Session[C], database: Database) -> Queue:
    """The queue as an operator sees it: it claims nothing, so its boot id is only a name."""
    return Queue(database, boot_id=f"cli:{session.operator}")


async def _entities(database: Database) -> tuple[Entity, ...]:
    return tuple(Entity(**dict(row)) for row in await database.fetch(sql.load("status/entities")))
