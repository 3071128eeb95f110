"""Facts 5 and 7 of the durable spine, on whole daemons: fifty at once, and poison among good deliveries."""

import pytest
from faults.place import Place
from faults.poison import fifty_at_once, poison

pytestmark = pytest.mark.anyio


async def test_fifty_repeats_at_once_are_one(ground: Place) -> None:
    """The same webhook fifty times at once: one inbox row, one effect, fifty 2xx."""
    fact = await fifty_at_once(ground, rounds=2)
    assert fact.passed, fact.figures
    assert fact.figures["acknowledged"] == 100


async def test_poison_is_parked_and_its_neighbours_are_applied(ground: Place) -> None:
    """Always refused, malformed in seven ways, 10 MB when pulled, deadly to its process: exactly these are buried."""
    fact = await poison(ground, endless=False)
    assert fact.passed, fact.figures
    assert fact.figures["planted"] == fact.figures["buried"] == 10
    assert fact.figures["neighbours_applied"] == fact.figures["neighbours"]
