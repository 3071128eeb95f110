"""A Postgres that is stopped, killed, frozen, read only, full: one daemon lives through all of it."""

import pytest
from faults.place import Place
from faults.servers import every_outage

pytestmark = pytest.mark.anyio


async def test_a_daemon_outlives_every_outage_of_its_server(ground: Place) -> None:
    """503 with Retry-After in time, alive throughout, acks within 5 s after each, nobody restarts, no leak, no loss."""
    fact = await every_outage(ground)
    print(fact)  # noqa: T201 - the figures are what the campaign is read for
    assert fact.figures["strikes"] == 7
    assert fact.passed
