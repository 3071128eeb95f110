"""Keeps a sandbox running beside the daemon that uses it: a process of its own that never outlives its parent."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import httpx2
import msgspec
from anyio.abc import ByteReceiveStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream
from msgspec import Struct

from actors.sandbox.options import Announcement
from tds_runtime import Context, actor, logs
from tds_runtime.errors import Error

LINE = 65536
GRACE = 3.0


class SandboxDied(Error):
    """The sandbox's process ended by itself."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[sandbox]`: whether one is wanted, and what it is started with.

    deliver_to: the address of a webhook receiver; with one, every change made in the sandbox is sent there.
    """

    enabled: bool = False
    port: int = 8010
    seed: int = 1
    scale: float = 1.0
    limits: bool = True
    latency_ms: float = 0.0
    deliver_to: str = ""


def command(options: Options) -> list[str]:
    """The command line of the process."""
    return [
        sys.executable, "-m", "actors.sandbox", "--tied", "--port", str(options.port), "--seed", str(options.seed),
        "--scale", str(options.scale), "--latency-ms", str(options.latency_ms),
        "--limits" if options.limits else "--no-limits",
    ]  # fmt: skip


@actor(start_timeout=30, stop=8)
async def sandbox_process(
    ctx: Context, *, options: Options, on_announced: Callable[[Announcement], None] = lambda _: None
) -> None:
    """Run the sandbox; ready when it has announced itself.

    Raises SandboxDied when the process ends by itself, so that the supervisor starts another. A stop sends SIGTERM,
    and SIGKILL after three seconds. The process watches its stdin, so it ends with us however we end.
    """
    async with _running(options) as process:
        assert process.stdout is not None
        output = BufferedByteReceiveStream(process.stdout)
        announcement = await _announcement(output)
        if options.deliver_to:
            await _deliver(announcement, options.deliver_to)
        logs.get("sandbox").info("sandbox.started", url=announcement.api, pid=process.pid)
        on_announced(announcement)
        ctx.ready()
        async with anyio.create_task_group() as group:
            group.start_soon(_die_with, process, output)
            await ctx.stopping.wait()
            group.cancel_scope.cancel()


@asynccontextmanager
async def _running(options: Options) -> AsyncIterator[Process]:
    process = await anyio.open_process(
        command(options), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None, start_new_session=True
    )
    try:
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            await _end(process)


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.terminate()
        with anyio.move_on_after(GRACE):
            await process.wait()
    if process.returncode is None:
        process.kill()
    await process.aclose()


async def _announcement(output: BufferedByteReceiveStream) -> Announcement:
    try:
        line = await output.receive_until(b"\n", LINE)
    except anyio.IncompleteRead:
        raise SandboxDied("the sandbox ended before it was ready") from None
    return msgspec.json.decode(line, type=Announcement)


async def _die_with(process: Process, output: ByteReceiveStream) -> None:
    """Read what the process says, so that it never waits for us, until it says no more."""
    async for _ in output:
        pass
    raise SandboxDied(f"the sandbox ended with status {await process.wait()}")


async def _deliver(announcement: Announcement, url: str) -> None:
    async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
        await client.put(f"{announcement.control}/webhooks", json={"hooks": [{"url": url}]})
        await client.post(f"{announcement.control}/switches", json={"control_fires_webhooks": True})
