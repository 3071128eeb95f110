"""Child processes on this machine, for whoever plays with whole daemons: the demo and the benches."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.abc

STOP_WITHIN = 40.0


@contextmanager
def playground(prefix: str) -> Iterator[Path]:
    """A temporary directory that the embedded Postgres may pass when root plays, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory


def free_port() -> int:
    """A loopback port that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def process(
    arguments: list[str], log: Path, environment: Mapping[str, str], *, piped: bool = False
) -> AsyncIterator[anyio.abc.Process]:
    """A child process that is stopped on leaving: asked first, killed when it does not listen.

    Args:
        arguments: the command line.
        log: takes the standard error, and the standard output unless `piped`.
        environment: of the child.
        piped: leave the standard output to the caller.
    """
    with log.open("ab") as sink:
        child = await anyio.open_process(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if piped else sink,
            stderr=sink,
            env=dict(environment),
        )
    try:
        yield child
    finally:
        with anyio.CancelScope(shield=True):
            await _stop(child)


async def _stop(child: anyio.abc.Process) -> None:
    if child.returncode is None:
        child.terminate()
    with anyio.move_on_after(STOP_WITHIN):
        await child.wait()
    if child.returncode is None:
        child.kill()
        await child.wait()
    await child.aclose()
