"""How well the daemon is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.condition import Thresholds, judge, success_rate

RANKS = ["healthy", "degraded", "warning", "critical"]
counts = st.integers(0, 20_000)


@given(counts, counts, st.floats(0, 100), st.integers(1, 5000))
def test_more_trouble_is_never_better(pending: int, dead: int, rate: float, more: int) -> None:
    """Adding tasks or dead letters, or losing success, never improves the verdict."""

    def rank(pending: int, dead: int, rate: float) -> int:
        verdict = judge(pending=pending, dead_letters=dead, success_rate=rate, thresholds=Thresholds())
        return RANKS.index(verdict)

    present = rank(pending, dead, rate)
    assert rank(pending + more, dead, rate) >= present
    assert rank(pending, dead + more, rate) >= present
    assert rank(pending, dead, rate / 2) >= present


@pytest.mark.parametrize(
    ("pending", "dead", "rate", "expected"),
    [
        (1000, 50, 95.0, "healthy"),
        (1000, 50, 94.99, "degraded"),
        (1001, 0, 100.0, "warning"),
        (0, 51, 100.0, "warning"),
        (5001, 0, 100.0, "critical"),
        (0, 101, 0.0, "critical"),
    ],
)
def test_the_thresholds_are_those_of_the_predecessor(pending: int, dead: int, rate: float, expected: str) -> None:
    """1,000 and 5,000 waiting, 50 and 100 dead, 95 percent; a threshold itself is still fine."""
    assert judge(pending=pending, dead_letters=dead, success_rate=rate, thresholds=Thresholds()) == expected


def test_success_is_of_what_ended() -> None:
    """Nothing ended is full success; else completed of all that ended, in percent."""
    assert success_rate(completed=0, dead_lettered=0) == 100.0
    assert success_rate(completed=3, dead_lettered=1) == 75.0


def test_warnings_come_before_what_is_critical() -> None:
    """Thresholds in the wrong order are refused."""
    with pytest.raises(ValueError, match="before"):
        Thresholds(queue_warning=10, queue_critical=5)
