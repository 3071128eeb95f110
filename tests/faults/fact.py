"""What a run of the campaign has shown: one fact, whether it held, and the figures that somebody will quote."""

from __future__ import annotations

from msgspec import Struct


class Fact(Struct, frozen=True, kw_only=True):
    """One line of the campaign's output; `seconds` is how long it took to show."""

    fact: str
    passed: bool
    figures: dict[str, int | float | str]
    seconds: float
