"""SQL texts kept in files named by verb, read once and handed to whoever executes them.

A line `--+ queue/fold` is replaced by the text of that file, so that a clause which several statements share is written
once; `--+ queue/pick 4` renumbers its parameters, $1 becomes $5.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

_INCLUDE = re.compile(r"^--\+ (\S+)(?: (\d+))?$", re.MULTILINE)
_PARAMETER = re.compile(r"\$(\d+)")


@cache
def load(name: str, *, package: str = "tds_runtime") -> str:
    """Return the text of `<package>/sql/<name>.sql`, for example `load("queue/claim")`."""
    text = resources.files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return expand(text, package=package)


def read_all(*packages: str) -> None:
    """Read every text now: a process that runs out of descriptors later could not open its file."""
    for package in packages:
        other = {} if package == "tds_runtime" else {"package": package}  # as callers write it, for the cache
        for room in resources.files(package).joinpath("sql").iterdir():
            for file in room.iterdir():
                load(f"{room.name}/{file.name.removesuffix('.sql')}", **other)


def expand(text: str, *, package: str = "tds_runtime") -> str:
    """Replace the lines that name other files by the texts of those."""
    return _INCLUDE.sub(lambda line: _shifted(load(line[1], package=package), int(line[2] or 0)), text)


def _shifted(text: str, by: int) -> str:
    return _PARAMETER.sub(lambda parameter: f"${int(parameter[1]) + by}", text) if by else text
