"""One suspect at a time in a process."""

import anyio
import pytest
from trio.testing import MockClock

from tds_runtime.trial import Trial


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.mark.anyio
async def test_there_is_one_trial_at_a_time() -> None:
    """A second one cannot begin before the first has ended, and whoever waits for that goes on then."""
    trial, seen = Trial(), []

    async def waiting() -> None:
        await trial.wait()
        seen.append(anyio.current_time() - began)

    assert trial.begin()
    assert not trial.begin()
    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        group.start_soon(waiting)
        await anyio.sleep(5)
        trial.end()
    assert seen == [5]
    assert trial.begin()


@pytest.mark.anyio
async def test_only_the_first_trial_of_a_process_is_put_off() -> None:
    """Those who claim at its start get a moment to see it; later ones cost nothing, nor does waiting for none."""
    trial = Trial(pause=1.0)
    began = anyio.current_time()
    await trial.settle_down()
    await trial.settle_down()
    await trial.wait()
    assert anyio.current_time() - began == 1
