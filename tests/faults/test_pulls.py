"""The crash sweep of a pull, in a shorter form than the campaign's."""

import pytest
from faults.place import Place
from faults.pulls import pull_sweep

pytestmark = pytest.mark.anyio


@pytest.mark.timeout(600)  # under coverage, on a slow and busy machine
@pytest.mark.campaign
async def test_a_pull_survives_at_every_round_trip(ground: Place) -> None:
    """Its connection reset within each round trip, a full run ends by itself: every row right, one effect an edit."""
    fact = await pull_sweep(ground, actions=("reset",), points=("sent",))
    print(fact.figures)  # noqa: T201 - the figures are what the campaign is read for
    assert fact.passed, fact.figures
    assert fact.figures["points"] >= 15


@pytest.mark.timeout(600)  # the same
async def test_a_pull_survives_the_end_of_its_daemon(ground: Place) -> None:
    """Killed when a commit is done and before that is known, a run goes on in the next daemon."""
    fact = await pull_sweep(ground, actions=("call",), points=("replied",), among=("COMMIT",))
    print(fact.figures)  # noqa: T201 - the same
    assert fact.passed, fact.figures


@pytest.mark.timeout(600)  # the same
@pytest.mark.campaign
async def test_the_sweep_notices_a_place_that_is_kept_apart(ground: Place) -> None:
    """A daemon that commits where it goes on before what it found there loses a page, and that is seen."""
    fact = await pull_sweep(
        ground, actions=("call",), points=("replied",), among=("COMMIT",), mutant="faults.pulls:keep_the_place_apart"
    )
    assert not fact.passed
    assert fact.figures["wrong"]
    assert not fact.figures["points_never_struck"]
