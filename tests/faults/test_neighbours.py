"""Two daemons on one database, one of which is struck in the middle of its work."""

import pytest
from faults.neighbours import neighbour_frozen, neighbour_killed
from faults.place import Place

pytestmark = pytest.mark.anyio


@pytest.mark.campaign
async def test_what_a_killed_neighbour_held_is_finished_within_two_leases(ground: Place) -> None:
    """SIGKILL with tasks in hand: the other finishes them, each slot has one outcome, no effect is doubled."""
    fact = await neighbour_killed(ground, seconds=6)
    assert fact.figures["held"]
    assert fact.passed, fact


async def test_a_frozen_neighbour_learns_that_it_was_replaced(ground: Place) -> None:
    """SIGSTOP for two leases and SIGCONT: fenced, and the same."""
    fact = await neighbour_frozen(ground, lease=5, seconds=11)  # the rest of two leases is for a slow machine
    assert fact.figures["lease_lost"]
    assert fact.passed, fact
