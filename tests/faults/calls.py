"""A day of the default schedules against a source that counts its calls, by the plans that Zoho sells.

The day is virtual: the slots of the schedules are taken one after the other, the clocks of the source and of the client
are set to each, and what is past is made older by as much.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import anyio
from faults.fact import Fact
from faults.place import Place
from fixtures.sandbox import Sandbox, running_sandbox
from fixtures.shipped import SHIPPED
from fixtures.works import Works
from msgspec import Struct
from starlette.applications import Starlette

from actors import reconciler, reports, schedules, webhooks
from actors.processes import free_port
from actors.zoho import naming
from tds_runtime import Context, Inbox, Supervisor, http, intake, problem, run, runs, schedule
from tds_runtime.database import Database, Options
from tds_runtime.metrics import Metrics
from tds_runtime.runs import Run
from tds_runtime.schedule import Schedule
from tds_runtime.values import Duration, Secret

ZONE = "Asia/Baghdad"
PLANS: dict[str, tuple[int, int]] = {
    "free": (1000, 1000),
    "standard": (2000, 2500),
    "professional": (5000, 5000),
    "premium": (10_000, 7500),
    "enterprise": (10_000, 10_000),
}
"""Calls a day to Books and to Inventory."""

WHOLE = {"items", "contacts", "users", "locations"}
"""What a list shows in full, so that even a naive client asks for no details."""

MOST = 0.4
"""Of what a naive client calls in a day."""
USED_UP = 0.98
"""Of a day's calls: only then may an incremental run be put off to the next day; the others at the reserve."""

KINDS = {"pull.full": "full", "pull.incremental": "incremental", "pull.stock": "stock", "pull.balance": "balance"}
AGED = "UPDATE tds_sync_runs SET started_at = started_at - $1::interval, available_at = available_at - $1::interval"
UNFINISHED = """
SELECT count(*) FILTER (WHERE operation = 'fetch') AS fetches, count(*) FILTER (WHERE operation <> 'fetch') AS others
  FROM tds_sync_queue_live
 WHERE status <> 'dead_letter'
"""


class Slot(Struct, frozen=True, order=True):
    """A moment at which a schedule runs."""

    at: datetime
    name: str
    run: str


class Clock:
    """The time of the virtual day, for the client."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def of_default(plan: Mapping[str, str]) -> Schedule:
    """A default schedule in the organisation's zone."""
    every = Duration(plan["every"]) if "every" in plan else None
    jitter = Duration(plan.get("jitter", "0s"))
    return Schedule(cron=plan.get("cron"), every=every, run=plan["run"], timezone=ZONE, jitter=jitter)


def slots(begin: datetime, hours: float) -> list[Slot]:
    """The slots of the default schedules in the hours from a moment on, that moment included."""
    before, end = begin - timedelta(microseconds=1), begin + timedelta(hours=hours)
    found: list[Slot] = []
    for name, plan in schedules.DEFAULTS.items():
        timed = of_default(plan)
        late = schedule.offset(name, timed)
        found += [Slot(at + late, name, plan["run"]) for at in schedule.following(timed, before, 200) if at < end]
    return sorted(found)


def midnight() -> datetime:
    """The organisation's next midnight: no moment of the virtual days is past."""
    here = datetime.now(ZoneInfo(ZONE)) + timedelta(days=1)
    return here.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


class Day:
    """Drives the actors through the slots, and counts what the source was asked."""

    def __init__(self, works: Works, sandbox: Sandbox, clock: Clock) -> None:
        self._works = works
        self._sandbox = sandbox
        self._clock = clock
        self.ended: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.wrongly_put_off = 0

    async def play(self, begin: datetime, hours: float) -> int:
        """Take the slots of so many hours; how many there were."""
        found = slots(begin, hours)
        for slot in found:
            await self.move(slot.at)
            if slot.name == "hourly_incremental_sync":
                await self._business()
            await self._take(slot)
        await self._settled()
        return len(found)

    async def move(self, at: datetime) -> None:
        """Make it this time: at the source, at the client, and for what is measured by the database."""
        passed = at.timestamp() - self._clock.now
        self._clock.now = at.timestamp()
        stamp = at.astimezone(ZoneInfo(ZONE)).strftime("%Y-%m-%dT%H:%M:%S%z")
        await self._control("POST", "/clock", set=stamp, frozen=True)
        await self._works.database.execute(AGED, timedelta(seconds=max(passed, 0.0)))

    async def _control(self, method: str, path: str, **body: Any) -> Any:
        return await anyio.to_thread.run_sync(lambda: self._sandbox.control(method, path, **body))

    async def _business(self) -> None:
        """An hour of work: edits and new records, of most of which webhooks tell, and stock, of which none does."""
        for entity, count in {"invoice": 4, "sales_order": 3, "bill": 1, "product": 4, "customer": 3}.items():
            await self._control("POST", "/edit", entity=entity, random=count, webhooks=True)
        for entity in ("invoice", "sales_order"):
            await self._control("POST", "/create", entity=entity, count=2, webhooks=True)
        await self._control("POST", "/stock", random=6)
        await self._control("POST", "/webhooks/drain", timeout=30.0)
        await self._settled()

    async def _settled(self) -> None:
        """Until nothing is left that can be done now: what waits for tomorrow's calls may wait."""
        with anyio.fail_after(120):
            while any(await self.unfinished()):
                closed = any(self._works.client.closed_until(api, bulk=True) for api in ("books", "inventory"))
                if closed and not (await self.unfinished())[1]:
                    return
                await anyio.sleep(0.02)

    async def unfinished(self) -> tuple[int, int]:
        """Detail calls that nobody has made yet, and everything else that waits."""
        row = await self._works.database.fetchrow(UNFINISHED)
        assert row is not None
        return row["fetches"], row["others"]

    async def _take(self, slot: Slot) -> None:
        if slot.run == "compare":
            await self._compare(slot)
        elif kind := KINDS.get(slot.run):
            await self._pull(slot, kind)

    async def _compare(self, slot: Slot) -> None:
        """Compare all records as far as the day's calls allow; where they do not, it is counts only."""
        works = self._works
        async with works.database.transaction() as connection:
            wish = {"schedule": slot.name, "slot": slot.at}
            report_id = await reports.request(connection, reports.EVERYTHING, "a day", **wish)
        parts = {"database": works.database, "queue": works.queue, "client": works.client, "entities": works.entities}
        await reconciler.reconciler.function(
            Context(), Inbox.of(), **parts, options=reconciler.Options(), due=works.due
        )
        for one in await reports.results(works.database, report_id):
            self.ended[f"compare_{one.depth}"] += 1

    async def _pull(self, slot: Slot, kind: Any) -> None:
        database = self._works.database
        async with database.transaction() as connection:
            run_id = await runs.request(connection, runs.EVERYTHING, kind, "a day", schedule=slot.name, slot=slot.at)
        self._works.wake()
        with anyio.fail_after(300):
            while not await self._is_through(run_id):  # noqa: ASYNC110 - the actors tell nobody but the database
                await anyio.sleep(0.02)
        for part in await runs.children(database, run_id):
            await self._count(part)

    async def _is_through(self, run_id: int) -> bool:
        """Whether it has ended, or nothing of it is left but what was put off until there are calls again."""
        found = await runs.read(self._works.database, run_id)
        assert found is not None
        if found.ended or found.available_at is not None:
            return True
        parts = await runs.children(self._works.database, run_id)
        return bool(parts) and all(part.ended or part.available_at is not None for part in parts)

    async def _count(self, part: Run) -> None:
        lines = await runs.lines(self._works.database, part.id)
        outcome = "refused" if part.error_code == "budget_refused" or part.alarm == "over_budget" else part.status
        if part.kind == "stock" and any(line.event == "skipped" for line in lines):
            outcome = "stretched"
        reason = part.error_message or part.alarm
        if part.status == "pending" and part.available_at is not None:
            outcome = "put_off"
            reason = next((line.message for line in reversed(lines) if line.event == "put_off"), "")
            self.wrongly_put_off += "calls" not in reason or not await self._is_used_up(part)
        self.ended[f"{part.kind}_{outcome}"] += 1
        if outcome in {"failed", "refused", "pending", "put_off"}:
            self.reasons[f"{part.kind} {part.entity_type}: {reason[:150]}"] += 1

    async def _is_used_up(self, part: Run) -> bool:
        """Whether so many of the day's calls are used by now that this run has to leave the rest to others."""
        limits = await self._control("GET", "/limits")
        share = USED_UP if part.kind == "incremental" else 1 - self._works.client.options.reserve
        apis = {source.api for source in self._works.entities[part.entity_type].sources}
        return any(limits[f"used_{api}"] >= share * limits[f"per_day_{api}"] for api in apis)


def naive(sandbox: Sandbox, found: list[Slot]) -> tuple[int, int]:
    """Calls of a client that reads pages and details at each slot, and of one that has the details at night only."""
    counts: dict[str, int] = sandbox.control("GET", "")["counts"]
    listed = sum(-(-count // 200) for count in counts.values()) + 1
    documents = sum(count for module, count in counts.items() if module not in WHOLE)
    made = Counter(slot.run for slot in found)
    every = (made["pull.full"] + made["pull.incremental"]) * (listed + documents) + made["pull.stock"] * counts["items"]
    gentle = made["pull.full"] * documents + (made["pull.full"] + made["pull.incremental"]) * listed
    return every, gentle + made["pull.stock"] * -(-counts["items"] // 200)


async def calls_of_a_day(
    here: Place, *, plans: tuple[str, ...] = tuple(PLANS), days: int = 2, hours: float = 24
) -> Fact:
    """Each plan's first day and a usual one: within its quota, no call refused, changes always served, few calls."""
    began = time.monotonic()
    figures: dict[str, int | float | str] = {}
    passed = True
    for plan in plans:
        found = await _days(here, plan, days, hours)
        passed = passed and found.pop("held")
        figures |= {f"{plan}_{name}": value for name, value in found.items()}
    return Fact(fact="calls of a day", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def _days(here: Place, plan: str, days: int, hours: float) -> dict[str, Any]:
    books, inventory = PLANS[plan]
    found: dict[str, Any] = {"held": True}
    with running_sandbox("--limits") as sandbox:
        rules = {"per_minute": 1_000_000, "hard_block_at": 1_000_000, "concurrency": 100}
        sandbox.control("POST", "/limits", per_day_books=books, per_day_inventory=inventory, **rules)
        clock = Clock()
        async with Database(Options(dsn=await here.database())).opened() as database:
            works = Works(database, sandbox, clock=clock, pause="1s")
            async with works.running(), _door(works, sandbox):
                for number in range(1, days + 1):
                    begin = midnight() + timedelta(days=number - 1)
                    one = await _one(works, sandbox, clock, begin, hours)
                    found["held"] = found["held"] and one.pop("held")
                    found |= {f"day{number}_{name}": value for name, value in one.items()}
    return found


async def _one(works: Works, sandbox: Sandbox, clock: Clock, begin: datetime, hours: float) -> dict[str, Any]:
    day = Day(works, sandbox, clock)
    await day.move(begin)
    before = sandbox.control("GET", "/limits")["refused"]
    await day.play(begin, hours)
    after = sandbox.control("GET", "/limits")
    every, gentle = naive(sandbox, slots(begin, hours))
    used = after["used_books"] + after["used_inventory"]
    failed = sum(count for name, count in day.ended.items() if name.endswith(("_failed", "_pending")))
    fetches, others = await day.unfinished()
    refused = after["refused"] - before
    return {
        "books": after["used_books"],
        "inventory": after["used_inventory"],
        "of_naive": round(used / every, 4),
        "of_gentle": round(used / gentle, 2),
        "refused_by_source": refused,
        "left_to_the_next_day": fetches,
        "waiting": others,
        "wrongly_put_off": day.wrongly_put_off,
        **dict(sorted(day.ended.items())),
        "reasons": "; ".join(f"{count} x {reason}" for reason, count in day.reasons.most_common(8)),
        "held": not refused
        and not failed
        and not others
        and not day.wrongly_put_off
        and used <= MOST * every
        and after["used_books"] <= after["per_day_books"]
        and after["used_inventory"] <= after["per_day_inventory"],
    }


@asynccontextmanager
async def _door(works: Works, sandbox: Sandbox) -> AsyncIterator[None]:
    """Where the source's webhooks come in."""
    options = http.Options(bind=f"127.0.0.1:{free_port()}")
    writing = intake.writer(database=works.database, on_stored=works.stored)
    routes = webhooks.routes(
        writing.ref,
        naming.Names(naming.kinds(SHIPPED)),
        webhooks.Options(secrets=(Secret(sandbox.announced.webhook_secret),)),
        Metrics(),
    )
    app = Starlette(routes=routes, exception_handlers=problem.handlers())
    with http.listen_socket(options.bind) as sock:
        listening = http.listener(app=app, sock=sock, options=options)
        async with run(Supervisor("door", children=[writing, listening]), grace=5):
            hook = {"url": f"http://{options.bind}{webhooks.CATCH_ALL}"}
            await anyio.to_thread.run_sync(lambda: sandbox.control("PUT", "/webhooks", hooks=[hook]))
            await anyio.to_thread.run_sync(lambda: sandbox.control("POST", "/webhooks/chaos", drop=0.1))
            yield
