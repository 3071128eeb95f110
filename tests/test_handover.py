"""What lies between those who store changes and the actor that writes them: room, waiting, order."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from tds_runtime.handover import Handover
from tds_runtime.task import Task

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def anyio_backend(virtual_backend: Any) -> Any:
    return virtual_backend


def tasks(count: int) -> list[Task]:
    plain = (None, "list", "", "", None, None, NOW, None, None, "", "", 0, None, None)
    return [Task(number, 1, "product", str(number), "upsert", 30, 1, *plain) for number in range(count)]


def held() -> bool:
    return True


async def test_there_is_room_only_where_somebody_takes() -> None:
    """Nothing may be laid down before the actor is there, after it has gone, or while it may not work."""
    handover = Handover(10)
    assert not handover.has_room(1)
    with handover.attended(held):
        assert handover.has_room(10)
    assert not handover.has_room(1)
    with handover.attended(lambda: False):
        assert not handover.has_room(1)


async def test_a_batch_that_is_greater_than_all_of_it_fits_when_nothing_lies_there() -> None:
    """A step cannot be split, so one too great for the measure is taken alone instead of never."""
    handover = Handover(10)
    with handover.attended(held):
        assert handover.has_room(11)
        handover.put(tasks(1))
        assert not handover.has_room(10)
        assert handover.has_room(9)


async def test_what_lies_longest_is_taken_first() -> None:
    """Tasks leave in the order in which they came, as many as are wanted."""
    handover = Handover(10)
    handover.put(tasks(5))
    assert [task.id for task in handover.take(3)] == [0, 1, 2]
    assert [task.id for task in handover.take()] == [3, 4]
    assert len(handover) == 0


async def test_who_waits_for_room_gets_it_with_the_next_taking() -> None:
    """Two that wait for room both go on when the actor takes what lies there."""
    handover, went_on = Handover(10), list[float]()

    async def wait() -> None:
        assert await handover.wait(10, within=60)
        went_on.append(anyio.current_time())

    with handover.attended(held):
        handover.put(tasks(10))
        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            group.start_soon(wait)
            await anyio.sleep(3)
            handover.take()
    assert went_on == [pytest.approx(3), pytest.approx(3)]


async def test_nobody_waits_longer_than_he_says() -> None:
    """An actor that does not get on costs a step its patience, and one that leaves costs it nothing more."""
    handover = Handover(10)
    with handover.attended(held):
        handover.put(tasks(10))
        assert not await handover.wait(1, within=2)
        assert anyio.current_time() == pytest.approx(2)
    assert not await handover.wait(1, within=60)
    assert anyio.current_time() == pytest.approx(2)


async def test_what_comes_is_told() -> None:
    """Who waits for more hears of what is laid down from then on."""
    handover = Handover(10)
    async with anyio.create_task_group() as group:
        group.start_soon(handover.next)
        await anyio.sleep(1)
        handover.put(tasks(1))
    assert anyio.current_time() == pytest.approx(1)
