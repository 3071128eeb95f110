"""What came of the demo: the counts that were promised, the counts that were seen, and the table that shows both."""

from __future__ import annotations

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from actors.service_levels.levels import Level
from actors.service_levels.showing import COLUMNS, row

PROMISED = {
    "sent": 500,
    "acknowledged": 490,
    "refused": 10,
    "applied": 385,
    "duplicate": 50,
    "superseded": 50,
    "dead_lettered": 5,
}
WHOLE = 100.0


class Match(Struct, frozen=True):
    """One entity: records in the source, living rows here, and the percentage equal in every mapped column."""

    source: int
    local: int
    match: float

    @property
    def whole(self) -> bool:
        """Both sides hold the same records with the same contents."""
        return self.source == self.local and self.match == WHOLE


class Verdict(Struct, frozen=True):
    """The demo's one document.

    `ok` when every entity matches, every count is exactly what was sent, and every service level has a figure.
    """

    ok: bool
    entities: dict[str, Match]
    webhooks: dict[str, int]
    levels: tuple[Level, ...]
    restarts: int
    seconds: float


def judge(
    entities: dict[str, Match], webhooks: dict[str, int], levels: tuple[Level, ...], restarts: int, seconds: float
) -> Verdict:
    """Hold what was seen against what was promised."""
    ok = all(match.whole for match in entities.values()) and webhooks == PROMISED and restarts == 1
    told = bool(levels) and all(level.value is not None for level in levels)
    return Verdict(ok and told, entities, webhooks, levels, restarts, round(seconds, 1))


def table(verdict: Verdict) -> RenderableType:
    """The verdict for people."""
    entities = Table("entity", *_numbers("source", "local", "match %"), title="Source against Postgres")
    for name, match in verdict.entities.items():
        entities.add_row(name, str(match.source), str(match.local), _share(match))
    webhooks = Table("webhooks", *_numbers("promised", "seen"), title="What was told by webhook")
    for name, promised in PROMISED.items():
        webhooks.add_row(name.replace("_", "-"), str(promised), _count(promised, verdict.webhooks[name]))
    levels = Table(*COLUMNS[:4], *_numbers(COLUMNS[5]), title="Service levels (tds-runtime status --slo)")
    for level in verdict.levels:
        cells = row(level)
        levels.add_row(*cells[:4], cells[5])
    end = f"{verdict.restarts} restart (one actor was killed on the way), {verdict.seconds} s: "
    word = ("all as promised", "bold green") if verdict.ok else ("NOT as promised", "bold red")
    return Group(entities, webhooks, levels, Text.assemble(end, word))


def _numbers(*titles: str) -> list[Column]:
    return [Column(title, justify="right") for title in titles]


def _share(match: Match) -> Text:
    return Text(f"{match.match:.2f}", style="green" if match.whole else "red")


def _count(promised: int, seen: int) -> Text:
    return Text(str(seen), style="green" if promised == seen else "red")
