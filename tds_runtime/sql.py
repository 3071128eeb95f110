"""SQL texts kept in files named by verb, read once and handed to whoever executes them."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def load(name: str, *, package: str = "tds_runtime") -> str:
    """Return the text of `<package>/sql/<name>.sql`, for example `load("queue/claim")`."""
    return resources.files(package).joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
