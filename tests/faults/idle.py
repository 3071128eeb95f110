"""A daemon at rest, and every statement that its server was given meanwhile."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from faults.fact import Fact
from faults.place import Place, execute

POLL = "WITH RECURSIVE due"
SETTLING = 3.0  # seconds in which what a start begins comes to an end
ENTRY = re.compile(r"\n(?=\d{4}-\d\d-\d\d \d\d:)")
STATEMENT = re.compile(r"LOG:  (?:execute [^:]*|statement): (.*)", re.DOTALL)
COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)


async def idle(place: Place, *, seconds: float) -> Fact:
    """One poll a second, and jobs of a quarter of a minute or more that together ask less than that."""
    began = time.monotonic()
    dsn = await place.database()
    await execute(place.dsn("postgres"), f"ALTER DATABASE {urlsplit(dsn).path.strip('/')} SET log_statement = 'all'")
    daemon = await place.nursery.start(place.configure(dsn))
    await anyio.sleep(SETTLING)
    log = place.server.data_directory / "data" / "server.log"
    before = log.stat().st_size
    await anyio.sleep(seconds)
    asked = Counter(statements(log, before))
    await daemon.stop()
    polls = sum(count for title, count in asked.items() if title.startswith(POLL))
    others = sum(asked.values()) - polls
    figures: dict[str, int | float | str] = {
        "seconds_at_rest": seconds,
        "polls": polls,
        "polls_per_s": round(polls / seconds, 2),
        "others": others,
        "others_per_s": round(others / seconds, 2),
        "most_of_the_others": "; ".join(f"{n} {t[:60]}" for t, n in asked.most_common(6) if not t.startswith(POLL)),
    }
    passed = 0 < polls <= seconds + 1 and others <= seconds + 1
    return Fact(fact="idle", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


def statements(log: Path, offset: int) -> list[str]:
    """The beginnings of the statements that a server's log holds behind an offset, without comments."""
    with log.open("rb") as file:
        file.seek(offset)
        entries = ENTRY.split(file.read().decode(errors="replace"))
    found = [match[1] for entry in entries if (match := STATEMENT.search(entry))]
    return [" ".join(COMMENT.sub("", text).split())[:100] for text in found]
