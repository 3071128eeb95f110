"""Commits of which nobody knows whether they happened."""

import pytest
from faults.doubt import in_doubt
from faults.place import Place

pytestmark = pytest.mark.anyio


async def test_commits_in_doubt_have_one_effect(ground: Place) -> None:
    """Replies to COMMIT are lost, COMMITs are never sent, on both paths: no loss, and one effect of each version."""
    fact = await in_doubt(ground, commits=20)
    assert fact.passed, fact.figures
    assert fact.figures["answers_503"]
