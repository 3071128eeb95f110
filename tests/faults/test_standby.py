"""A synchronous standby that goes away, and one that takes over."""

import pytest
from faults.place import Place
from faults.standby import obstacle, standby_gone, standby_takes_over

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(bool(obstacle()), reason=obstacle() or "a standby can be made")]


@pytest.mark.campaign
async def test_nothing_is_acknowledged_that_is_on_no_standby(ground: Place) -> None:
    """With the standby gone there is no 2xx, for repeats and for commits whose wait is cancelled neither."""
    fact = await standby_gone(ground, seconds=5)
    assert fact.figures["repeats_refused"]
    assert fact.figures["waits_cancelled"]
    assert fact.figures["false_acks"] == 0
    assert fact.passed, fact


async def test_a_promoted_standby_has_all_that_was_acknowledged(ground: Place) -> None:
    """The primary dies under traffic: the daemon finds the new one by its URL, and nothing acknowledged is missing."""
    fact = await standby_takes_over(ground)
    assert fact.passed, fact
