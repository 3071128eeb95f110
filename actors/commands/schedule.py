"""`schedule`: when what runs, what became of it, and running or pausing it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any

from cyclopts import App

from actors import timetable
from actors.configuration import Config
from actors.timetable import TooManySlots
from tds_runtime import audit, schedule, sql
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.database import Database
from tds_runtime.schedule import Schedule


def register(app: App, session: Session[Config]) -> None:
    """Add `schedule` to the command line."""
    verbs = App(name="schedule", help="What runs by itself, and when.")
    app.command(verbs)
    for add in (_add_list, _add_slots, _add_run, _add_pause, _add_backfill):
        add(verbs, session)


def _add_list(verbs: App, session: Session[Config]) -> None:
    @verbs.command(name="list")
    async def list_(*, json: bool = False) -> None:
        """Show each schedule, its next slot and what became of its newest one.

        Args:
            json: print JSON.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            rows = await _rows(database, settings.schedule)
        if json:
            session.output.data({"schedules": rows})
        else:
            session.output.table(list(rows[0]), [list(row.values()) for row in rows])


def _add_slots(verbs: App, session: Session[Config]) -> None:
    @verbs.command(name="next")
    def next_(name: str, /, *, count: int = 5, json: bool = False) -> None:
        """Show the coming slots, in the schedule's zone and in UTC.

        Args:
            name: which schedule.
            count: how many.
            json: print JSON.
        """
        plan = _named(session.load().value, name)
        slots = timetable.coming(plan, count)
        if json:
            session.output.data({"slots": slots})
        else:
            shown = [(one.local.isoformat(), one.slot.isoformat()) for one in slots]
            session.output.table((plan.timezone, "UTC"), shown)

    @verbs.command
    async def history(name: str, /, *, limit: int = 20, json: bool = False) -> None:
        """Show what became of the newest slots.

        Args:
            name: which schedule.
            limit: how many.
            json: print JSON.
        """
        settings = session.load().value
        _named(settings, name)
        async with session.database(settings.database) as database:
            found = await timetable.history(database, name, limit)
        if json:
            session.output.data({"slots": found})
        else:
            columns = ("slot", "outcome", "work", "work_id", "status", "seconds", "detail")
            session.output.table(columns, [[getattr(one, column) for column in columns] for one in found])


def _add_run(verbs: App, session: Session[Config]) -> None:
    @verbs.command
    async def run(name: str, /) -> None:
        """Run what a schedule runs, now, besides its slots.

        Args:
            name: which schedule.
        """
        settings = session.load().value
        plan = _named(settings, name)
        async with session.database(settings.database) as database, database.transaction() as connection:
            made = await timetable.run(connection, name, plan)
            detail = {"schedule": name, "work": made.work, "work_id": made.work_id}
            await audit.note(connection, session.operator, "schedule.run", detail=detail)
        session.output.line(f"{made.work} {made.work_id}")


def _add_pause(verbs: App, session: Session[Config]) -> None:
    @verbs.command
    async def pause(name: str, /, *, reason: str) -> None:
        """Skip the slots of a schedule until `schedule resume`; each skipped slot is recorded.

        Args:
            name: which schedule.
            reason: why, for whoever looks next.
        """
        settings = session.load().value
        _named(settings, name)
        async with session.database(settings.database) as database:
            await timetable.pause(database, name, session.operator, reason)
            await audit.note(database, session.operator, "schedule.pause", reason=reason, detail={"schedule": name})
        session.output.note(f"{name} is paused.")

    @verbs.command
    async def resume(name: str, /) -> None:
        """Let a paused schedule go on with its next slot.

        Args:
            name: which schedule.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            if not await timetable.resume(database, name):
                raise Ended(f"{name} is not paused.", Exit.NOT_FOUND)
            await audit.note(database, session.operator, "schedule.resume", detail={"schedule": name})
        session.output.note(f"{name} goes on.")


def _add_backfill(verbs: App, session: Session[Config]) -> None:
    @verbs.command
    async def backfill(name: str, /, *, since: datetime, until: datetime | None = None, dry_run: bool = False) -> None:
        """Run the slots of a past time that have no outcome yet, each once.

        Args:
            name: which schedule.
            since: from when on; a time without a zone is UTC.
            until: to when; now when nothing is said.
            dry_run: only say how many that would be.
        """
        settings = session.load().value
        plan = _named(settings, name)
        try:
            slots = timetable.missed(plan, since, until)
        except TooManySlots as error:
            raise Ended(str(error), Exit.USAGE) from error
        async with session.database(settings.database) as database:
            if dry_run:
                made = await timetable.undecided(database, name, slots)
            else:
                async with database.transaction() as connection:
                    made = await timetable.backfill(connection, name, plan, slots, session.operator)
                    detail = {"schedule": name, "since": since, "until": until, "slots": made}
                    await audit.note(connection, session.operator, "schedule.backfill", detail=detail)
        session.output.line(f"{made} of {len(slots)} slots had no outcome and {'would run' if dry_run else 'run'}")


async def _rows(database: Database, plans: Mapping[str, Schedule]) -> list[dict[str, Any]]:
    newest = {
        row["schedule"]: row for row in await database.fetch(sql.load("api/slots", package="actors"), list(plans))
    }
    paused = await timetable.paused(database)
    return [_row(name, plan, newest.get(name), paused) for name, plan in plans.items()]


def _row(name: str, plan: Schedule, newest: Any, paused: Mapping[str, str]) -> dict[str, Any]:
    following = schedule.following(plan, datetime.now(UTC), 1)
    state = "disabled" if not plan.enabled else "paused" if name in paused else "on"
    return {
        "schedule": name,
        "state": state,
        "when": schedule.describe(plan),
        "run": plan.run,
        "next": following[0] if following and state == "on" else None,
        "last": newest["slot"] if newest else None,
        "outcome": newest["outcome"] if newest else None,
    }


def _named(settings: Config, name: str) -> Schedule:
    if name not in settings.schedule:
        near = get_close_matches(name, settings.schedule, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(settings.schedule)}."
        raise Ended(f"there is no schedule {name}; {hint}", Exit.NOT_FOUND)
    return settings.schedule[name]
