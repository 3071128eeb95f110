"""What every kind of record can do: be generated from its index, be patched, and be written as the API writes it."""

from __future__ import annotations

from typing import Any, Protocol

from actors.sandbox.clock import Clock
from actors.sandbox.kinds import Kind
from actors.sandbox.options import Switches
from actors.sandbox.shapes import Document

# The varying part of a record: document keys, plus `index`, `created` and `modified` (seconds), and `lines`.
Facts = dict[str, Any]

BEGIN = 1_709_251_200  # 2024-03-01: the organisation's first day
END = 1_768_899_600  # 2026-01-20 12:00 +0300: nothing in the seeded data is newer
LAST_DAY = "2026-01-20"
DAY = 86_400


class Ground(Protocol):
    """What entities need of the world around them."""

    seed: int
    clock: Clock
    customers: int
    vendors: int
    counts: dict[str, int]

    @property
    def switches(self) -> Switches: ...

    def kind(self, module: str) -> Kind: ...

    def facts(self, module: str, index: int) -> Facts:
        """A record's facts with its edits."""

    def seeded(self, module: str, index: int) -> Facts:
        """A record's facts as generated, whatever happened to it since."""

    def moved(self, item: int, location: int) -> float:
        """What stock moves have added to an item at a location."""

    def balances(self, contact: int) -> tuple[float, float, float]:
        """A contact's receivable, payable and unused credits, in the base currency."""


class Entity(Protocol):
    """One kind of record."""

    kind: Kind

    def generate(self, index: int) -> Facts: ...

    def blank(self, index: int) -> Facts:
        """The facts of a record made through the API, before its body is laid over."""

    def complete(self, facts: Facts, /) -> None:
        """Work out what follows from the other facts: totals, balances, statuses."""

    def adopt(self, body: Document) -> Facts:
        """The facts that a written document body states."""

    def touched(self, facts: Facts) -> Facts:
        """A small change that shows both in the list row and in the detail."""

    def row(self, facts: Facts, api: str, /) -> Document: ...

    def detail(self, facts: Facts, api: str, /) -> Document: ...


def created_at(ground: Ground, kind: Kind, index: int, jitter: int) -> int:
    """Records are created in index order, spread over the organisation's life."""
    count = max(1, ground.counts[kind.module])
    slot = (END - BEGIN - 30 * DAY) / count
    return int(BEGIN + slot * min(index, count - 1) + slot * (jitter % 1000) / 1000)
