from __future__ import annotations

from typing import Any

import anyio
import pytest

from actors.pulling.backlog import STANDSTILL, Backlog, Backlogged
from tds_runtime import Context

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend(virtual_backend: Any) -> Any:
    return virtual_backend


class Line:
    """A queue of an entity that writes so many a second."""

    def __init__(self, waiting: int, rate: float) -> None:
        self.waiting, self.rate, self.looks = waiting, rate, 0

    async def count(self, _entity: str, most: int) -> int:
        self.looks += 1
        return min(most, max(0, round(self.waiting - self.rate * anyio.current_time())))


async def test_what_is_known_to_be_short_is_not_counted() -> None:
    """One look tells of room; the next comes only when so many were added that it may be gone."""
    line = Line(40, 0)
    backlog = Backlog("product", 100, line.count)
    for _ in range(10):
        backlog.add(10)
        assert not await backlog.is_long()
    assert line.looks == 2


async def test_who_adds_too_much_waits_for_room() -> None:
    """The wait ends when no more wait than may, and tells how long it was, piece by piece."""
    line, waited = Line(200, 50), list[float]()
    backlog = Backlog("product", 100, line.count)
    backlog.add(1)
    await backlog.wait(Context(), waited.append)
    assert anyio.current_time() == pytest.approx(2, abs=0.15)
    assert sum(waited) == pytest.approx(anyio.current_time())


async def test_an_entity_that_stands_still_is_left_alone() -> None:
    """After ten seconds nobody waits in place any more; the error says until when."""
    backlog = Backlog("product", 100, Line(200, 1).count)
    backlog.add(1)
    with pytest.raises(Backlogged, match="more than 100 changes wait for product") as raised:
        await backlog.wait(Context(), lambda _: None)
    assert anyio.current_time() == pytest.approx(STANDSTILL, abs=0.3)
    assert raised.value.until is not None


async def test_who_is_to_stop_does_not_wait() -> None:
    """A long backlog keeps nobody from stopping."""
    backlog, ctx = Backlog("product", 100, Line(200, 0).count), Context()
    backlog.add(1)
    async with anyio.create_task_group() as group:
        group.start_soon(backlog.wait, ctx, lambda _: None)
        await anyio.sleep(1)
        ctx.stopping.set()
    assert anyio.current_time() < 2
