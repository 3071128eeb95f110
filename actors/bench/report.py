"""What every bench prints: its name, its figures, and the machine they were seen on."""

from __future__ import annotations

import os
import platform
from statistics import median

from msgspec import Struct


class Machine(Struct, frozen=True):
    """Where the figures were measured."""

    cores: int
    python: str
    system: str
    postgres: str = ""


class Report(Struct, frozen=True):
    """One bench's result; a figure is a ratio unless its name says a unit, or what was counted."""

    bench: str
    figures: dict[str, float]
    machine: Machine


def report(bench: str, figures: dict[str, float], *, postgres: str = "") -> Report:
    """Round the figures to what the measurement can carry, and name the machine."""
    machine = Machine(os.cpu_count() or 1, platform.python_version(), platform.platform(terse=True), postgres)
    return Report(bench, {name: _rounded(value) for name, value in figures.items()}, machine)


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.4g}")


def middle(rounds: list[float]) -> float:
    """The median of several rounds: one slow round on a shared machine must not decide."""
    return median(rounds)
