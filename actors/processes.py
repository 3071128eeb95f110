"""Child processes on this machine, for whoever plays with whole daemons: the demo and the benches."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from random import Random

import anyio
import anyio.abc

STOP_WITHIN = 40.0
LOWEST = 15_000  # ports below are those of well-known services


@contextmanager
def playground(prefix: str) -> Iterator[Path]:
    """A temporary directory that the embedded Postgres may pass when root plays, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory


def free_port(random: Random | None = None) -> int:
    """A loopback port that nothing listens on at this moment, and that no outgoing connection is given either.

    A daemon that is killed and started again must find its port free; one that the system hands out to connections may
    be taken meanwhile.
    """
    random = random or Random()  # noqa: S311 - which port is no secret
    while True:
        port = random.randrange(LOWEST, _first_of_the_systems())
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _first_of_the_systems(ranges: Path = Path("/proc/sys/net/ipv4/ip_local_port_range")) -> int:
    first = int(ranges.read_text().split()[0]) if ranges.exists() else 32768
    return first if first > LOWEST + 1000 else 32768


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
