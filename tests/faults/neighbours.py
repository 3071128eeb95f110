"""Two daemons on one database: one is killed or frozen in the middle, and the other finishes everything once."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable

import anyio
import asyncpg
import msgspec
from faults import aftermath
from faults.contention import session
from faults.fact import Fact
from faults.place import Place, execute
from faults.traffic import Habit, Traffic, traffic
from faults.warm import Warm

from tds_runtime.database import Database, Options
from tds_runtime.queue import Queue

EVERY = 2  # seconds between two slots
SCHEDULE = f'[schedule.ticking]\nevery = "{EVERY}s"\nrun = "heal"'
BACKLOG = 800  # tasks that wait when the work begins
EAGER = Habit(records=2000, pause=0.0, patience=2.0)
BOOT = "SELECT boot_id FROM tds_nodes WHERE pid = $1"
HELD = "SELECT id FROM tds_sync_queue_live WHERE status = 'processing' AND locked_by = $1"
# Transactions of which the server waits for more: for a statement, or for the rest of one that was half sent.
OPEN = """
SELECT count(*) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'tds-runtime'
   AND (state LIKE 'idle in transaction%' OR (state = 'active' AND wait_event = 'ClientRead'))
   AND state_change <= clock_timestamp() - $1::float8 * interval '1 second'
"""
LEFT = "SELECT count(*) FROM tds_sync_queue_live WHERE id = ANY ($1::bigint[]) AND status <> 'dead_letter'"
# What is missing between the first and the last slot, and what is there beside them.
SLOTS = f"""
SELECT count(*) AS decided, count(DISTINCT slot) AS slots,
       extract(epoch FROM max(slot) - min(slot))::integer / {EVERY} + 1 AS expected,
       count(*) FILTER (WHERE outcome IN ('ran', 'late')) AS ran
  FROM tds_slots WHERE schedule = 'ticking'
"""

Blow = Callable[[Warm], Awaitable[None]]


async def neighbour_killed(place: Place, *, lease: float = 3.0, seconds: float = 20.0) -> Fact:
    """SIGKILL of one of two."""

    async def kill(daemon: Warm) -> None:
        await daemon.kill()

    return await of_two(place, "neighbour killed", kill, lease=lease, seconds=seconds)


async def neighbour_frozen(place: Place, *, lease: float = 3.0, seconds: float = 20.0) -> Fact:
    """SIGSTOP of one of two for two leases, and SIGCONT."""

    async def freeze(daemon: Warm) -> None:
        await anyio.sleep(2 * lease)
        await thaw(daemon)

    return await of_two(place, "neighbour frozen", freeze, lease=lease, seconds=seconds)


async def neighbour_frozen_in_transaction(place: Place, *, lease: float = 45.0, seconds: float = 100.0) -> Fact:
    """The same in the middle of a transaction, with a lease that is not much shorter than the server's patience."""

    async def freeze(daemon: Warm) -> None:
        await anyio.sleep(2 * lease)
        await thaw(daemon)

    name = "neighbour frozen in a transaction"
    return await of_two(place, name, freeze, lease=lease, seconds=seconds, transaction=True)


async def thaw(daemon: Warm) -> None:
    """Let it run on until it has learnt what it has lost, or for half a minute."""
    daemon.thaw()
    with anyio.move_on_after(30):
        while not events(daemon, "lease.lost"):  # noqa: ASYNC110 # the log is another process's
            await anyio.sleep(0.1)


async def of_two(
    place: Place, name: str, blow: Blow, *, lease: float, seconds: float, transaction: bool = False
) -> Fact:
    """Catch one of two daemons with tasks in hand, strike it, and watch the other for `seconds`."""
    began = time.monotonic()
    dsn = await place.database()
    environment = {"TDS_QUEUE__LEASE": f"{lease}s", "TDS_QUEUE__BATCH": "20"}
    victim, other = [
        await place.nursery.start(place.configure(dsn, more=SCHEDULE), environment=environment) for _ in range(2)
    ]
    async with traffic(other.log.parent, victim.address, other.address, habit=EAGER) as flow, session(dsn) as watcher:
        held = await catch(dsn, victim, flow, watcher, transaction=transaction)
        struck = time.monotonic()
        async with anyio.create_task_group() as group:
            group.start_soon(blow, victim)
            finished = await until_finished(watcher, held, struck)
        flow.habit = Habit(records=2000)
        await anyio.sleep(max(0.0, struck + seconds - time.monotonic()))
    drained = await aftermath.settled(dsn)
    slots = dict((await execute(dsn, SLOTS))[0])
    figures: dict[str, int | float | str] = {
        "lease_s": lease,
        "held": len(held),
        "finished_by_the_other_s": round(finished, 2),
        "acknowledged": flow.acknowledged,
        "drained_s": round(drained, 2),
        **{f"slots_{word}": count for word, count in slots.items()},
        "slots_decided_twice": twice_decided(victim, other),
        "lease_lost": events(victim, "lease.lost"),
        "restarts": aftermath.troubles(other),
        **await aftermath.violations(dsn, flow.history.lines, victim, other),
    }
    passed = (
        bool(held)
        and finished <= 2 * lease
        and slots["decided"] == slots["slots"] == slots["expected"] > 1
        and not any(figures[name] for name in ("slots_decided_twice", "restarts", "violations"))
        and (victim.returncode == -signal.SIGKILL or bool(figures["lease_lost"]))
    )
    for daemon in (victim, other):
        if daemon.returncode is None:
            assert await daemon.stop() == 0
    return Fact(fact=name, passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def catch(dsn: str, victim: Warm, flow: Traffic, watcher: asyncpg.Connection, *, transaction: bool) -> list[int]:
    """Let work pile up, let it go, and freeze the victim while it holds tasks; their ids.

    With `transaction` it is caught in the middle of one, whose row locks stay until the server gives it up after a
    minute; else outside any.
    """
    boot = await watcher.fetchval(BOOT, victim.pid)
    async with Database(Options(dsn=dsn)).opened() as database:
        queue = Queue(database, boot_id="operator")
        await queue.pause("product", by="the test")
        await flow.more(BACKLOG)
        await queue.resume("product")
    with anyio.fail_after(30):
        while True:
            victim.freeze()
            await anyio.sleep(0.02)  # what its backends have been sent is done by then
            held = [row[0] for row in await watcher.fetch(HELD, boot)]
            if held and bool(await watcher.fetchval(OPEN, 0.0)) == transaction:
                await anyio.sleep(0.2)  # on a busy machine a backend may begin only now with what it was sent
                if bool(await watcher.fetchval(OPEN, 0.15)) == transaction:
                    return held
            victim.thaw()
            await anyio.sleep(0.013)


async def until_finished(watcher: asyncpg.Connection, held: list[int], since: float) -> float:
    """Wait until none of the tasks is in the live queue any more; seconds since the blow."""
    with anyio.fail_after(90):
        while await watcher.fetchval(LEFT, held):  # noqa: ASYNC110 - another process works
            await anyio.sleep(0.05)
    return time.monotonic() - since


def twice_decided(*daemons: Warm) -> int:
    """Count slots of which both daemons say that they decided them."""
    decided = [slot for daemon in daemons for slot in rows(daemon, "slot.decided") if slot["schedule"] == "ticking"]
    return len(decided) - len({row["slot"] for row in decided})


def events(daemon: Warm, name: str) -> int:
    """Count lines of its log."""
    return len(rows(daemon, name))


def rows(daemon: Warm, name: str) -> list[dict[str, str]]:
    """The lines of its log about one event."""
    every = [msgspec.json.decode(row) for row in daemon.log.read_bytes().splitlines() if row.startswith(b"{")]
    return [row for row in every if row["event"] == name]
