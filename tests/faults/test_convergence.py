"""What both sides come to when webhooks cannot be relied on."""

import pytest
from faults.convergence import convergence
from faults.place import Place

pytestmark = pytest.mark.anyio


@pytest.mark.timeout(600)  # two processes, under coverage, on a slow and busy machine
async def test_both_sides_agree_after_one_pull_and_one_repair(ground: Place) -> None:
    """Webhooks lost, doubled, swapped and late, stock and balances moved silently: 100 % match, nothing backwards."""
    fact = await convergence(ground, scale=0.03, rounds=4, records=4)
    assert fact.passed, fact.figures
    assert fact.figures["entities"] == 13
