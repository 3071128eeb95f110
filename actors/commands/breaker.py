"""`breaker`: whether the source may be asked, and closing a breaker by hand."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cyclopts import App
from msgspec.structs import asdict

from tds_runtime import audit
from tds_runtime.cli import Ended, Exit, Session
from tds_runtime.cli.session import C
from tds_runtime.upstreams import Outlook, Shared, Upstream, outlook, reset_breaker
from tds_runtime.values import Duration


def register(app: App, session: Session[C]) -> None:
    """Add `breaker` to the command line."""
    verbs = App(name="breaker", help="Circuit breakers, pauses and call budgets of the upstreams.")
    app.command(verbs)

    @verbs.command(name="list")
    async def list_(*, json: bool = False) -> None:
        """Show each upstream: its breaker, its pause, and what is left of its daily calls.

        There are new calls at `resets_at`; at the day's pace they last until `lasts_until`, where that is sooner.

        Args:
            json: print JSON.
        """
        settings = session.load().value
        async with session.database(settings.database) as database:
            rows = [_row(upstream) for upstream in (await Shared(database).read()).values()]
        if json:
            session.output.data({"upstreams": rows})
        else:
            columns = ("upstream", "breaker", "since", "reason", "paused", *Outlook.__struct_fields__)
            session.output.table(columns, [[row[column] for column in columns] for row in rows])

    @verbs.command
    async def reset(name: str, /) -> None:
        """Close a breaker on every node; it opens again by itself if the upstream still fails.

        Args:
            name: which upstream.
        """
        settings = session.load().value
        async with session.database(settings.database) as database, database.transaction() as connection:
            if not await reset_breaker(connection, name):
                raise Ended(f"there is no breaker {name}; `tds-runtime breaker list` shows them.", Exit.NOT_FOUND)
            await audit.note(connection, session.operator, "breaker.reset", detail={"name": name})
        session.output.note(f"{name} is closed, on every node within seconds.")


def _row(upstream: Upstream) -> dict[str, Any]:
    state = upstream.breaker
    return {
        "upstream": upstream.name,
        "breaker": state.phase,
        "since": datetime.fromtimestamp(state.opened_at, UTC) if state.opened_at else None,
        "reason": state.reason or upstream.pause_reason,
        "paused": str(Duration(int(upstream.paused))) if upstream.paused > 0 else None,
        **asdict(outlook(upstream.budget, datetime.now(UTC))),
    }
