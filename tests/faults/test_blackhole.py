"""A daemon whose link to Postgres is bad."""

import pytest
from faults.blackhole import blackholed, reset_often, trickled
from faults.place import Place

pytestmark = pytest.mark.anyio


async def test_a_black_hole_is_waited_out(ground: Place) -> None:
    """503 in time while nothing comes through, no growth, no restart, nothing leaked, and back within 5 s."""
    fact = await blackholed(ground, seconds=5)
    assert fact.passed, fact.figures


@pytest.mark.campaign
async def test_bytes_one_by_one_are_slow_and_nothing_else(ground: Place) -> None:
    """Everything is acknowledged and applied over a link that passes one byte at a time."""
    fact = await trickled(ground, deliveries=200)
    assert fact.passed, fact.figures


@pytest.mark.campaign
async def test_resets_of_every_connection_are_survived(ground: Place) -> None:
    """A reset at every 15th round trip: nothing lost, one effect each, nobody restarts, nothing leaks."""
    fact = await reset_often(ground, every=15, resets=60)
    assert fact.passed, fact.figures
