"""Takes away what daemon and server live on: disks that fail or are full, readers of the log, descriptors, clock."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
import asyncpg
from faults import aftermath
from faults.fact import Fact
from faults.place import Place, execute, place
from faults.servers import Strike, children, outages, restart, signal_all
from faults.traffic import OK, Caller, traffic
from faults.warm import Warm

SMALL = "400M"  # of the disk: enough for the cluster and a few segments of its log
BALLAST = "ballast"
SPARE = 30  # descriptors: more than the pools may need
GRACE = 27.0  # seconds
BROKEN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


def without(program: str) -> str:
    """Say why a fault cannot be planted here, or ""."""
    if os.geteuid() != 0:
        return "only root may do this"
    return "" if shutil.which(program) else f"there is no {program} here"


def skipped(name: str, reason: str) -> Fact:
    """A fact that could not be tried; it has not failed, and says so."""
    return Fact(fact=name, passed=True, figures={"skipped": reason}, seconds=0.0)


# --- disks


@asynccontextmanager
async def failing_disk(here: Place, _dsn: str) -> AsyncIterator[None]:
    """The log cannot be brought to disk: fdatasync fails with EIO, and the server gives itself up rather than guess."""
    postmaster = here.postmaster_pid
    every = [str(pid) for pid in (postmaster, *children(postmaster))]
    words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=fdatasync"]
    words += ["-e", "inject=fdatasync:error=EIO", *(word for pid in every for word in ("-p", pid))]
    tracer = await anyio.open_process(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await until_traced(postmaster)
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        await tracer.wait()
        await tracer.aclose()
        await revive(here)


async def revive(here: Place) -> None:
    """Do what whoever runs the server does: give it a while to recover by itself, else end and start it."""
    for _ in range(50):
        await anyio.sleep(0.1)
        with suppress(*BROKEN):
            await execute(here.dsn("postgres"), "SELECT 1")
            return
    with suppress(FileNotFoundError):
        postmaster = here.postmaster_pid
        signal_all([*children(postmaster), postmaster], signal.SIGKILL)
    await restart(here)


async def until_traced(pid: int) -> None:
    status = anyio.Path(f"/proc/{pid}/status")
    with anyio.fail_after(10):
        while "TracerPid:\t0\n" in await status.read_text():  # noqa: ASYNC110 - another process attaches
            await anyio.sleep(0.01)


@asynccontextmanager
async def full_disk(here: Place, _dsn: str) -> AsyncIterator[None]:
    """No room is left where the whole cluster is."""
    ballast = here.server.data_directory / BALLAST
    fill(ballast)
    try:
        yield
    finally:
        ballast.unlink()
        await revive(here)


@asynccontextmanager
async def full_log_disk(here: Place, dsn: str) -> AsyncIterator[None]:
    """No room is left for the next segment of the write-ahead log."""
    ballast = here.directory / "wal" / BALLAST
    fill(ballast)
    try:
        await use_up_segments(dsn)
        yield
    finally:
        ballast.unlink()
        await revive(here)


def fill(ballast: Path) -> None:
    """Write until nothing more can be written."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * (1 << 16))
        except OSError:
            return


async def use_up_segments(dsn: str) -> None:
    """Switch segments until the server has none left and gives itself up."""
    try:
        for _ in range(50):
            await execute(dsn, "SELECT pg_switch_wal(), pg_logical_emit_message(true, 'f', 'f')")
    except BROKEN:
        return  # it has


@contextmanager
def small_disk(mountpoint: Path, size: str = SMALL) -> Iterator[Path]:
    """Mount a tmpfs of that size."""
    mountpoint.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(mountpoint)], check=True)
    try:
        yield mountpoint
    finally:
        subprocess.run(["umount", "--lazy", str(mountpoint)], check=True)


async def disk_fails(here: Place, *, seconds: float = 5.0) -> Fact:
    """EIO on the write-ahead log."""
    name = "EIO on the WAL"
    if reason := without("strace"):
        return skipped(name, reason)
    return await outages(here, name, Strike(failing_disk, seconds, 3))


async def disk_full(here: Place, *, seconds: float = 10.0) -> Fact:
    """ENOSPC for the data."""
    name = "ENOSPC on the data"
    if reason := without("mount"):
        return skipped(name, reason)
    own = here.directory / "small"
    own.mkdir(mode=0o755)
    with small_disk(own / "postgres"):
        async with place(own) as other:
            return await outages(other, name, Strike(full_disk, seconds, 2, stores="little"))


async def log_disk_full(here: Place, *, seconds: float = 10.0) -> Fact:
    """ENOSPC for the write-ahead log."""
    name = "ENOSPC on the WAL"
    if reason := without("mount"):
        return skipped(name, reason)
    own = here.directory / "own"
    own.mkdir(mode=0o755)
    with small_disk(own / "wal") as directory:
        async with place(own) as other:
            await move_log(other, directory)
            return await outages(other, name, Strike(full_log_disk, seconds, 2))


async def move_log(here: Place, directory: Path) -> None:
    """Put the write-ahead log on another disk."""
    assert await here.server.stop()
    log = here.server.data_directory / "data" / "pg_wal"
    status = log.stat()
    shutil.copytree(log, directory / "pg_wal")
    for path in (directory / "pg_wal", *(directory / "pg_wal").rglob("*")):
        os.chown(path, status.st_uid, status.st_gid)
    shutil.rmtree(log)
    log.symlink_to(directory / "pg_wal")
    await here.server.start()


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
    here: Place, *, seconds: float = 30.0, lease: float = 15.0, before: float = 16.0
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
            await anyio.sleep(seconds)
            held = aftermath.descriptors(daemon)
            refused = await asked_anew(daemon, patience=2)
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
        "processor_share": round(burnt / seconds, 2),
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
