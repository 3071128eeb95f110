"""The crash sweep of one webhook's trip, whole."""

import pytest
from faults.place import Place
from faults.sweep import sweep

pytestmark = pytest.mark.anyio


async def test_one_webhook_survives_at_every_round_trip(ground: Place) -> None:
    """Killed and reset before, within and after each round trip from POST to row: nothing lost, one effect each."""
    fact = await sweep(ground)
    print(fact.figures)  # noqa: T201 - the figures are what the campaign is read for
    assert fact.passed, fact.figures
    assert fact.figures["points"] >= 50
    assert fact.figures["points_call"] == fact.figures["points_reset"]


async def test_the_sweep_notices_what_is_not_one_transaction(ground: Place) -> None:
    """A daemon that completes its task apart from the effect is found out by the resets alone."""
    fact = await sweep(ground, actions=("reset",), mutant="completes in another transaction")
    assert not fact.passed
    assert fact.figures["violations"]
    assert not fact.figures["points_never_struck"]
