"""A Postgres from a wheel, for laptops and tests: started, shared, re-attached after a kill, stopped by its last user.

Layout of the directory: `data/` (the cluster, its log, its socket), `start.lock` (held while starting or stopping)
and `users.lock` (held shared by everyone who uses the server; who can take it alone may stop the server).
The binaries are driven directly: the wheel's own class stops servers by atexit and grants them ten seconds to start.
"""

from __future__ import annotations

import fcntl
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from anyio import to_thread
from msgspec import Struct

from tds_runtime import premises
from tds_runtime.errors import DatabaseGone, DatabaseRefused

LOG_LIMIT = 10 << 20  # bytes; an older log is kept as server.old
CREATE_DATABASE = """
SELECT 'CREATE DATABASE tds TEMPLATE template0 ENCODING ''UTF8'''
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'tds') \\gexec
"""
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "log_checkpoints": "off",
    "jit": "off",
    "autovacuum_naptime": "10s",  # a queue leaves many dead rows in a minute
}


def data_source_name(data_directory: Path, database: str = "tds") -> str:
    """Return the DSN of the server of this directory, running or not."""
    return f"postgresql://{premises.USER}@/{database}?host={premises.socket_directory(data_directory)}&port={premises.PORT}"


async def attach(data_directory: Path) -> str | None:
    """Return the DSN of the server that another process runs in this directory, or None where nobody answers."""
    answering = await to_thread.run_sync(_answers, data_directory)
    return data_source_name(data_directory) if answering else None


class Statistics(Struct, frozen=True):
    """What a server knows about itself: whether this process uses it, and how often it was started or found running."""

    running: bool
    started: int
    attached: int


class Server:
    """One cluster in one directory; `start` and `stop` may be called by any number of processes at once."""

    def __init__(
        self,
        data_directory: Path,
        *,
        programs: Path | None = None,
        settings: Mapping[str, str] | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        self._wanted = data_directory.absolute()
        self.data_directory = premises.home(data_directory)
        self.dsn = data_source_name(data_directory)
        self._given_programs = programs
        self._settings = {**SETTINGS, **(settings or {})}
        self._start_timeout = start_timeout
        self._users: IO[bytes] | None = None
        self._started = 0
        self._attached = 0

    async def start(self) -> str:
        """Create the cluster if need be, start or re-attach to its server, and return the DSN.

        Raises:
            DatabaseGone: the server did not come up; the message ends with the tail of its log.
            DatabaseRefused: the directory belongs to another major version of Postgres.
        """
        await to_thread.run_sync(self._start)
        return self.dsn

    async def stop(self) -> bool:
        """Stop the server unless another process uses it; True when it was stopped."""
        return await to_thread.run_sync(self._stop)

    def statistics(self) -> Statistics:
        """Say whether this process uses the server and how it got it."""
        return Statistics(running=self._users is not None, started=self._started, attached=self._attached)

    @property
    def _cluster(self) -> Path:
        return self.data_directory / "data"

    @property
    def _log(self) -> Path:
        return self._cluster / "server.log"

    def _start(self) -> None:
        self.data_directory.mkdir(parents=True, exist_ok=True)
        if self.data_directory != self._wanted:
            self._move_in()
        with _locked(self.data_directory / "start.lock"):
            self._create()
            if _answers(self.data_directory):
                self._attached += 1
            else:
                self._launch()
                self._started += 1
            self._join()

    def _move_in(self) -> None:
        """Leave a note whose home this is, and clear the homes whose owners' directories are gone."""
        self._wanted.mkdir(parents=True, exist_ok=True)
        (self.data_directory / premises.NOTE).write_text(str(self._wanted))
        for home in premises.abandoned():
            if not _anybody_in(home / "data"):
                shutil.rmtree(home, ignore_errors=True)

    def _join(self) -> None:
        if self._users is None:
            self._users = (self.data_directory / "users.lock").open("ab")
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def _stop(self) -> bool:
        if self._users is None:
            return False
        with _locked(self.data_directory / "start.lock"):
            alone = self._leave(self._users)
            self._users = None
            if alone:
                self._halt()
        return alone

    def _leave(self, users: IO[bytes]) -> bool:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            return True
        finally:
            users.close()

    def _create(self) -> None:
        if not (self._cluster / "PG_VERSION").exists():
            with tempfile.TemporaryDirectory(dir=self.data_directory, prefix="new-") as fresh:
                self._initialize(Path(fresh))
        found = (self._cluster / "PG_VERSION").read_text().strip()
        if found != self._version():
            raise DatabaseRefused(
                f"{self._cluster} was made by PostgreSQL {found}, the programs here are {self._version()}: "
                "dump and restore it, or point [database] data_directory elsewhere"
            )

    def _initialize(self, fresh: Path) -> None:
        premises.give(fresh)
        target = fresh / "data"
        words = [f"--pgdata={target}", f"--username={premises.USER}", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        self._run("initdb", *words)
        shutil.rmtree(self._cluster, ignore_errors=True)
        target.rename(self._cluster)

    def _launch(self) -> None:
        self._forget_stranger()
        sockets = Path(premises.socket_directory(self.data_directory))
        sockets.mkdir(mode=0o700, exist_ok=True)
        premises.give(sockets)
        if self._log.exists() and self._log.stat().st_size > LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".old"))
        settings = {**self._settings, "unix_socket_directories": str(sockets), "port": str(premises.PORT)}
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        try:
            self._run("pg_ctl", "start", "--wait", f"--timeout={self._start_timeout:.0f}",
                      f"--pgdata={self._cluster}", f"--log={self._log}", f"--options={options}")  # fmt: skip
        except DatabaseGone as error:
            raise DatabaseGone(f"the embedded Postgres did not start: {self._last_words()}") from error
        self._ensure_database()

    def _halt(self) -> None:
        for mode in ("fast", "immediate"):
            if not _answers(self.data_directory):
                return
            with suppress(DatabaseGone):
                self._run("pg_ctl", "stop", "--wait", f"--pgdata={self._cluster}", f"--mode={mode}", "--timeout=20")

    def _ensure_database(self) -> None:
        where = (
            f"--host={premises.socket_directory(self.data_directory)}",
            f"--port={premises.PORT}",
            f"--username={premises.USER}",
        )
        self._run("psql", *where, "--no-psqlrc", "--quiet", "--dbname=postgres", stdin=CREATE_DATABASE)

    def _forget_stranger(self) -> None:
        """Remove lock files whose number is no Postgres any more (a restarted container, a parent that reaps nobody).

        Only when no process lives in the cluster: with orphaned backends about, the files are what protects the data.
        """
        sockets = Path(premises.socket_directory(self.data_directory))
        for file in (self._cluster / "postmaster.pid", sockets / f"{premises.SOCKET_NAME}.lock"):
            if file.exists() and _is_no_server(int(file.read_text().split()[0])) and not _anybody_in(self._cluster):
                file.unlink()

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else "it left no log"

    def _version(self) -> str:
        answer = subprocess.run([self._program("postgres"), "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - the wheel's own program
        return answer.stdout.split()[2].split(".")[0]

    def _program(self, name: str) -> Path:
        return (self._given_programs or premises.reachable_programs()) / name

    def _run(self, program: str, *words: str, stdin: str = "") -> None:
        # Files instead of pipes: the server inherits them, and reading a pipe would wait for the server's end.
        user = premises.owner()
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(  # noqa: S603 - a fixed program with arguments of our own, no shell
                [str(self._program(program)), *words],
                check=False,
                input=stdin,
                text=True,
                stdout=output,
                stderr=output,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                user=user.pw_uid if user else None,
                group=user.pw_gid if user else None,
                extra_groups=[] if user else None,
            )
            if result.returncode:
                output.seek(0)
                raise DatabaseGone(f"{program} failed: {output.read()[-2000:].strip()}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _answers(data_directory: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(f"{premises.socket_directory(data_directory)}/{premises.SOCKET_NAME}")
        except OSError:
            return False
        return True


def _is_no_server(pid: int) -> bool:
    """Whether a process of this number exists and is certainly not a running Postgres."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return False  # no such process, or no /proc: Postgres itself judges
    return name not in {"postgres", "postmaster"} or rest.split()[0] in {"Z", "X"}


def _anybody_in(directory: Path) -> bool:
    """Whether a process has its working directory there, as every process of a server has."""
    for process in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if process.readlink() == directory:
                return True
        except OSError:
            continue  # it ended, or is a zombie, or not ours to see
    return False
