"""What this process uses of the machine, as Linux counts it."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

from msgspec import Struct


class Process(Struct, frozen=True, kw_only=True):
    """This process: bytes resident, open descriptors, seconds of processor time."""

    resident: int
    descriptors: int
    processor: float


class Disk(Struct, frozen=True, kw_only=True):
    """The file system of a directory, in bytes; `free` is what is left to us."""

    size: int
    free: int


def measure(process: Path = Path("/proc/self")) -> Process:
    """This process; OSError when no descriptor is left to look with."""
    pages = int((process / "statm").read_text().split()[1])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Process(
        resident=pages * resource.getpagesize(),
        descriptors=sum(1 for _ in (process / "fd").iterdir()),
        processor=usage.ru_utime + usage.ru_stime,
    )


def disk(directory: Path) -> Disk:
    """The file system that holds a directory, or will hold it once it is made."""
    found = next(path for path in (directory.absolute(), *directory.absolute().parents) if path.exists())
    usage = shutil.disk_usage(found)
    return Disk(size=usage.total, free=usage.free)
