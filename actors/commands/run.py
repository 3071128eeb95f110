"""`runs`: what was pulled, what it came to and what it cost, and the log of each."""

from __future__ import annotations

from typing import Any

from cyclopts import App
from msgspec import structs

from actors.configuration import Config
from tds_runtime import runs
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.database import Database
from tds_runtime.runs import Kind, Run, Status

COLUMNS = (
    "id", "entity_type", "kind", "status", "requested_by", "requested_at", "seconds", "pages", "listed", "unchanged",
    "enqueued", "applied", "deferred", "dead", "calls", "bytes", "alarm",
)  # fmt: skip


def register(app: App, session: Session[Config]) -> None:
    """Add `runs` to the command line."""
    verbs = App(name="runs", help="What was pulled, and what came of it.")
    app.command(verbs)

    @verbs.command(name="list")
    async def list_(
        *, entity: str | None = None, kind: Kind | None = None, status: Status | None = None, limit: int = 20,
        json: bool = False,
    ) -> None:  # fmt: skip
        """Show runs, the newest first.

        Args:
            entity: of this entity only, those that a run of everything became included.
            kind: of this kind only.
            status: with this status only.
            limit: how many at most.
            json: print JSON.
        """
        async with session.database(session.load().value.database) as database:
            found = await runs.recent(database, entity_type=entity, kind=kind, status=status, limit=limit)
        if json:
            session.output.data({"runs": found})
        else:
            session.output.table(COLUMNS, [[_shown(run)[name] for name in COLUMNS] for run in found])

    @verbs.command
    async def show(run_id: int, /, *, json: bool = False) -> None:
        """Show a run, the runs that it became, and its log.

        Args:
            run_id: its number.
            json: print JSON.
        """
        async with session.database(session.load().value.database) as database:
            run = await _found(database, run_id)
            parts = await runs.children(database, run_id)
            log = await runs.lines(database, run_id)
        if json:
            session.output.data({"run": run, "runs": parts, "log": log})
            return
        session.output.pairs({name: value for name, value in _shown(run).items() if value not in ("", None, {})})
        if parts:
            session.output.table(COLUMNS, [[_shown(part)[name] for name in COLUMNS] for part in parts])
        columns = ("logged_at", "level", "entity_type", "event", "message", "detail")
        session.output.table(columns, [[getattr(line, name) for name in columns] for line in log])


async def _found(database: Database, run_id: int) -> Run:
    run = await runs.read(database, run_id)
    if run is None:
        raise Ended(f"there is no run {run_id}.", Exit.NOT_FOUND)
    return run


def _shown(run: Run) -> dict[str, Any]:
    began, ended = run.started_at, run.completed_at
    seconds = round((ended - began).total_seconds(), 1) if began and ended else None
    return {**structs.asdict(run), "seconds": seconds}
