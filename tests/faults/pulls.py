"""The crash sweep of a pull: at every round trip of a full run the daemon is killed, or its connection reset.

The run lists users of a sandbox, five a page, after every one of them was edited. Whatever was struck, the run ends by
itself, each user has its row as the source has it, and each edit one effect.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

import anyio
from faults.aftermath import troubles
from faults.fact import Fact
from faults.history import History
from faults.place import ROOT, Place, execute
from faults.planting import Action, Point, operations
from faults.proxy import Proxy, proxy
from faults.stage import PATIENT, WITHIN, Stage
from faults.sweep import POINTS, QUIETLY, REHEARSALS, TRIES, Strike
from faults.wire import through
from fixtures.sandbox import Sandbox, running_sandbox

from actors.pulling.desk import Batch, Desk
from actors.zoho import absent, entities
from tds_runtime import running, runs
from tds_runtime.database import Database, Options
from tds_runtime.running import Cost, Step

ASIDE = QUIETLY | {
    "runs/claim", "runs/return_lost", "runs/close_parents", "runs/outstanding", "upstreams/ensure",
    "upstreams/save_budget", "upstreams/save_breaker", "queue/claim",
}  # fmt: skip
"""What a daemon asks while it waits, as often as the time takes; a claim of a run is struck by its own test."""
USERS = 25
ENDED = "SELECT status FROM tds_sync_runs WHERE id = $1"
EFFECTS = "SELECT count(*) FROM tds_audit_trail WHERE entity_type = 'user' AND action = ANY ($1)"
NAMES = "SELECT zoho_user_id, name FROM users"
SOURCE = """
[pull]
poll = "100ms"
[zoho]
organization_id = "{0.organization_id}"
client_id = "{0.client_id}"
client_secret = "{0.client_secret}"
refresh_token = "{0.refresh_token}"
accounts_url = "{0.accounts}"
api_url = "{0.api}"
calls_per_minute = 0
page_size = 5
"""


def keep_the_place_apart() -> None:
    """Make a daemon that commits where a run goes on before it commits what was found there."""
    honest = Desk._write

    async def apart(self: Desk, batch: Batch, cost: Cost) -> int:
        async with self.database.transaction() as connection:
            await running.advance(connection, self.run, Step(position=batch.position))
        return await honest(self, batch, cost)

    Desk._write = apart  # type: ignore[method-assign] # the patch


class Ground:
    """A daemon behind a proxy and a sandbox; what each run has to come to, and whether it did."""

    def __init__(self, stage: Stage, wire: Proxy, database: Database, sandbox: Sandbox) -> None:
        self.stage, self.wire = stage, wire
        self.runs = 0
        self.faults: list[str] = []
        self._database, self._sandbox = database, sandbox

    async def perform(self) -> None:
        """Edit every user, have them pulled, and look at what came of it."""
        self.runs += 1
        name = f"Edit {self.runs}"
        self._sandbox.edit("user", count=USERS, set={"name": name})
        async with anyio.create_task_group() as group:
            group.start_soon(self._restart)
            with anyio.fail_after(WITHIN):
                await self._pull()
            group.cancel_scope.cancel()
        await self._judge(name)

    async def _restart(self) -> None:
        while True:
            await self.stage.daemon.wait()
            await self.stage.start()

    async def _pull(self) -> None:
        async with self._database.transaction() as connection:
            run_id = await runs.request(connection, "user", "full", "sweep")
        status = ""
        while status not in {"completed", "failed", "cancelled"}:
            await anyio.sleep(0.02)
            status = await self._database.fetchval(ENDED, run_id)
        if status != "completed":
            self.faults.append(f"run {run_id} is {status}")

    async def _judge(self, name: str) -> None:
        """Every user as the source has it, and one effect for each edit."""
        stored = {row["zoho_user_id"]: row["name"] for row in await self._database.fetch(NAMES)}
        truth = {one["user_id"] for one in self._sandbox.truth("users")}
        wrong = [one for one in truth if stored.get(one) != name]
        effects = await self._database.fetchval(EFFECTS, ["insert", "update"])
        if wrong or set(stored) != truth or effects != len(truth) * self.runs:
            self.faults.append(f"pull {self.runs}: {len(wrong)} wrong, {effects} effects of {len(truth) * self.runs}")

    async def rehearse(self) -> list[tuple[str, int]]:
        """The round trips that come by each time, as operation and how many of that operation came before."""
        seen = []
        for _ in range(REHEARSALS):
            self.wire.arm(record=True)
            await self.perform()
            seen.append(Counter(trip.operation for trip in self.wire.trips()))
        each = seen[0]
        for one in seen[1:]:
            each &= one
        return [(name, one) for name, count in each.items() if name not in ASIDE for one in range(1, count + 1)]

    async def strike(self, strike: Strike) -> bool:
        """Pull with one fault planted; whether it struck."""
        for _ in range(TRIES):
            self.wire.mend()
            self.wire.arm(strike.plan(), call=self.stage.kill)
            await self.perform()
            if await self.stage.fired():
                if strike.action == "call":
                    await self.stage.replaced()
                return True
        return False


@asynccontextmanager
async def grounded(place: Place, *, mutant: str = "") -> AsyncIterator[Ground]:
    """A fresh database, a small sandbox, and a daemon that knows users alone."""
    dsn = await place.database()
    alone = place.directory / "users"
    alone.mkdir(exist_ok=True)
    (alone / "user.toml").write_bytes((ROOT / "config" / "entities" / "user.toml").read_bytes())
    mapped = entities.load(alone)
    for statement in absent.statements(mapped.tables):
        await execute(dsn, statement)
    with (
        running_sandbox("--no-limits") as sandbox,
        proxy(dsn, operations()) as wire,
        History(place.directory / "pulls.jsonl") as history,  # nothing is delivered: it stays empty
    ):
        pools = "work_connections = 1\ningest_connections = 2\n"
        path = place.configure(through(dsn, wire.port), database=pools + PATIENT)
        text = path.read_text()
        begin, end = text.index("[zoho]"), text.index("[entities]")
        path.write_text(
            (text[:begin] + SOURCE.format(sandbox.announced) + text[end:]).replace(str(place.entities), str(alone))
        )
        async with Database(Options(dsn=dsn)).opened() as database:
            stage = Stage(place, dsn, path, wire, history, mutant=mutant)
            try:
                await stage.start()
                yield Ground(stage, wire, database, sandbox)
            finally:
                with anyio.CancelScope(shield=True):
                    await stage.aclose()


async def pull_sweep(
    place: Place,
    *,
    actions: Sequence[Action] = ("call", "reset"),
    points: Sequence[Point] = POINTS,
    among: Collection[str] = (),
    mutant: str = "",
) -> Fact:
    """Strike at every round trip of a full run of a few pages.

    Args:
        place: where.
        actions: call is SIGKILL.
        points: before the request is passed on, when the server has it, when its answer is there.
        among: of these operations only; all when nothing is said.
        mutant: what is wrong with the daemon, to see that it is noticed.
    """
    began = time.monotonic()
    async with grounded(place, mutant=mutant) as ground:
        await ground.perform()
        trips = [one for one in await ground.rehearse() if not among or one[0] in among]
        strikes = [Strike(*one, point, action) for action in actions for one in trips for point in points]
        passed_by = [strike for strike in strikes if not await ground.strike(strike)]
        figures: dict[str, int | float | str] = {
            "round_trips": len(trips),
            "points": len(strikes),
            "points_never_struck": len(passed_by),
            "runs": ground.runs,
            "starts": ground.stage.starts,
            "wrong": len(ground.faults),
            "troubles": troubles(ground.stage.daemon),
        }
    for one in (*passed_by, *ground.faults):
        print(one, file=sys.stderr)  # noqa: T201 - progress of the campaign
    passed = bool(strikes) and not (passed_by or ground.faults or figures["troubles"])
    return Fact(fact="pull sweep", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))
