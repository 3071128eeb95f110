"""`sync`: pull now, and wait until all that was listed is stored."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import anyio
import msgspec
from cyclopts import App
from rich.progress import Progress, TaskID

from actors.configuration import Config
from actors.zoho import entities as mappings
from tds_runtime import audit, runs, sql
from tds_runtime.cli import Ended, Exit, Output, Session
from tds_runtime.database import Database
from tds_runtime.runs import Kind, Run

_POLL = 0.5
_STARTS_WITHIN = 30.0


def register(app: App, session: Session[Config]) -> None:
    """Add `sync` to the command line."""

    @app.command
    async def sync(
        entity: str = runs.EVERYTHING,
        /,
        *,
        full: bool = False,
        incremental: bool = False,
        stock: bool = False,
        balance: bool = False,
        price_list: bool = False,
        plan: bool = False,
        insist: bool = False,
        wait: bool = True,
        json: bool = False,
    ) -> int:
        """Ask the daemon to pull from the source, and wait for the outcome; exit code 1 when something failed.

        Args:
            entity: what to pull, or `all`.
            full: everything there is; the default when nothing is said.
            incremental: what has changed since the last pull.
            stock: quantities only.
            balance: what contacts owe and are owed only.
            price_list: price lists only.
            plan: only say how many calls of the day a full pull would take.
            insist: begin although the day has not enough calls left; what it does not allow waits for the next days.
            wait: stay until the run has ended (--no-wait only asks for it).
            json: print the run as JSON.
        """
        kind = _kind(full=full, incremental=incremental, stock=stock, balance=balance, price_list=price_list)
        args = _args(kind, plan=plan, insist=insist, wait=wait)
        settings = session.load().value
        _known(entity, settings)
        async with session.database(settings.database) as database:
            await _somebody_works(database)
            async with database.transaction() as connection:
                run_id = await runs.request(connection, entity, kind, session.operator, args=args)
                if not plan:
                    detail = {"kind": kind, **args}
                    await audit.note(
                        connection, session.operator, "run.request", entity=entity, run_id=run_id, detail=detail
                    )
            run = await _ended(session.output, database, run_id) if wait else await _read(database, run_id)
        (_report_plan if plan else _report)(session.output, run, json=json)
        return Exit.FAILED if _failed(run) else Exit.OK


def _kind(**asked: bool) -> Kind:
    chosen: list[Any] = [kind for kind, wanted in asked.items() if wanted]
    if len(chosen) > 1:
        raise Ended("One kind of pull at a time: " + ", ".join(f"--{kind}" for kind in chosen), Exit.USAGE)
    return chosen[0] if chosen else "full"


def _args(kind: Kind, *, plan: bool, insist: bool, wait: bool) -> dict[str, Any]:
    if plan and (kind != "full" or not wait):
        raise Ended("--plan says what a full pull would take, and waits for the answer.", Exit.USAGE)
    return {name: True for name, wanted in {"plan": plan, "insist": insist}.items() if wanted}


def _known(entity: str, settings: Config) -> None:
    names = (*mappings.load(settings.entities.directory).names, runs.EVERYTHING)
    if entity not in names:
        near = get_close_matches(entity, names, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}."
        raise Ended(f"there is no entity {entity}; {hint}", Exit.NOT_FOUND)


async def _somebody_works(database: Database) -> None:
    if not any(row["alive"] for row in await database.fetch(sql.load("status/nodes"))):
        raise Ended("No daemon is running that could pull: start one with `tds-runtime run`.", Exit.UNREACHABLE)


async def _read(database: Database, run_id: int) -> Run:
    run = await runs.read(database, run_id)
    if run is None:
        raise Ended(f"run {run_id} is gone.", Exit.NOT_FOUND)
    return run


async def _ended(output: Output, database: Database, run_id: int) -> Run:
    """Follow a run to its end; interrupted, the run goes on without us."""
    begun = anyio.current_time()
    warned = planned = False
    with output.progress() as progress:
        bar = progress.add_task(f"run {run_id}", total=None, rate="")
        while not (run := await _read(database, run_id)).ended:
            seconds = anyio.current_time() - begun
            _show(progress, bar, run, await runs.children(database, run_id) or [run], seconds)
            if run.plan is not None and not (planned or run.args.get("plan")):
                output.note(_planned(run.plan))
                planned = True
            if run.status == "pending" and seconds > _STARTS_WITHIN and not warned:
                output.note(f"Run {run_id} has not begun after {seconds:.0f} s; `tds-runtime status` may say why.")
                warned = True
            await anyio.sleep(_POLL)
        return run


def _planned(plan: dict[str, Any]) -> str:
    apis = ", ".join(f"{share['needed']} of {api} ({_left(share)})" for api, share in plan["apis"].items())
    return f"It takes about {plan['calls']} calls: {apis or 'none'}."


def _left(share: dict[str, Any]) -> str:
    if share["left"] is None:
        return "not counted"
    return f"{share['left']} of {share['a_day']} left for this until {share['resets_at']}"


def _report_plan(output: Output, run: Run, *, json: bool) -> None:
    plan = run.plan
    if json or plan is None:
        output.data({"run_id": run.id, "status": run.status, "error": run.error_message, "plan": plan})
        return
    parts = plan["entities"] or {run.entity_type: plan}
    columns = ("entity", "records", "pages", "details", "calls", "begins")
    output.table(columns, [_row(name, part) for name, part in sorted(parts.items())])
    output.note(_planned(plan))
    for name, part in sorted(parts.items()):
        if part["refused"]:
            output.note(f"{name} {part['refused']}")


def _row(name: str, plan: dict[str, Any]) -> tuple[Any, ...]:
    return name, plan["records"], plan["pages"], plan["details"], plan["calls"], "no" if plan["refused"] else "yes"


def _show(progress: Progress, bar: TaskID, run: Run, parts: list[Run], seconds: float) -> None:
    done = sum(part.unchanged + part.applied + part.coalesced + part.deferred + part.dead for part in parts)
    total = sum(max(part.listed, part.expected or 0) for part in parts) or None
    rate = f"{done / seconds:.0f}/s" if seconds else ""
    progress.update(bar, description=f"{run.entity_type} {run.kind}", completed=done, total=total, rate=rate)


def _failed(run: Run) -> bool:
    return run.status in {"failed", "cancelled"} or bool(run.dead) or bool(run.alarm)


def _report(output: Output, run: Run, *, json: bool) -> None:
    if json:
        output.data(run)
        return
    facts = {name: value for name, value in msgspec.structs.asdict(run).items() if value not in ("", None, 0, {})}
    seconds = (run.completed_at - run.requested_at).total_seconds() if run.completed_at else 0.0
    output.pairs(facts | ({"seconds": f"{seconds:.1f}"} if seconds else {}))
