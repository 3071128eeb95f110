"""What the schedules of this daemon are by default, and what each may start."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from actors import healings, reports
from actors.bell import Bell
from actors.ticker import Action
from tds_runtime import runs
from tds_runtime.database import Connection
from tds_runtime.errors import ConfigError
from tds_runtime.schedule import Schedule

DEFAULTS: Mapping[str, Mapping[str, str]] = {
    "daily_full_sync": {"cron": "0 2 * * *", "run": "pull.full", "jitter": "2m"},
    "hourly_incremental_sync": {"cron": "0 * * * *", "run": "pull.incremental"},
    "stock_sync_15min": {"every": "15m", "run": "pull.stock"},
    "balance_sync_6h": {"cron": "0 8,14,20 * * *", "run": "pull.balance"},  # the full sync does it at night
    "auto_healing": {"every": "15m", "run": "heal"},
    "daily_statistics": {"cron": "0 3 * * *", "run": "compare", "jitter": "2m"},
}
KINDS: tuple[runs.Kind, ...] = ("full", "incremental", "stock", "balance", "price_list")

_TIMING = frozenset({"cron", "every"})


def defaults(said: Mapping[str, Any]) -> dict[str, Any]:
    """The default schedules; one that the configuration times differently keeps the rest of its default."""
    own = said.get("schedule", {})
    return {"schedule": {name: _without_timing(plan, own.get(name, {})) for name, plan in DEFAULTS.items()}}


def actions(bell: Bell) -> dict[str, Action]:
    """What a schedule's `run` may name: a pull is a run, a comparison a report, healing a round; all are rows."""
    pulls = {f"pull.{kind}": Action(_Pull(kind), bell.run) for kind in KINDS}
    return {
        **pulls,
        "heal": Action(_heal, bell.heal, "healing", healings.cancel),
        "compare": Action(_compare, bell.compare, "report", reports.cancel),
    }


def check(schedules: Mapping[str, Schedule], known: Mapping[str, Action]) -> None:
    """Raise ConfigError for a schedule that would start something that does not exist."""
    for name, plan in schedules.items():
        if plan.run not in known:
            near = get_close_matches(plan.run, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"one of {', '.join(sorted(known))}"
            raise ConfigError(f'schedule.{name}.run: nothing is called "{plan.run}"; {hint}')


class _Pull:
    """Makes the run row of a pull."""

    def __init__(self, kind: runs.Kind) -> None:
        self._kind = kind

    async def __call__(
        self, connection: Connection, *, schedule: str, slot: datetime, args: Mapping[str, Any]
    ) -> int | None:
        entity = str(args.get("entity", runs.EVERYTHING))
        return await runs.request(
            connection, entity, self._kind, f"schedule {schedule}", schedule=schedule, slot=slot, args=args
        )


async def _compare(connection: Connection, *, schedule: str, slot: datetime, args: Mapping[str, Any]) -> int | None:
    """Make the report of a comparison; it is no run, so its slot names none. `args`: entity, depth, repair, reason."""
    await reports.request(
        connection,
        str(args.get("entity", reports.EVERYTHING)),
        f"schedule {schedule}",
        depth="counts" if args.get("depth") == "counts" else "records",
        repair=args.get("repair") is True,
        reason=str(args.get("reason", "by schedule")),
        schedule=schedule,
        slot=slot,
    )
    return None


async def _heal(connection: Connection, *, schedule: str, slot: datetime, args: Mapping[str, Any]) -> int | None:  # noqa: ARG001 - healing takes no arguments
    """Ask for a round of the healer; it is no run, so its slot names none."""
    await healings.request(connection, f"schedule {schedule}", schedule=schedule, slot=slot)
    return None


def _without_timing(plan: Mapping[str, str], own: object) -> dict[str, str]:
    timed = isinstance(own, dict) and bool(_TIMING & own.keys())
    return {key: value for key, value in plan.items() if not (timed and key in _TIMING)}
