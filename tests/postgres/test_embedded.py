"""The Postgres from the wheel: started once, shared, found again after kills, stopped by its last user."""

import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import asyncpg
import pytest

from tds_runtime import embedded, premises
from tds_runtime.embedded import Server
from tds_runtime.errors import DatabaseGone, DatabaseRefused

pytestmark = pytest.mark.anyio


async def ask(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=5, command_timeout=5)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close(timeout=5)


async def eventually_started_again(server: Server) -> None:
    while server.statistics().started < 2:
        with suppress(DatabaseGone):
            await server.start()


def postmaster(directory: Path) -> int:
    return int((directory / "data" / "postmaster.pid").read_text().split()[0])


async def test_the_last_user_stops_it(postgres_directory: Path) -> None:
    """Two users share one server; only the second stop ends it, and what was written is there at the next start."""
    one, two = Server(postgres_directory), Server(postgres_directory)
    assert await embedded.attach(postgres_directory) is None
    dsn = await one.start()
    assert await two.start() == dsn
    assert (one.statistics().started, two.statistics().attached) == (1, 1)
    await ask(dsn, "CREATE TABLE kept AS SELECT 1 AS id")
    assert not await one.stop()
    assert await embedded.attach(postgres_directory) == dsn
    assert await two.stop()
    assert await embedded.attach(postgres_directory) is None
    await one.start()
    assert await ask(dsn, "SELECT id FROM kept") == 1
    assert await one.stop()
    assert not await one.stop()


async def test_a_killed_user_leaves_a_server_that_is_found_again(postgres_directory: Path) -> None:
    """SIGKILL of the process that started it: the server lives on, the next start attaches to it."""
    script = (
        "import anyio, sys, time, tds_runtime.embedded as embedded\n"
        "anyio.run(embedded.Server(embedded.Path(sys.argv[1])).start)\n"
        "print('up', flush=True); time.sleep(600)"
    )
    async with await anyio.open_process([sys.executable, "-c", script, str(postgres_directory)]) as user:
        assert user.stdout is not None
        assert (await user.stdout.receive()).startswith(b"up")
        user.kill()
    server = Server(postgres_directory)
    dsn = await server.start()
    assert server.statistics().attached == 1
    assert await ask(dsn, "SELECT 1") == 1
    assert await server.stop()


async def test_a_killed_server_is_started_again(postgres_directory: Path) -> None:
    """SIGKILL of the postmaster leaves a stale pid file; the next start recovers."""
    server = Server(postgres_directory)
    dsn = await server.start()
    os.kill(postmaster(postgres_directory), signal.SIGKILL)
    with anyio.fail_after(30):
        await eventually_started_again(server)
    assert server.statistics().started == 2
    assert await ask(dsn, "SELECT 1") == 1
    await server.stop()


async def test_a_pid_of_something_else_is_no_server(postgres_directory: Path) -> None:
    """A pid file whose number was given to another process does not keep the server from starting."""
    server = Server(postgres_directory)
    await server.start()
    pid_file = postgres_directory / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines(keepends=True)
    await server.stop()
    pid_file.write_text("".join([f"{os.getpid()}\n", *lines[1:]]))
    await server.start()
    assert server.statistics().started == 2
    await server.stop()


async def test_long_paths_have_their_socket_elsewhere(postgres_directory: Path) -> None:
    """A directory too deep for a socket's path works as well."""
    server = Server(postgres_directory / ("deep" * 30))
    assert await ask(await server.start(), "SELECT 1") == 1
    await server.stop()


async def test_another_major_version_is_refused(postgres_directory: Path) -> None:
    """A cluster of another version is left alone, with advice."""
    (postgres_directory / "data").mkdir(parents=True)
    (postgres_directory / "data" / "PG_VERSION").write_text("12\n")
    with pytest.raises(DatabaseRefused, match="made by PostgreSQL 12"):
        await Server(postgres_directory).start()


async def test_root_in_a_directory_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres_directory: Path
) -> None:
    """Where the server's user cannot enter the directory, cluster and programs are elsewhere; attach finds them."""
    if os.geteuid() != 0:
        pytest.skip("only root hands the server to another user")
    monkeypatch.setattr(premises, "ELSEWHERE", postgres_directory)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o700)
    package = premises.binaries().parent.parent
    shutil.copytree(package, locked / package.name, symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), locked / f"{package.name}.libs", symlinks=True)
    monkeypatch.setattr(premises, "binaries", lambda: locked / package.name / "pginstall" / "bin")
    server = Server(locked / "postgres")
    dsn = await server.start()
    assert await embedded.attach(locked / "postgres") == dsn
    assert await ask(dsn, "SELECT 1") == 1
    assert await server.stop()
