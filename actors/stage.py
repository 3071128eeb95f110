"""Starts what the demo and the benches play on: a sandbox and the daemon with its embedded Postgres, as processes."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import httpx2
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream
from msgspec import Struct

from actors import schedules
from actors.processes import free_port, process
from tds_runtime.errors import Error

READY_WITHIN = 90.0

CONFIGURATION = """\
[database]
dsn = "embedded"
data_directory = "postgres"

[http]
bind = "127.0.0.1:{port}"

[webhooks]
secrets = ["{webhook_secret}"]

[zoho]
calls_per_minute = 0
organization_id = "{organization_id}"
client_id = "{client_id}"
client_secret = "{client_secret}"
refresh_token = "{refresh_token}"
accounts_url = "{accounts}"
api_url = "{api}"

[entities]
directory = "{entities}"

{schedules}

[log]
format = "json"

{more}
"""

# A schedule that fired in the middle would pull what a webhook is about to tell, and the counts would be luck.
QUIET = "\n".join(f"[schedule.{name}]\nenabled = false" for name in schedules.DEFAULTS)


class StageFailed(Error):
    """A process of the demo did not start or did not stop."""


class Sandbox(Struct, frozen=True):
    """What the sandbox announces in its one line of JSON."""

    accounts: str
    api: str
    control: str
    organization_id: str
    client_id: str
    client_secret: str
    refresh_token: str
    webhook_secret: str


class Stage(Struct, frozen=True):
    """The running processes and how to reach them; `pid` is the daemon's."""

    directory: Path
    sandbox: Sandbox
    daemon: str
    token: str
    configuration: Path
    pid: int

    def peak_memory(self) -> int:
        """The most bytes that the daemon ever had resident."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def command(*arguments: str) -> list[str]:
    """The daemon's own command line, run by the interpreter that runs the demo."""
    return [sys.executable, "-m", "actors", *arguments]


async def _first_line(child: anyio.abc.Process, log: Path) -> bytes:
    """The first line of a child's output.

    Raises:
        StageFailed: the child ended, or said nothing in time; the message holds the end of its log.
    """
    if child.stdout is None:
        raise StageFailed
    try:
        with anyio.fail_after(READY_WITHIN):
            return await BufferedByteReceiveStream(child.stdout).receive_until(b"\n", 1 << 20)
    except (TimeoutError, anyio.IncompleteRead, anyio.EndOfStream) as error:
        raise StageFailed(f"no word from the process; its log ends with:\n{tail(log)}") from error


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log file, for messages."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


async def wait_ready(address: str, child: anyio.abc.Process, log: Path) -> None:
    """Return when `/readyz` answers 200.

    Raises:
        StageFailed: the daemon ended or did not become ready in time.
    """
    async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
        with anyio.move_on_after(READY_WITHIN):
            while child.returncode is None:
                try:
                    if (await client.get(f"{address}/readyz")).status_code == httpx2.codes.OK:
                        return
                except httpx2.TransportError:
                    pass  # not listening yet; the deadline above bounds the wait
                await anyio.sleep(0.1)
    raise StageFailed(f"the daemon at {address} is not ready; its log ends with:\n{tail(log)}")


async def _token(configuration: Path, environment: Mapping[str, str]) -> str:
    answer = await anyio.run_process(
        command("token", "create", "--name", "demo", "--role", "operator", "--json", "--config", str(configuration)),
        env=dict(environment),
        check=False,
    )
    if answer.returncode:
        raise StageFailed(f"no operator token: {answer.stderr.decode(errors='replace')}")
    return str(msgspec.json.decode(answer.stdout)["token"])


@asynccontextmanager
async def open_stage(
    directory: Path, entities: Path, *, seed: int, sandbox_options: Sequence[str] = (), more: str = ""
) -> AsyncIterator[Stage]:
    """Sandbox and daemon on free loopback ports below `directory`, ready; both are stopped on leaving.

    Args:
        directory: an empty directory for the configuration, the logs and the database.
        entities: the directory of the entity mappings.
        seed: of the sandbox's data.
        sandbox_options: more words for its command line.
        more: sections of the daemon's configuration beside those that make it reach the others.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TDS_")}
    sandbox_log, daemon_log = directory / "sandbox.log", directory / "daemon.log"
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(
            process(
                command("sandbox", "--port", "0", "--seed", str(seed), "--no-limits", *sandbox_options),
                sandbox_log,
                environment,
                piped=True,
            )
        )
        announced = msgspec.json.decode(await _first_line(sandbox, sandbox_log), type=Sandbox)
        port = free_port()
        configuration = directory / "tds.toml"
        configuration.write_text(
            CONFIGURATION.format(
                port=port, entities=entities, schedules=QUIET, more=more, **msgspec.to_builtins(announced)
            )
        )
        daemon = await stack.enter_async_context(
            process(command("run", "--config", str(configuration)), daemon_log, environment)
        )
        address = f"http://127.0.0.1:{port}"
        await wait_ready(address, daemon, daemon_log)
        token = await _token(configuration, environment)
        yield Stage(directory, announced, address, token, configuration, daemon.pid)
