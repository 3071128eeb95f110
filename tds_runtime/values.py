"""What a configuration says and TOML has no type for: lengths of time and secrets."""

from __future__ import annotations

import math
import re
from typing import Self

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class Duration(float):
    """A length of time in seconds, written `"250ms"`, `"1s"`, `"15m"`, `"1h30m"`, `"7d"` or as a number of seconds."""

    __slots__ = ()

    def __new__(cls, value: float | str = 0.0) -> Self:
        seconds = _seconds(value) if isinstance(value, str) else value
        if not 0 <= seconds < math.inf:
            raise ValueError(f"expected a length of time, got {value}")
        return super().__new__(cls, seconds)

    def __str__(self) -> str:
        left, parts = float(self), ""
        for unit in ("d", "h", "m"):
            whole, left = divmod(left, _UNITS[unit])
            parts += f"{whole:.0f}{unit}" if whole else ""
        return parts + (f"{left:g}s" if left or not parts else "")

    def __repr__(self) -> str:
        return f"Duration({str(self)!r})"


def _seconds(text: str) -> float:
    if not _DURATION.fullmatch(text):
        raise ValueError(f'expected a duration such as "250ms", "15m" or "1h30m", got "{text}"')
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))


class Secret(str):
    """Text that must not be shown: its repr is a mask, and logs redact its value wherever it appears."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'********'"
