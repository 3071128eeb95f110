from __future__ import annotations

from itertools import pairwise
from random import Random

import anyio
import pytest
from fixtures.trees import seen
from msgspec import Struct

from tds_runtime import Context, Inbox, Supervisor, actor, ride_out, run
from tds_runtime.errors import DatabaseGone, Outage
from tds_runtime.events import ChildEnded, ChildHung


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


class Write(Struct, frozen=True):
    pass


def failing(until: float, error: type[Exception] = DatabaseGone):
    """An operation that fails before a moment of the clock, and the moments at which it was tried."""
    tries: list[float] = []

    async def operation() -> str:
        tries.append(anyio.current_time())
        if anyio.current_time() < until:
            raise error
        return "through"

    return operation, tries


@pytest.mark.anyio
async def test_an_outage_is_waited_out():
    """The operation is tried again until it is through, with growing, jittered waits that never exceed the cap."""
    began = anyio.current_time()
    operation, tries = failing(until=began + 60)
    assert await ride_out(Context(), "database", operation, random=Random(1)) == "through"
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert max(waits) <= 2.0
    assert all(wait >= 1.0 for wait in waits[10:])
    assert anyio.current_time() - began <= 62


@pytest.mark.anyio
async def test_other_errors_pass():
    """What is not a named outage is raised at once."""
    operation, tries = failing(until=anyio.current_time() + 60, error=ValueError)
    with pytest.raises(ValueError):  # noqa: PT011 # it has no message
        await ride_out(Context(), "database", operation)
    assert len(tries) == 1


@pytest.mark.anyio
async def test_stopping_ends_the_wait():
    """When the actor is to stop, the outage at hand is raised instead of waited out."""
    ctx = Context()
    operation, _ = failing(until=anyio.current_time() + 1000)
    async with anyio.create_task_group() as group:

        async def stop() -> None:
            await anyio.sleep(5.01)
            ctx.stopping.set()

        group.start_soon(stop)
        began = anyio.current_time()
        with pytest.raises(Outage):
            await ride_out(ctx, "database", operation)
        assert anyio.current_time() - began == pytest.approx(5.01)


@pytest.mark.anyio
async def test_an_outage_is_neither_a_crash_nor_a_hang():
    """An hour without the database: no restart, no hang, and the snapshot says what is waited for."""

    @actor(watchdog=30)
    async def writer(ctx: Context, inbox: Inbox[Write]) -> None:
        async for _ in inbox:
            await ride_out(ctx, "database", operation)

    spec = writer()
    runtime = run(Supervisor("tree", children=[spec]))
    events = runtime.events()
    async with runtime:
        operation, _ = failing(until=anyio.current_time() + 3600)
        await spec.ref.tell(Write())
        await anyio.sleep(1800.5)
        assert runtime.snapshot("tree/writer").waiting == "database"
        await anyio.sleep(1810)
        assert spec.ref.statistics().handled == 1
        assert seen(events, ChildEnded) == seen(events, ChildHung) == []
