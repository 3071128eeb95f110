"""Plants what can happen to a Postgres server; the daemon says so, waits, and is back without a person."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import anyio
import asyncpg
from faults import aftermath
from faults.fact import Fact
from faults.place import Place, execute
from faults.traffic import OK, REFUSED, Traffic, traffic
from msgspec import Struct

from tds_runtime.errors import DatabaseGone

PATIENCE = 3.0  # seconds: command_timeout and acquire_timeout of the daemons here
DATABASE = f'command_timeout = "{PATIENCE:.0f}s"\nacquire_timeout = "{PATIENCE:.0f}s"'
ENVIRONMENT = {"TDS_WEBHOOKS__TIMEOUT": f"{PATIENCE:.0f}s"}  # by default, too, it is the command_timeout
POOLS = 10  # connections that a daemon's pools hold at most
STEADY = 3.0  # seconds of traffic before the fault, to compare with
BACK_WITHIN = 5.0

Stores = Literal["nothing", "little", "all"]
Fault = Callable[[Place, str], AbstractAsyncContextManager[None]]


# --- faults: planted on entering, healed on leaving


@asynccontextmanager
async def stopped(place: Place, _dsn: str) -> AsyncIterator[None]:
    """The server is shut down, and started again."""
    assert await place.server.stop()
    try:
        yield
    finally:
        await place.server.start()


@asynccontextmanager
async def killed(place: Place, _dsn: str) -> AsyncIterator[None]:
    """The postmaster is killed, its backends work until they notice; its successor replays the log."""
    os.kill(place.postmaster_pid, signal.SIGKILL)
    try:
        yield
    finally:
        await restart(place)


@asynccontextmanager
async def frozen(place: Place, _dsn: str) -> AsyncIterator[None]:
    """Nothing of the server moves, but its sockets stay open."""
    postmaster = place.postmaster_pid
    os.kill(postmaster, signal.SIGSTOP)
    every = [postmaster, *children(postmaster)]
    signal_all(every, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(every, signal.SIGCONT)


@asynccontextmanager
async def read_only(place: Place, _dsn: str) -> AsyncIterator[None]:
    """The server refuses writes (25006), as after a fail-over that left us on a standby."""
    await default_read_only(place, "on")
    try:
        yield
    finally:
        await default_read_only(place, "off")


@asynccontextmanager
async def terminated(_place: Place, dsn: str) -> AsyncIterator[None]:
    """Every backend of the daemon is terminated, three times."""
    for _ in range(3):
        killed = await execute(dsn, TERMINATE)
        assert killed
        await anyio.sleep(0.1)
    yield


@asynccontextmanager
async def hung(_place: Place, dsn: str) -> AsyncIterator[None]:
    """The backends that the daemon has now do not move, but new ones come: what they were sent they do later."""
    every = [row[0] for row in await execute(dsn, BACKENDS)]
    signal_all(every, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(every, signal.SIGCONT)


@asynccontextmanager
async def exhausted(_place: Place, dsn: str) -> AsyncIterator[None]:
    """Others hold every connection that the server has to give."""
    held: list[asyncpg.Connection] = []
    try:
        with anyio.fail_after(30):
            await fill(dsn, held)
            while await held[0].fetch(TERMINATE):
                await fill(dsn, held)  # faster than the daemon, sooner or later
        yield
    finally:
        for connection in held:
            connection.terminate()


BACKENDS = """
SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tds-runtime'
"""
TERMINATE = """
SELECT pg_terminate_backend(pid)
  FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tds-runtime'
"""


async def fill(dsn: str, held: list[asyncpg.Connection]) -> None:
    """Connect until the server has had no room for a while."""
    refused = 0
    while refused < 20:
        try:
            held.append(await asyncpg.connect(dsn, timeout=10, command_timeout=10))
        except asyncpg.TooManyConnectionsError:
            refused += 1
            await anyio.sleep(0.02)
        else:
            refused = 0


async def default_read_only(place: Place, value: str) -> None:
    dsn = place.dsn("postgres")
    await execute(dsn, f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    await execute(dsn, "SELECT pg_reload_conf()")


async def restart(place: Place) -> None:
    """Start the server when the last of its killed predecessor's backends has noticed."""
    with anyio.fail_after(60):
        while True:
            try:
                await place.server.start()
            except DatabaseGone:
                await anyio.sleep(0.1)
            else:
                return


def children(parent: int) -> list[int]:
    """The processes that it has forked: the backends of a postmaster are sessions of their own, no process group."""
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def signal_all(processes: list[int], number: signal.Signals) -> None:
    """Send a signal to all of them that are still there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


# --- facts


class Strike(Struct, frozen=True):
    """A fault, for how many seconds and how often it is planted, and what can be stored meanwhile."""

    fault: Fault
    seconds: float
    times: int = 1
    stores: Stores = "nothing"


class Felt(Struct, frozen=True):
    """When a strike was planted, lifted and healed, and what could be stored meanwhile."""

    planted: float
    lifted: float
    healed: float
    stores: Stores

    def was_felt(self, flow: Traffic) -> bool:
        """Whether senders were refused as they had to be, and nothing was acknowledged that could not be stored."""
        meanwhile = [one for one in flow.answers if one.at - one.took >= self.planted and one.at < self.lifted]
        refused = any(one.status == REFUSED and self.planted <= one.at < self.healed for one in flow.answers)
        stored = any(one.status == OK for one in meanwhile)
        return self.stores == "all" or (refused and not (stored and self.stores == "nothing"))


async def server_stopped(place: Place, *, seconds: float = 10.0) -> Fact:
    """Shut down and started again."""
    return await outages(place, "server stopped", Strike(stopped, seconds))


async def server_frozen(place: Place, *, seconds: float = 30.0) -> Fact:
    """SIGSTOP for the whole server."""
    return await outages(place, "server frozen", Strike(frozen, seconds))


async def postmaster_killed(place: Place, *, kills: int = 20) -> Fact:
    """SIGKILL, again and again."""
    return await outages(place, "postmaster killed", Strike(killed, 0.5, kills, stores="little"))


async def backends_killed(place: Place, *, times: int = 10) -> Fact:
    """pg_terminate_backend of everything that the daemon has."""
    return await outages(place, "backends killed", Strike(terminated, 0.0, times, stores="all"))


async def backends_hung(place: Place, *, times: int = 5) -> Fact:
    """SIGSTOP of the backends alone, for longer than anybody waits for them."""
    return await outages(place, "backends hung", Strike(hung, 1.7 * PATIENCE, times, stores="all"))


async def failed_over(place: Place, *, seconds: float = 10.0) -> Fact:
    """Read only, and writable again."""
    return await outages(place, "failed over", Strike(read_only, seconds))


async def connections_exhausted(place: Place, *, seconds: float = 10.0) -> Fact:
    """No connection to be had."""
    return await outages(place, "connections exhausted", Strike(exhausted, seconds))


async def every_outage(place: Place) -> Fact:
    """All of them, briefly, one after the other for one daemon."""
    strikes = (
        Strike(terminated, 0.0, stores="all"),
        Strike(stopped, 2.0),
        Strike(killed, 0.5, 2, stores="little"),
        Strike(frozen, 5.0),
        Strike(read_only, 0.5),
        Strike(exhausted, 0.5),
    )
    return await outages(place, "every outage, briefly", *strikes, steady=1.0, after=2.0)


async def outages(
    place: Place, name: str, *strikes: Strike, steady: float = 4.0, after: float = BACK_WITHIN + 3
) -> Fact:
    """Plant faults under traffic and judge what senders, daemon and tables say.

    Args:
        place: where.
        name: of the fact.
        strikes: what is planted, one after the other.
        steady: seconds of traffic before, to compare with.
        after: seconds of traffic after the last one.
    """
    began = time.monotonic()
    dsn = await place.database()
    daemon = await place.nursery.start(place.configure(dsn, database=DATABASE), environment=ENVIRONMENT)
    async with traffic(daemon.log.parent, daemon.address) as flow:
        await flow.more(50)  # warm
        start, before, files = time.monotonic(), aftermath.troubles(daemon), aftermath.descriptors(daemon)
        await anyio.sleep(steady)
        rate = flow.rate(start, start + steady)
        felt = [await strike(place, dsn, flow, one) for one in strikes for _ in range(one.times)]
        await anyio.sleep(max(0.0, felt[-1].healed + after - time.monotonic()))
        end = time.monotonic()
    figures: dict[str, int | float | str] = {
        "strikes": len(felt),
        "unfelt": sum(not one.was_felt(flow) for one in felt),
        "acknowledged": flow.acknowledged,
        "acks_back_s": round(max(flow.first_ack(one.healed) for one in felt), 2),
        "acks_per_s_before": rate,
        "throughput_back_s": round(flow.back_to(0.95 * rate, felt[-1].healed), 2),
        **aftermath.answered(flow, start, end),
        "drained_s": round(await aftermath.settled(dsn), 2),
        **await aftermath.connections(dsn),
        "descriptors_more": aftermath.descriptors(daemon) - files,
        "restarts": aftermath.troubles(daemon) - before,
        **await aftermath.violations(dsn, flow.history.lines, daemon),
    }
    fine = passed(figures) and daemon.returncode is None
    assert await daemon.stop() == 0
    return Fact(fact=name, passed=fine, figures=figures, seconds=round(time.monotonic() - began, 1))


async def strike(place: Place, dsn: str, flow: Traffic, one: Strike) -> Felt:
    """Plant and heal a fault once, and wait until acknowledgements come again."""
    async with one.fault(place, dsn):
        planted = time.monotonic()
        await anyio.sleep(one.seconds)
        lifted = time.monotonic()
    healed = time.monotonic()
    await flow.more(30)
    return Felt(planted, lifted, healed, one.stores)


def passed(figures: dict[str, int | float | str]) -> bool:
    """Whether the figures are as promised."""
    nothing = (
        "unfelt", "without_retry_after", "unreachable", "other_statuses", "livez_failed", "idle_in_transaction",
        "restarts", "violations",
    )  # fmt: skip
    most = {
        "acks_back_s": BACK_WITHIN,
        "slowest_answer_s": PATIENCE + 1,
        "connections": POOLS,
        "descriptors_more": POOLS,
    }
    return not any(figures[name] for name in nothing) and all(
        float(figures[name]) <= limit for name, limit in most.items()
    )
