"""Takes away what a daemon lives on: readers of its log, and descriptors."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from faults import aftermath
from faults.fact import Fact
from faults.place import Place
from faults.traffic import OK, Caller, traffic
from faults.warm import Warm

SPARE = 30  # descriptors: more than the pools may need
GRACE = 27.0  # seconds


# --- the log


async def log_unread(here: Place, *, seconds: float = 15.0) -> Fact:
    """The log is a pipe: nobody reads it until it is full, then nobody holds its other end, then it is read again."""
    began = time.monotonic()
    dsn = await here.database()
    configuration = here.configure(dsn)
    pipe = configuration.with_name("daemon.log")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    daemon = await here.nursery.start(configuration, environment={"TDS_LOG__QUEUE": "200"})
    async with traffic(configuration.parent, daemon.address) as flow:
        await flow.more(50)
        start = time.monotonic()
        await anyio.sleep(seconds)
        held = os.read(reader, 1 << 20)
        os.close(reader)
        await anyio.sleep(3)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        said = await until_said(reader, b'"logs.dropped"')
        end = time.monotonic()
    figures: dict[str, int | float | str] = {
        "acknowledged": flow.acknowledged,
        "pipe_bytes": len(held),
        "says_what_it_dropped": int(said),
        **aftermath.answered(flow, start, end),
        "drained_s": round(await aftermath.settled(dsn), 2),
        **await aftermath.violations(dsn, flow.history.lines),
    }
    stopped = await stop_unread(daemon, reader)
    figures["stopped_s"] = round(stopped, 2)
    passed = (
        said
        and stopped < GRACE
        and float(figures["slowest_answer_s"]) < 1
        and not any(figures[name] for name in ("refused_503", "unreachable", "livez_failed", "violations"))
    )
    return Fact(fact="log unread", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def until_said(reader: int, word: bytes, within: float = 30.0) -> bool:
    """Read until a word comes."""
    rest = b""
    with anyio.move_on_after(within):
        while word not in rest:
            with suppress(BlockingIOError):
                rest = rest[-len(word) :] + os.read(reader, 1 << 16)
            await anyio.sleep(0.02)
        return True
    return False


async def stop_unread(daemon: Warm, reader: int) -> float:
    """Stop it while nobody reads its last words; returns the seconds that it took."""
    began = time.monotonic()
    assert await daemon.stop() == 0
    os.close(reader)
    return time.monotonic() - began


# --- descriptors


async def descriptors_exhausted(
    here: Place, *, seconds: float = 20.0, lease: float = 15.0, before: float = 16.0
) -> Fact:
    """Strangers hold every descriptor that the daemon may open: who is connected is served, and later everybody.

    Args:
        here: where.
        seconds: how long they stay.
        lease: of the daemon's claims; it is kept meanwhile.
        before: seconds of traffic first, in which the daemon reads its texts for the first time.
    """
    began = time.monotonic()
    dsn = await here.database()
    environment = {"TDS_QUEUE__LEASE": f"{lease}s"}
    daemon = await here.nursery.start(here.configure(dsn), environment=environment)
    async with traffic(daemon.log.parent, daemon.address) as flow:
        await flow.more(50)
        await anyio.sleep(before)
        start, files = time.monotonic(), aftermath.descriptors(daemon)
        limit = files + SPARE
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (limit, hard))
        burnt, lines = processor(daemon), len(daemon.log.read_bytes().splitlines())
        async with strangers(daemon, 2 * SPARE):
            held = await most_held(daemon, seconds=1)
            refused = await asked_anew(daemon, patience=1)
            await anyio.sleep(seconds)  # the daemon lets go of who says nothing for `keep_alive`, and takes the next
        burnt = processor(daemon) - burnt
        freed = time.monotonic()
        await until_answered(daemon)
        back = time.monotonic() - freed
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
        await flow.more(50)
        end = time.monotonic()
    figures: dict[str, int | float | str] = {
        "acknowledged": flow.acknowledged,
        "descriptors": held,
        "limit": limit,
        "stranger_was_told": refused,
        "processor_share": round(burnt / (seconds + 2), 2),
        "log_lines": len(daemon.log.read_bytes().splitlines()) - lines,
        "accepts_again_s": round(back, 2),
        **aftermath.answered(flow, start, end),
        "drained_s": round(await aftermath.settled(dsn), 2),
        "restarts": aftermath.troubles(daemon),
        **await aftermath.violations(dsn, flow.history.lines, daemon),
    }
    passed = (
        held >= limit - 1
        and back < 5
        and int(figures["log_lines"]) < flow.acknowledged
        and not any(
            figures[name] for name in ("stranger_was_told", "unreachable", "livez_failed", "restarts", "violations")
        )
        and daemon.returncode is None
    )
    assert await daemon.stop() == 0
    return Fact(
        fact="descriptors exhausted", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1)
    )


async def most_held(daemon: Warm, *, seconds: float) -> int:
    """The most descriptors it had open at once: at any one look a file may just have been closed."""
    most = 0
    with anyio.move_on_after(seconds):
        while True:
            most = max(most, aftermath.descriptors(daemon))
            await anyio.sleep(0.05)
    return most


@asynccontextmanager
async def strangers(daemon: Warm, count: int) -> AsyncIterator[None]:
    """Connections that say nothing."""
    host, _, port = daemon.address.removeprefix("http://").rpartition(":")
    streams = [await anyio.connect_tcp(host, int(port)) for _ in range(count)]
    try:
        yield
    finally:
        for stream in streams:
            await anyio.aclose_forcefully(stream)


async def until_answered(daemon: Warm) -> None:
    """Ask on new connections until one is answered."""
    with anyio.fail_after(30):
        while await asked_anew(daemon, patience=1) != OK:  # noqa: ASYNC110 - it is its turn
            await anyio.sleep(0.05)


async def asked_anew(daemon: Warm, *, patience: float) -> int:
    """The status that a new connection is told, 0 when nothing."""
    caller = Caller(daemon.address)
    answer = await caller.get("/livez", patience=patience)
    await caller.aclose()
    return answer.status


def processor(daemon: Warm) -> float:
    """Seconds of processor time that it has used."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
