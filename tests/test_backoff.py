from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tds_runtime import Backoff
from tds_runtime.errors import SpecError


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


def test_delays_grow_geometrically_up_to_the_cap():
    """Each delay is factor times the last, and none is longer than the cap."""
    backoff = Backoff(1, 60, factor=2, jitter=0)
    assert [backoff.delay(attempt, Random(0)) for attempt in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


backoffs = st.builds(Backoff, st.floats(0, 10), st.floats(10, 1000), st.floats(1, 10), st.floats(0, 1))


@given(backoffs, st.integers(1, 2000), st.integers(0, 2**32))
def test_every_delay_lies_in_its_band(backoff, attempt, seed):
    """With jitter a delay lies between its share and its whole, and the cap holds for any attempt, however late."""
    low, high = backoff.band(attempt)
    assert low <= backoff.delay(attempt, Random(seed)) <= high <= backoff.cap


def test_the_same_seed_gives_the_same_delays():
    """Chance is a parameter."""
    backoff = Backoff(1, 60, jitter=1)
    first, second = Random(7), Random(7)
    assert [backoff.delay(n, first) for n in range(20)] == [backoff.delay(n, second) for n in range(20)]


def test_the_row_starts_anew_after_a_good_life():
    """A life that was ready for reset_after seconds makes the next try the first; a shorter one does not."""
    backoff = Backoff(reset_after=60)
    assert backoff.next_attempt(5, 59.9) == 6
    assert backoff.next_attempt(5, 60) == 1


@pytest.mark.parametrize("options", [{"initial": -1}, {"initial": 2, "cap": 1}, {"factor": 0.5}, {"jitter": 1.1}])
def test_impossible_backoffs_are_refused(options):
    """A backoff that makes no sense is an error where it is written."""
    with pytest.raises(SpecError):
        Backoff(**options)
