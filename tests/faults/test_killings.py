"""What the daemon promises while it is killed again and again."""

import pytest
from faults.killings import killings
from faults.place import Place

pytestmark = pytest.mark.anyio


@pytest.mark.timeout(600)  # under coverage, on a slow and busy machine
async def test_sigkills_at_random_moments_lose_and_repeat_nothing(ground: Place) -> None:
    """5,000 webhooks acknowledged under 20 kills: 0 lost, 0 duplicate effects, 0 reversals; only poison is buried."""
    fact = await killings(ground, webhooks=5_000, kills=20, seed=1, back_within=10.0)
    assert fact.passed, fact.figures
    assert fact.figures["kills"] == 20
    assert fact.figures["dead_letters"] == 3
