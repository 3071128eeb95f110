"""The sandbox's own time: real by default, settable through the control API, written as the organisation sees it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[+-]\d{4}")


class Clock:
    """Seconds since the epoch, plus an offset that a test may move; may also stand still."""

    def __init__(self, time_zone: str = "Asia/Baghdad", *, source: Callable[[], float] = time.time) -> None:
        self.zone = ZoneInfo(time_zone)
        self._source = source
        self._offset = 0.0
        self._stopped: float | None = None

    @property
    def frozen(self) -> bool:
        return self._stopped is not None

    def now(self) -> float:
        """Seconds since the epoch as the sandbox sees them."""
        return self._stopped if self._stopped is not None else self._source() + self._offset

    def set(self, seconds: float) -> None:
        """Make it that time now."""
        if self._stopped is not None:
            self._stopped = seconds
        self._offset = seconds - self._source()

    def advance(self, seconds: float) -> None:
        """Jump forward, or back when negative."""
        self.set(self.now() + seconds)

    def freeze(self, stopped: bool) -> None:
        """Stop or restart the passing of time."""
        at = self.now()
        self._stopped = at if stopped else None
        self._offset = at - self._source()

    def reset(self) -> None:
        """Follow the real time again."""
        self._offset, self._stopped = 0.0, None

    def local(self, seconds: float) -> datetime:
        """The organisation's wall clock."""
        return datetime.fromtimestamp(seconds, self.zone)

    def today(self) -> str:
        """The organisation's date."""
        return self.local(self.now()).strftime("%Y-%m-%d")

    def until_midnight(self) -> int:
        """Seconds to the organisation's next midnight, at least 1."""
        here = self.local(self.now())
        tomorrow = (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return max(1, int(tomorrow.timestamp() - here.timestamp()))

    def stamp(self, seconds: float) -> str:
        """`2026-01-02T10:00:00+0300`; "" for 0."""
        if not seconds:
            return ""
        text = datetime.fromtimestamp(int(seconds), self.zone).isoformat()
        return text[:22] + text[23:]

    def pretty(self, seconds: float) -> str:
        """`02 Jan 2026 10:00 AM`, as the `*_formatted` twins have it."""
        return self.local(seconds).strftime("%d %b %Y %I:%M %p") if seconds else ""

    def pretty_date(self, seconds: float) -> str:
        """`02 Jan 2026`."""
        return self.local(seconds).strftime("%d %b %Y") if seconds else ""


def parse_stamp(text: str) -> int | None:
    """Seconds since the epoch of a strict Zoho time; None for a fraction, a Z or a missing offset."""
    if not STAMP.fullmatch(text):
        return None
    try:
        return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        return None
