"""What a daemon asks when there is nothing to do."""

import pytest
from faults.idle import idle
from faults.place import Place

pytestmark = pytest.mark.anyio


@pytest.mark.campaign
async def test_an_idle_daemon_asks_once_a_second(ground: Place) -> None:
    """At most one poll a second, and beside it fewer statements than that."""
    fact = await idle(ground, seconds=8)
    assert fact.passed, fact.figures
