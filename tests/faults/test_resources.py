"""A process that may open no more files."""

import pytest
from faults.place import Place
from faults.resources import descriptors_exhausted

pytestmark = pytest.mark.anyio


async def test_without_descriptors_who_is_connected_is_served(ground: Place) -> None:
    """Accepting pauses without a flood of lines, nobody restarts, the lease is kept, and strangers are let in later."""
    fact = await descriptors_exhausted(ground, seconds=2, lease=3, before=0)
    assert fact.figures["descriptors"] >= fact.figures["limit"] - 1
    assert fact.passed, fact
