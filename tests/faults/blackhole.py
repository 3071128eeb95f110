"""A bad link to Postgres: nothing comes through for a while, or byte by byte, or it is reset again and again."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from faults import aftermath
from faults.doubt import struck
from faults.evidence import sample
from faults.fact import Fact
from faults.place import Place
from faults.planting import Fault, Plan, operations
from faults.proxy import Proxy, proxy
from faults.traffic import Traffic, traffic
from faults.warm import Warm
from faults.wire import through
from msgspec import Struct

PATIENCE = 3.0  # seconds: command_timeout and acquire_timeout of the daemons here
DATABASE = f'command_timeout = "{PATIENCE:.0f}s"\nacquire_timeout = "{PATIENCE:.0f}s"'
ENVIRONMENT = {"TDS_WEBHOOKS__TIMEOUT": f"{PATIENCE:.0f}s"}  # by default, too, it is the command_timeout
BACK_WITHIN = 5.0
POOLS = 10  # connections that a daemon's pools hold at most
MORE_MEMORY = 32 << 20  # bytes that buffers and caches may take under the first load of a fresh process


class Scene(Struct, frozen=True):
    """A daemon behind a proxy under traffic, and how it was before anything happened."""

    dsn: str
    wire: Proxy
    daemon: Warm
    flow: Traffic
    began: float
    resident: int
    descriptors: int

    async def figures(self) -> dict[str, int | float | str]:
        """What is left behind, once the traffic has ended and nothing waits."""
        drained = await aftermath.settled(self.dsn)
        now = sample(self.daemon.pid, 0)
        return {
            "acknowledged": self.flow.acknowledged,
            **aftermath.answered(self.flow, self.began, time.monotonic()),
            "drained_s": round(drained, 2),
            "memory_more_mb": round((now.resident - self.resident) / (1 << 20), 1),
            "descriptors_more": now.descriptors - self.descriptors,
            **await aftermath.connections(self.dsn),
            "links": self.wire.statistics().open,
            "restarts": aftermath.troubles(self.daemon),
            "noise": noise(self.daemon),
            **await aftermath.violations(self.dsn, self.flow.history.lines, self.daemon),
        }


@asynccontextmanager
async def scene(place: Place) -> AsyncIterator[Scene]:
    """Start a daemon behind a proxy and send to it while the body lasts; stop it in the end."""
    dsn = await place.database()
    with proxy(dsn, operations()) as wire:
        configuration = place.configure(through(dsn, wire.port), database=DATABASE)
        daemon = await place.nursery.start(configuration, environment=ENVIRONMENT)
        async with traffic(daemon.log.parent, daemon.address) as flow:
            await flow.more(200)  # warm
            before = sample(daemon.pid, 0)
            yield Scene(dsn, wire, daemon, flow, time.monotonic(), before.resident, before.descriptors)
        await daemon.stop()


def noise(daemon: Warm) -> int:
    """Count the lines on its output that are none of its log's: tracebacks that nobody asked for."""
    return sum(not line.startswith(b"{") for line in daemon.log.read_bytes().splitlines())


def fine(figures: dict[str, int | float | str]) -> bool:
    """Whether nothing was lost, leaked, restarted or said in vain, and every answer came in time."""
    nothing = (
        "without_retry_after", "unreachable", "other_statuses", "livez_failed", "idle_in_transaction", "restarts",
        "noise", "violations",
    )  # fmt: skip
    most = {
        "slowest_answer_s": PATIENCE + 1,
        "connections": POOLS,
        "links": POOLS,
        "descriptors_more": POOLS,
        "memory_more_mb": MORE_MEMORY >> 20,
    }
    return not any(figures[name] for name in nothing) and all(
        float(figures[name]) <= limit for name, limit in most.items()
    )


async def blackholed(place: Place, *, seconds: float) -> Fact:
    """Cut the link in the middle of traffic and mend it: 503 in time meanwhile, and back by itself soon after."""
    began = time.monotonic()
    async with scene(place) as here:
        here.wire.cut()
        cut = time.monotonic()
        await anyio.sleep(seconds)
        here.wire.mend()
        mended = time.monotonic()
        await here.flow.more(200)
        figures = await quiet(here)
    figures = {
        "seconds_cut": seconds,
        "acks_while_cut": here.flow.acks(cut + 0.5, mended),
        "acks_back_s": round(here.flow.first_ack(mended), 2),
        **figures,
    }
    felt = bool(figures["refused_503"]) and not figures["acks_while_cut"]
    passed = felt and fine(figures) and float(figures["acks_back_s"]) <= BACK_WITHIN
    return Fact(fact="link blackholed", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def trickled(place: Place, *, deliveries: int) -> Fact:
    """Pass one byte at a time: slow, and nothing else."""
    began = time.monotonic()
    async with scene(place) as here:
        here.wire.trickle(True)
        await here.flow.more(deliveries, within=300)
        here.wire.trickle(False)
        figures = await quiet(here)
    passed = fine(figures) and here.flow.acknowledged >= deliveries
    return Fact(fact="byte by byte", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def reset_often(place: Place, *, every: int, resets: int) -> Fact:
    """Reset the connection at every n-th round trip, whosever it is: before, within and after, in turn.

    Args:
        place: where.
        every: round trips from one reset to the next.
        resets: how many, a multiple of 3.
    """
    began = time.monotonic()
    faults = tuple(
        Fault(ordinal=every * turn, every=3 * every, times=resets // 3, point=point, action="reset")
        for turn, point in enumerate(("before", "sent", "replied"), 1)
    )
    async with scene(place) as here:
        here.wire.arm(Plan(faults))
        await struck(here.wire)
        mended = time.monotonic()
        await here.flow.more(200)
        figures = await quiet(here)
    figures = {"resets": resets, "acks_back_s": round(here.flow.first_ack(mended), 2), **figures}
    passed = fine(figures) and float(figures["acks_back_s"]) <= BACK_WITHIN
    return Fact(fact="link reset often", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def quiet(here: Scene) -> dict[str, int | float | str]:
    """Let the senders end, and gather the figures."""
    here.flow.stopping = True
    return await here.figures()
