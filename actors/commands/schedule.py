"""`schedule`: when what runs, what became of it, and running or pausing it by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any
from zoneinfo import ZoneInfo

from cyclopts import App

from actors import schedules, ticker
from actors.bell import Bell
from actors.tree import Config
from tds_runtime import schedule, sql
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.database import Connection, Database
from tds_runtime.schedule import Decision, Schedule


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
        slots = schedule.following(plan, datetime.now(UTC), count)
        zone = ZoneInfo(plan.timezone)
        if json:
            session.output.data({"slots": slots})
        else:
            shown = [(slot.astimezone(zone).isoformat(), slot.isoformat()) for slot in slots]
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
            found = await database.fetch(sql.load("schedule/history", package="actors"), name, limit)
        rows = [dict(row.items()) for row in found]
        if json:
            session.output.data({"slots": rows})
        else:
            columns = ("slot", "outcome", "run_id", "status", "took", "detail")
            session.output.table(columns, [[row[column] for column in columns] for row in rows])


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
            run_id = await _start(connection, name, plan, datetime.now(UTC))
        session.output.line(f"run {run_id}")


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
            await database.execute(sql.load("schedule/pause", package="actors"), name, session.operator, reason)
        session.output.note(f"{name} is paused.")

    @verbs.command
    async def resume(name: str, /) -> None:
        """Let a paused schedule go on with its next slot.

        Args:
            name: which schedule.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            gone = await database.fetchval(sql.load("schedule/resume", package="actors"), name)
        if gone is None:
            raise Ended(f"{name} is not paused.", Exit.NOT_FOUND)
        session.output.note(f"{name} goes on.")


def _add_backfill(verbs: App, session: Session[Config]) -> None:
    @verbs.command
    async def backfill(name: str, /, *, since: datetime, until: datetime | None = None, dry_run: bool = False) -> None:
        """Run the slots of a past time that have no outcome yet, each once.

        Args:
            name: which schedule.
            since: from when on; a time without a zone is UTC.
            until: to when; now when nothing is said.
            dry_run: only say how many.
        """
        settings = session.load().value
        plan = _named(settings, name)
        slots = _between(plan, _aware(since), min(_aware(until or datetime.now(UTC)), datetime.now(UTC)))
        made = 0
        if not dry_run:
            async with session.database(settings.database) as database, database.transaction() as connection:
                for slot in slots:
                    made += await _backfill(connection, name, plan, slot, session.operator)
        session.output.line(
            f"{len(slots)} slots" if dry_run else f"{made} of {len(slots)} slots had no outcome and run"
        )


async def _rows(database: Database, plans: Mapping[str, Schedule]) -> list[dict[str, Any]]:
    newest = {
        row["schedule"]: row for row in await database.fetch(sql.load("api/slots", package="actors"), list(plans))
    }
    paused = {row["name"] for row in await database.fetch(sql.load("schedule/paused", package="actors"))}
    return [_row(name, plan, newest.get(name), paused) for name, plan in plans.items()]


def _row(name: str, plan: Schedule, newest: Any, paused: set[str]) -> dict[str, Any]:
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


async def _start(connection: Connection, name: str, plan: Schedule, slot: datetime) -> int:
    """The run row of a schedule; what keeps no run rows (healing) can only be asked of the daemon."""
    actions = schedules.actions(Bell(()))  # nobody is to be woken: the daemon looks for itself
    schedules.check({name: plan}, actions)
    run_id = await actions[plan.run].start(connection, schedule=name, slot=slot, args=plan.args)
    if run_id is None:
        raise Ended(f'"{plan.run}" keeps no runs: only a running daemon can be asked for it, over HTTP.')
    return run_id


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _between(plan: Schedule, since: datetime, until: datetime) -> list[datetime]:
    found: list[datetime] = []
    for slot in schedule.slots(plan, since):
        if slot > until:
            break
        found.append(slot)
        if len(found) > schedule.MOST_AT_ONCE:
            raise Ended(f"that is more than {schedule.MOST_AT_ONCE} slots; take a shorter time.", Exit.USAGE)
    return found


async def _backfill(connection: Connection, name: str, plan: Schedule, slot: datetime, by: str) -> bool:
    if not await ticker.record(connection, name, Decision(slot, "late", f"backfilled by {by}")):
        return False
    run_id = await _start(connection, name, plan, slot)
    await connection.execute(sql.load("ticker/attach", package="actors"), name, slot, run_id)
    return True
