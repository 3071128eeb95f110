"""A Postgres that is stopped, killed, frozen, read only, full: one daemon lives through all of it."""

import pytest
from faults.contention import deadlocked
from faults.place import Place
from faults.servers import every_outage

pytestmark = pytest.mark.anyio


async def test_a_daemon_outlives_every_outage_of_its_server(ground: Place) -> None:
    """503 with Retry-After in time, alive throughout, acks within 5 s after each, nobody restarts, no leak, no loss."""
    fact = await every_outage(ground)
    print(fact)  # noqa: T201 - the figures are what the campaign is read for
    assert fact.figures["strikes"] == 7
    assert fact.passed


async def test_deadlocks_are_taken_again(ground: Place) -> None:
    """The writer's and the sync's deadlocks with another application: acknowledged, applied once, nobody restarts."""
    fact = await deadlocked(ground)
    assert fact.figures["deadlocks"] >= 2
    assert fact.passed, fact
