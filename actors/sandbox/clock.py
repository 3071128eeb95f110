"""The sandbox's own time: real by default, settable through the control API, written as the organisation sees it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

DAY = 86_400
EPOCH = date(1970, 1, 1)
STAMP = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}[+-]\d{4}")


class Clock:
    """Seconds since the epoch, plus an offset that a test may move; may also stand still."""

    def __init__(self, time_zone: str = "Asia/Baghdad", *, source: Callable[[], float] = time.time) -> None:
        self.zone = ZoneInfo(time_zone)
        self._source = source
        self._offset = 0.0
        self._stopped: float | None = None
        self._steady = steady_offset(self.zone)
        self._days: dict[int, str] = {}

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

    def date(self, seconds: float) -> str:
        """`2026-01-02`: the organisation's date at that time."""
        if self._steady is None:
            return self.local(seconds).strftime("%Y-%m-%d")
        return self._date(int(seconds + self._steady[0]) // DAY)

    def _date(self, day: int) -> str:
        """The date so many days after the epoch; lists ask for the same few hundred again and again."""
        known = self._days.get(day)
        if known is None:
            known = self._days[day] = (EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")
        return known

    def today(self) -> str:
        """The organisation's date."""
        return self.date(self.now())

    def until_midnight(self) -> int:
        """Seconds to the organisation's next midnight, at least 1."""
        here = self.local(self.now())
        tomorrow = (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return max(1, int(tomorrow.timestamp() - here.timestamp()))

    def stamp(self, seconds: float) -> str:
        """`2026-01-02T10:00:00+0300`; "" for 0."""
        if not seconds:
            return ""
        if self._steady is None:
            text = datetime.fromtimestamp(int(seconds), self.zone).isoformat()
            return text[:22] + text[23:]
        day, rest = divmod(int(seconds) + self._steady[0], DAY)
        return f"{self._date(day)}T{rest // 3600:02d}:{rest // 60 % 60:02d}:{rest % 60:02d}{self._steady[1]}"

    def pretty(self, seconds: float) -> str:
        """`02 Jan 2026 10:00 AM`, as the `*_formatted` twins have it."""
        return self.local(seconds).strftime("%d %b %Y %I:%M %p") if seconds else ""

    def pretty_date(self, seconds: float) -> str:
        """`02 Jan 2026`."""
        return self.local(seconds).strftime("%d %b %Y") if seconds else ""


def steady_offset(zone: ZoneInfo) -> tuple[int, str] | None:
    """Offset in seconds and as `+0300`, of a zone that keeps one through all the data's years; else None."""
    offsets = {
        datetime(year, month, 1, tzinfo=zone).strftime("%z") for year in range(2010, 2040) for month in range(1, 13)
    }
    if len(offsets) > 1:
        return None
    text = offsets.pop()
    return int(f"{text[0]}1") * (int(text[1:3]) * 3600 + int(text[3:5]) * 60), text


def parse_stamp(text: str) -> int | None:
    """Seconds since the epoch of a strict Zoho time; None for a fraction, a Z or a missing offset."""
    if not STAMP.fullmatch(text):
        return None
    try:
        return int(datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z").astimezone(UTC).timestamp())
    except (ValueError, OverflowError):
        return None
