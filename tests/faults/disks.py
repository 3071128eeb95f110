"""Takes the disks away from the server: they fail, or they are full, under its data or under its log."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import anyio
import asyncpg
from faults.fact import Fact
from faults.place import Place, execute, place
from faults.servers import Strike, children, outages, restart, signal_all

SMALL = "400M"  # of the disk: enough for the cluster and a few segments of its log
BALLAST = "ballast"
BROKEN = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)


def without(program: str) -> str:
    """Say why a fault cannot be planted here, or ""."""
    if os.geteuid() != 0:
        return "only root may do this"
    return "" if shutil.which(program) else f"there is no {program} here"


def skipped(name: str, reason: str) -> Fact:
    """A fact that could not be tried; it has not failed, and says so."""
    return Fact(fact=name, passed=True, figures={"skipped": reason}, seconds=0.0)


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
        with suppress(ProcessLookupError):  # it ends by itself with the last of those that it traces
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
