"""Repeatable choices: the same (seed, kind, index) always draws the same numbers, in any order of asking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

WORD = (1 << 64) - 1
STEP = 6364136223846793005


def mixed(seed: int, kind: int, index: int) -> int:
    """One well-stirred 64-bit number (the finaliser of splitmix64)."""
    value = (seed * 0x9E3779B97F4A7C15 + kind * 0xD1B54A32D192ED03 + index * 0x8CB92BA72F3D8DD7) & WORD
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & WORD
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & WORD
    return value ^ (value >> 31)


class Draws:
    """A short stream of draws, each about 0.2 us, because lists are generated rather than stored.

    The step is written out in every method: a call more would cost as much as the draw.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int, kind: int, index: int) -> None:
        self._state = mixed(seed, kind, index)

    def below(self, limit: int) -> int:
        """A whole number in [0, limit)."""
        self._state = state = (self._state * STEP + 1442695040888963407) & WORD
        return (state >> 33) % limit

    def between(self, low: int, high: int) -> int:
        """A whole number in [low, high]."""
        self._state = state = (self._state * STEP + 1442695040888963407) & WORD
        return low + (state >> 33) % (high - low + 1)

    def pick(self, choices: Sequence[T]) -> T:
        """One of the choices."""
        self._state = state = (self._state * STEP + 1442695040888963407) & WORD
        return choices[(state >> 33) % len(choices)]

    def hit(self, percent: int) -> bool:
        """True in that many of a hundred cases."""
        self._state = state = (self._state * STEP + 1442695040888963407) & WORD
        return (state >> 33) % 100 < percent
