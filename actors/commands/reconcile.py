"""`reconcile`: hold the source against the tables, read what was found record by record, and put it right."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

import anyio
import msgspec
from cyclopts import App

from actors import reports
from actors.commands import validate
from actors.configuration import Config
from actors.reports import EVERYTHING, Depth, Finding, Kind, Report, Result
from actors.zoho import entities as mappings
from tds_runtime import audit, sql
from tds_runtime.cli import Ended, Exit, Output, Session
from tds_runtime.database import Connection, Database

_POLL = 0.5
_STARTS_WITHIN = 30.0
_COLUMNS = (
    "entity_type", "depth", "match_percentage", "source_count", "local_count", "missing", "extra", "different",
    "in_flight", "repairs", "alarm", "note",
)  # fmt: skip


def register(app: App, session: Session[Config]) -> None:
    """Add `reconcile` to the command line."""
    verbs = App(name="reconcile", help="The source against the tables.")
    app.command(verbs)
    for add in (_add_compare, _add_report, _add_list, _add_cancel, validate.add):
        add(verbs, session)


def _add_compare(verbs: App, session: Session[Config]) -> None:
    @verbs.default
    async def compare(
        entity: str = EVERYTHING,
        /,
        *,
        counts: bool = False,
        repair: bool = False,
        yes: bool = False,
        dry_run: bool = False,
        reason: str = "",
        json: bool = False,
    ) -> int:
        """Ask the daemon to compare, and wait for the report; exit code 3 when something matches too little.

        Args:
            entity: what to compare, or `all`.
            counts: only count both sides, one call a source.
            repair: fetch again what is missing or differs; ask the source for what is extra, and remove what it denies.
            yes: with --repair: do not ask.
            dry_run: with --repair: only say what it would do.
            reason: with --repair: why, for the audit trail.
            json: print the report as JSON.
        """
        if counts and repair:
            raise Ended("--counts finds no records, so there is nothing to repair.", Exit.USAGE)
        settings = session.load().value
        validate.known(entity, mappings.load(settings.entities.directory))
        depth: Depth = "counts" if counts else "records"
        async with session.database(settings.database) as database:
            await _somebody_works(database)
            asking = _Asking(session, database, entity, reason)
            if repair and not (yes or dry_run):
                report, results = await asking.done("records", repair=False)
                session.output.confirm(f"{_plan(results)}. Do it?", yes=False)
            report, results = await asking.done(depth, repair=repair and not dry_run)
        _print(session.output, report, results, json=json)
        if dry_run:
            session.output.note(f"{_plan(results)}. Nothing was changed.")
        return _code(report, results, settings.reconciler.threshold)


class _Asking:
    """Asks for reports of one entity, and waits for them."""

    def __init__(self, session: Session[Config], database: Database, entity: str, reason: str) -> None:
        self._session = session
        self._database = database
        self._entity = entity
        self._reason = reason

    async def done(self, depth: Depth, *, repair: bool) -> tuple[Report, list[Result]]:
        async with self._database.transaction() as connection:
            by = self._session.operator
            report_id = await reports.request(
                connection, self._entity, by, depth=depth, repair=repair, reason=self._reason
            )
            if repair:
                wish = "reconciliation.request"
                await _note(connection, wish, report_id, by=by, reason=self._reason, entity=self._entity)
        report = await _ended(self._session.output, self._database, report_id)
        return report, await reports.results(self._database, report_id)


async def _note(connection: Connection, action: str, number: int, *, by: str, reason: str, entity: str) -> None:
    await audit.note(connection, by, action, reason=reason, entity=entity, detail={"report_id": number})


def _plan(results: Iterable[Result]) -> str:
    """What a repair would do about these findings."""
    told = list(results)
    wrong = sum((one.missing or 0) + (one.different or 0) for one in told)
    extra = sum(one.extra or 0 for one in told if not one.alarm)
    refused = [one.entity_type for one in told if one.alarm]
    kept = f", and touch no extra record of {', '.join(refused)}: they are too many" if refused else ""
    return f"A repair would fetch {wrong} records again and ask the source for {extra} that it does not list{kept}"


def _add_report(verbs: App, session: Session[Config]) -> None:
    @verbs.command
    async def report(
        number: int,
        /,
        *,
        entity: str = "",
        kind: str = "",
        record: str = "",
        after: str = "",
        limit: int = 50,
        json: bool = False,
    ) -> int:
        """Show a report, and the records that did not match with their columns.

        Args:
            number: the report's id.
            entity: only records of this entity.
            kind: only missing, extra, different or in_flight ones.
            record: only this record, by its id at the source.
            after: go on behind this pair, entity/record.
            limit: how many records.
            json: print JSON.
        """
        if kind and kind not in get_args(Kind):
            raise Ended(f"--kind is one of {', '.join(get_args(Kind))}.", Exit.USAGE)
        settings = session.load().value
        behind = after.partition("/")
        async with session.database(settings.database) as database:
            found = await _read(database, number)
            results = await reports.results(database, number)
            page = await reports.findings(
                database,
                number,
                after=(behind[0], behind[2]),
                entity_type=entity or None,
                kind=kind or None,  # type: ignore[arg-type] # one of the words, as was checked
                record=record or None,
                limit=limit,
            )
        _print(session.output, found, results, page, json=json)
        if not json and len(page) == limit:
            session.output.note(f"go on with --after {page[-1].entity_type}/{page[-1].source_entity_id}")
        return _code(found, results, settings.reconciler.threshold)


def _add_list(verbs: App, session: Session[Config]) -> None:
    @verbs.command(name="list")
    async def list_(*, limit: int = 20, before: int | None = None, json: bool = False) -> None:
        """Show reports, the newest first.

        Args:
            limit: how many.
            before: go on below this id.
            json: print JSON.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            found = await reports.recent(database, before=before, limit=limit)
        if json:
            session.output.data({"reports": found})
            return
        columns = ("id", "entity_type", "depth", "repair", "status", "match_percentage", "requested_by", "requested_at")
        session.output.table(columns, [[getattr(one, column) for column in columns] for one in found])


def _add_cancel(verbs: App, session: Session[Config]) -> None:
    @verbs.command
    async def cancel(number: int, /, *, reason: str = "") -> None:
        """End a report that has not ended; what is stored of it stays.

        Args:
            number: the report's id.
            reason: why, for whoever looks next.
        """
        settings = session.load().value
        async with session.database(settings.database) as database, database.transaction() as connection:
            found = await _read(connection, number)
            if not await reports.cancel(connection, number, f"{session.operator}: {reason}"):
                raise Ended(f"report {number} has ended already: {found.status}.", Exit.CONFLICT)
            by, entity = session.operator, found.entity_type
            await _note(connection, "reconciliation.cancel", number, by=by, reason=reason, entity=entity)
        session.output.note(f"report {number} is cancelled.")


# --- asking and following


async def _somebody_works(database: Database) -> None:
    if not any(row["alive"] for row in await database.fetch(sql.load("status/nodes"))):
        raise Ended("No daemon is running that could compare: start one with `tds-runtime run`.", Exit.UNREACHABLE)


async def _read(database: Database | Connection, number: int) -> Report:
    found = await reports.read(database, number)
    if found is None:
        raise Ended(f"there is no report {number}.", Exit.NOT_FOUND)
    return found


async def _ended(output: Output, database: Database, number: int) -> Report:
    """Follow a report to its end; interrupted, it goes on without us."""
    begun, warned = anyio.current_time(), False
    with output.progress() as progress:
        bar = progress.add_task(f"report {number}", total=None, rate="")
        while not (report := await _read(database, number)).ended:
            seconds = anyio.current_time() - begun
            title = f"{report.current_entity or 'report'} ({report.compared}/{report.entities or '?'})"
            progress.update(bar, description=title, completed=report.seen, total=report.expected, rate="")
            if report.status == "pending" and seconds > _STARTS_WITHIN and not warned:
                output.note(f"Report {number} has not begun after {seconds:.0f} s; `tds-runtime status` may say why.")
                warned = True
            await anyio.sleep(_POLL)
        return report


# --- showing


def _print(output: Output, report: Report, results: list[Result], page: Iterable[Finding] = (), *, json: bool) -> None:
    if json:
        output.data({"report": report, "entities": results, "findings": list(page)})
        return
    facts = msgspec.structs.asdict(report)
    output.pairs({name: value for name, value in facts.items() if value not in ("", None, 0)})
    output.table(_COLUMNS, [[_shown(one, column) for column in _COLUMNS] for one in results])
    rows = [(one.entity_type, one.source_entity_id, one.kind, one.repair, _told(one)) for one in page]
    if rows:
        output.table(("entity", "record", "kind", "repair", "column: source | here"), rows)


def _shown(result: Result, column: str) -> Any:
    value = getattr(result, column)
    return f"{value:.2f}" if column == "match_percentage" else "" if value is None else value


def _told(finding: Finding) -> str:
    found = reports.differences(finding)
    return "; ".join(f"{column}: {sides['source']} | {sides['local']}" for column, sides in found.items())[:300]


def _code(report: Report, results: Iterable[Result], threshold: float) -> int:
    if report.status in {"failed", "cancelled"}:
        return Exit.FAILED
    low = any(one.match_percentage < threshold or one.alarm for one in results)
    return Exit.DEGRADED if low else Exit.OK
