"""`tds-runtime run` as it is after `init`: embedded Postgres and sandbox, nothing else."""

import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import anyio.abc
import asyncpg
import httpx2
import pytest
from fixtures.daemon import until

from actors.processes import free_port
from actors.stage import command, wait_ready
from tds_runtime.embedded import Server, attach

pytestmark = pytest.mark.anyio


class Home:
    """A directory made by `init`, and the daemon that runs in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address = f"http://127.0.0.1:{(port := free_port())}"
        self.sandbox = f"http://127.0.0.1:{(sandbox := free_port())}/sandbox"
        settings = {
            "TDS_HTTP__BIND": f"127.0.0.1:{port}",
            "TDS_SANDBOX__PORT": str(sandbox),
            "TDS_SANDBOX__SCALE": "0.02",
        }
        self.environ = {name: value for name, value in os.environ.items() if not name.startswith("TDS_")} | settings
        self.log = directory / "daemon.log"
        self.process: anyio.abc.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as sink:
            self.process = await anyio.open_process(
                command("run"), cwd=self.directory, env=self.environ, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
            )
        await wait_ready(self.address, self.process, self.log)

    async def verb(self, *words: str) -> tuple[int, str]:
        done = await anyio.run_process(command(*words), cwd=self.directory, env=self.environ, check=False)
        return done.returncode, done.stdout.decode()

    async def end(self, number: int) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        with anyio.fail_after(40):
            return await self.process.wait()


@pytest.fixture
async def home(tmp_path: Path, anyio_backend: str) -> AsyncIterator[Home]:
    made = Home(tmp_path / "home")
    await anyio.run_process(command("init", str(made.directory)), env=made.environ)
    yield made
    if made.process is not None and made.process.returncode is None:
        await made.end(signal.SIGKILL)


async def completed(home: Home) -> int:
    return int(json.loads((await home.verb("status", "--json"))[1])["completed_24h"])


async def test_init_run_sync_webhook_stop(home: Home) -> None:
    """A full sync fills the tables, an edit in the sandbox arrives as a signed webhook, SIGTERM ends it all."""
    assert (await home.verb("check"))[0] == 0
    assert (await home.verb("init", str(home.directory)))[0] == 5
    await home.start()
    status, shown = await home.verb("sync", "all", "--json")
    run = json.loads(shown)
    assert (status, run["status"], run["dead"]) == (0, "completed", 0)
    assert run["listed"] == run["applied"] + run["unchanged"] + run["coalesced"] > 0
    before = await completed(home)
    async with httpx2.AsyncClient(trust_env=False, timeout=20) as http:
        edited = await http.post(f"{home.sandbox}/edit", json={"entity": "product", "count": 3})
        assert len(edited.json()["records"]) == 3

    async def applied() -> bool:
        return await completed(home) == before + 3

    await until(applied)
    assert (await home.verb("check", "--connect"))[0] == 0
    assert await home.end(signal.SIGTERM) == 0
    assert await attach(home.directory / "var" / "postgres") is None
    async with httpx2.AsyncClient(trust_env=False, timeout=5) as http:
        with pytest.raises(httpx2.TransportError):
            await http.get(home.sandbox)


async def test_killed_and_started_again(home: Home) -> None:
    """After SIGKILL the next start takes the running Postgres over, and the sandbox of the dead daemon is gone."""
    await home.start()
    assert (await home.verb("sync", "user"))[0] == 0
    await home.end(signal.SIGKILL)
    assert await attach(home.directory / "var" / "postgres") is not None
    await home.start()
    assert await completed(home) > 0
    assert (await home.verb("sync", "user"))[0] == 0
    assert await home.end(signal.SIGTERM) == 0
    assert await attach(home.directory / "var" / "postgres") is None


async def test_a_database_that_must_not_be_used_ends_the_daemon(empty_dsn: str, home: Home) -> None:
    """Foreign tables of our names: nothing is written, and the process ends with a status that is not 0."""
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute("CREATE TABLE tds_alerts (something integer)")
    await connection.close()
    home.environ |= {"TDS_DATABASE__DSN": empty_dsn, "TDS_SANDBOX__ENABLED": "false"}
    with home.log.open("ab") as sink:
        home.process = await anyio.open_process(
            command("run"), cwd=home.directory, env=home.environ, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
    with anyio.fail_after(60):
        assert await home.process.wait() != 0
    assert "tds_alerts" in home.log.read_text()


async def test_a_start_with_the_database_away(home: Home, tmp_path: Path) -> None:
    """The daemon is there without its database, answers 503, and is ready within seconds after the database is."""
    server = Server(tmp_path / "late")
    home.environ |= {"TDS_DATABASE__DSN": server.dsn, "TDS_SANDBOX__ENABLED": "false"}
    home.environ |= {"TDS_ENTITIES__CREATE_TABLES": "true"}
    with home.log.open("ab") as sink:
        home.process = await anyio.open_process(
            command("run"), cwd=home.directory, env=home.environ, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
    async with httpx2.AsyncClient(trust_env=False, timeout=5, base_url=home.address) as http:

        async def answers(path: str, status: int) -> bool:
            try:
                return (await http.get(path)).status_code == status
            except httpx2.TransportError:
                return False

        await until(partial(answers, "/livez", 200))
        assert (await http.get("/readyz")).status_code == 503
        await server.start()
        try:
            await until(partial(answers, "/readyz", 200), within=15)
            assert await home.end(signal.SIGTERM) == 0
        finally:
            await server.stop()
    assert "actor.crashed" not in home.log.read_text()
