"""Daemons that are ready in a third of a second: forked from a process that has imported everything once.

`python -m faults.warm` is that process. It reads requests from its standard input, forks for each, and tells on its
standard output who was started and who has ended. The child is the daemon as `tds-runtime run` starts it, with the same
command line, signals and exit status; neither loop nor thread exists where it is forked. When the input ends, the
process kills what it has started, so that a test that dies leaves nothing behind.
"""

from __future__ import annotations

import gc
import importlib
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import anyio.abc
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream
from msgspec import Struct, field

TESTS = Path(__file__).parents[1]
READY_WITHIN = 30.0
LONGEST = 1 << 20  # bytes of one message
IMPORTED = ("actors.commands", "anyio._backends._asyncio")


class Start(Struct, frozen=True, tag=True):
    """Fork a daemon; what it writes goes to `log`."""

    serial: int
    configuration: str
    log: str
    mutant: str = ""
    environment: dict[str, str] = field(default_factory=dict)


class Started(Struct, frozen=True, tag=True):
    """The daemon of that request is this process."""

    serial: int
    pid: int


class Ended(Struct, frozen=True, tag=True):
    """A daemon has ended: its exit status, or the negated number of the signal that killed it."""

    pid: int
    status: int


# --- the side of the tests


class Warm:
    """One daemon: its process, its address, its log; `returncode` as of a Popen."""

    def __init__(self, pid: int, address: str, log: Path) -> None:
        self.pid = pid
        self.address = address
        self.log = log
        self.returncode: int | None = None
        self._ended = anyio.Event()

    def ended(self, status: int) -> None:
        """Take note of the end."""
        self.returncode = status
        self._ended.set()

    def send(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def freeze(self) -> None:
        """SIGSTOP."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self.send(signal.SIGCONT)

    async def wait(self) -> int:
        """Return the exit status once it has ended."""
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    async def kill(self) -> None:
        """SIGKILL: nothing is cleaned up; returns when the process is no more."""
        self.send(signal.SIGKILL)
        await self.wait()

    async def stop(self, number: int = signal.SIGTERM, *, within: float = 40.0) -> int:
        """Ask it to stop and return its exit status."""
        self.send(number)
        with anyio.fail_after(within):
            return await self.wait()

    async def ready(self, within: float = READY_WITHIN) -> None:
        """Return when `/readyz` answers 200; AssertionError with the end of the log when it ended instead."""
        with anyio.move_on_after(within):
            while self.returncode is None:
                if await self.is_ready():
                    return
                await anyio.sleep(0.01)
        raise AssertionError(f"{self.address} is not ready (status {self.returncode}):\n{self.tail()}")

    async def is_ready(self) -> bool:
        """Whether `/readyz` answers 200 now."""
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        try:
            async with await anyio.connect_tcp(host, int(port)) as stream:
                await stream.send(f"GET /readyz HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n".encode())
                return (await stream.receive()).startswith(b"HTTP/1.1 200")
        except (OSError, anyio.EndOfStream, anyio.BrokenResourceError):
            return False

    def tail(self, lines: int = 20) -> str:
        """The last lines of its log, for messages."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""


class Nursery:
    """Starts daemons in the warm process."""

    def __init__(self, process: anyio.abc.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self._daemons: dict[int, Warm] = {}
        self._wanted: dict[int, tuple[Start, str, anyio.Event]] = {}
        self._started: dict[int, Warm] = {}
        self._serial = 0

    async def start(
        self,
        configuration: Path,
        *,
        mutant: str = "",
        environment: Mapping[str, str] | None = None,
        ready: bool = True,
    ) -> Warm:
        """Start the daemon of this configuration; its log is `daemon.log` beside it, appended to.

        Args:
            configuration: the tds.toml; its `[http] bind` names a port.
            mutant: the name of a patch from `faults.mutants` that is applied in the child first.
            environment: added to that of the test, of which nothing that begins with TDS_ is passed on.
            ready: wait until `/readyz` answers 200.
        """
        self._serial += 1
        log = configuration.with_name("daemon.log")
        request = Start(self._serial, str(configuration), str(log), mutant, dict(environment or {}))
        started = anyio.Event()
        self._wanted[request.serial] = (request, _address(configuration), started)
        await self._ask(request)
        with anyio.fail_after(READY_WITHIN):
            await started.wait()
        daemon = self._started.pop(request.serial)
        if ready:
            await daemon.ready()
        return daemon

    async def _ask(self, request: Start) -> None:
        assert self._process.stdin is not None
        try:
            await self._process.stdin.send(msgspec.json.encode(request) + b"\n")
        except anyio.BrokenResourceError:
            raise AssertionError(f"the warm process has ended:\n{self._log.read_text()[-2000:]}") from None

    async def listen(self) -> None:
        """Take what the warm process tells until it ends."""
        assert self._process.stdout is not None
        lines = BufferedByteReceiveStream(self._process.stdout)
        decoder = msgspec.json.Decoder(Started | Ended)
        while True:
            try:
                message = decoder.decode(await lines.receive_until(b"\n", LONGEST))
            except (anyio.IncompleteRead, anyio.EndOfStream):
                return
            if isinstance(message, Started):
                self._take(message)
            else:
                self._daemons.pop(message.pid).ended(message.status)

    def _take(self, message: Started) -> None:
        request, address, started = self._wanted.pop(message.serial)
        daemon = Warm(message.pid, address, Path(request.log))
        self._daemons[message.pid] = self._started[message.serial] = daemon
        started.set()


@asynccontextmanager
async def warm(directory: Path) -> AsyncIterator[Nursery]:
    """A process that has imported the daemon; it and all that it started are gone on leaving.

    Args:
        directory: for the log of the warm process itself.
    """
    # Not measured for coverage: most of these daemons are killed before they could write what they saw, and pay for it.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TDS_", "COVERAGE_"))}
    path = directory / "warm.log"
    with path.open("ab") as log:
        process = await anyio.open_process(
            [sys.executable, "-m", "faults.warm"],
            stdout=subprocess.PIPE,
            stdin=subprocess.PIPE,
            stderr=log,
            env={**environment, "PYTHONPATH": str(TESTS)},
            start_new_session=True,
        )
    nursery = Nursery(process, path)
    async with anyio.create_task_group() as group:
        group.start_soon(nursery.listen)
        try:
            yield nursery
        finally:
            with anyio.CancelScope(shield=True):
                await _dismiss(process)
            group.cancel_scope.cancel()


async def _dismiss(process: anyio.abc.Process) -> None:
    assert process.stdin is not None
    await process.stdin.aclose()
    with anyio.move_on_after(20):
        await process.wait()
    if process.returncode is None:
        process.kill()
    await process.aclose()


def _address(configuration: Path) -> str:
    document = msgspec.toml.decode(configuration.read_bytes())
    return f"http://{document['http']['bind']}"


# --- the side of the warm process


def load() -> None:
    """Import whatever a daemon imports in its life, and keep the collector from touching it in the children."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


def serve() -> Start | None:
    """Fork a daemon for each request. Returns the request in the child, and None in the parent at the end."""
    daemons: set[int] = set()
    with _woken_by_children() as alarm, selectors.DefaultSelector() as ready:
        for source in (sys.stdin.fileno(), alarm):
            ready.register(source, selectors.EVENT_READ)
        rest = b""
        while True:
            sources = {key.fd for key, _ in ready.select()}
            if alarm in sources:
                os.read(alarm, 4096)
                _reap(daemons)
            if sys.stdin.fileno() in sources:
                chunk = os.read(sys.stdin.fileno(), 1 << 16)
                if not chunk:
                    return _end(daemons)
                *lines, rest = (rest + chunk).split(b"\n")
                for request in (msgspec.json.decode(line, type=Start) for line in lines):
                    pid = os.fork()
                    if pid == 0:
                        return request
                    daemons.add(pid)
                    _say(Started(request.serial, pid))


@contextmanager
def _woken_by_children() -> Iterator[int]:
    """A descriptor that becomes readable when a child ends; the signals are as before on leaving."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, before)
        os.close(reading)
        os.close(writing)


def _reap(daemons: set[int]) -> None:
    for pid in list(daemons):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            daemons.remove(pid)
            _say(Ended(pid, os.waitstatus_to_exitcode(status)))


def _end(daemons: set[int]) -> None:
    for pid in daemons:
        os.kill(pid, signal.SIGKILL)
    for pid in daemons:
        os.waitpid(pid, 0)


def _say(message: Started | Ended) -> None:
    os.write(sys.stdout.fileno(), msgspec.json.encode(message) + b"\n")


def become(request: Start) -> int:
    """Be the daemon of this request, as its command line would be; returns the exit status."""
    _redirect(request)
    if request.mutant:
        importlib.import_module("faults.mutants").apply(request.mutant)
    sys.argv = ["tds-runtime", "run", "--config", request.configuration]
    return int(importlib.import_module("actors.commands").main(sys.argv[1:]))


def _redirect(request: Start) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(request.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(nothing)
    os.close(log)
    os.chdir(Path(request.configuration).parent)
    os.environ.update(request.environment)


def main() -> int:
    """Serve, and be what was asked for in each child."""
    load()
    request = serve()
    return 0 if request is None else become(request)


if __name__ == "__main__":
    sys.exit(main())
