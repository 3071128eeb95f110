"""What the default schedules ask of a source that counts its calls."""

from datetime import timedelta

import pytest
from faults.calls import calls_of_a_day, midnight, slots
from faults.place import Place

pytestmark = pytest.mark.anyio


def test_a_day_has_all_slots_of_the_defaults() -> None:
    """One full run, 24 incremental ones, 96 sweeps of stock and 3 of balances, 96 heals and a comparison, in a day."""
    begin = midnight()
    found = slots(begin, 24)
    counted = {run: sum(slot.run == run for slot in found) for run in {slot.run for slot in found}}
    pulls = {"pull.full": 1, "pull.incremental": 24, "pull.stock": 96, "pull.balance": 3}
    assert counted == pulls | {"heal": 96, "compare": 1}
    assert found[0].at == begin
    assert found[-1].at < begin + timedelta(days=1)


@pytest.mark.campaign
async def test_an_hour_of_the_free_plan(ground: Place) -> None:
    """A first hour with a thousand calls a day: history is refused where it does not fit, and nothing is refused us."""
    fact = await calls_of_a_day(ground, plans=("free",), days=1, hours=1.1)
    assert fact.passed, fact.figures
    assert fact.figures["free_day1_refused_by_source"] == 0
