"""The checker is code: it names what each mutant does wrong, and nothing about the daemon as it is."""

from collections.abc import AsyncIterator

import pytest
from faults import mutants
from faults.mutants import MUTANTS, Mutant
from faults.place import Place, ground, place
from faults.scenarios import SCENARIOS, Scenario, play

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def shared(anyio_backend: str) -> AsyncIterator[Place]:
    """One place for all: each scenario has a database and daemons of its own."""
    with ground() as directory:
        async with place(directory) as opened:
            yield opened


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_daemon_as_it_is_keeps_its_promises(shared: Place, scenario: Scenario) -> None:
    """No violation in any scenario."""
    assert [str(violation) for violation in await play(shared, scenario)] == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.replace(" ", "-"))
async def test_each_mutant_is_caught(shared: Place, mutant: Mutant) -> None:
    """The checker names a violation of the invariant that this mutant breaks."""
    found = await play(shared, mutant.scenario, mutant.name)
    assert mutant.shows & {violation.invariant for violation in found}, [str(violation) for violation in found]


def test_there_are_enough_of_them() -> None:
    """At least twelve, each with a name of its own, and every scenario has one."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 12
    assert {mutant.scenario for mutant in MUTANTS} == set(SCENARIOS)


def test_a_mutant_of_a_statement_that_has_changed_is_refused() -> None:
    """A patch that would change nothing fails instead of playing the original."""
    with pytest.raises(AssertionError, match="queue/claim is not what"):
        mutants.replaced("queue/claim", "no such text", "")()
