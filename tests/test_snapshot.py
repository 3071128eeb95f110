"""What a tree tells of itself: figures of supervisors, and what is spent of their budgets."""

from __future__ import annotations

import anyio
import pytest
from msgspec import Struct

from tds_runtime import Backoff, Budget, Context, Inbox, Supervisor, actor, run
from tds_runtime.budget import Spending
from tds_runtime.errors import SpecError
from tds_runtime.snapshot import Count


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


class Crash(Struct, frozen=True):
    pass


@actor(backoff=Backoff(0), redeliver=0)
async def fragile(ctx: Context, inbox: Inbox[Crash]) -> None:
    async for _ in inbox:
        raise ValueError("crash")


@pytest.mark.anyio
async def test_a_shared_budget_shows_what_is_spent_until_it_has_aged():
    """Crashes of children without a budget of their own count at their supervisor, for as long as they count at all."""
    first, second = fragile().named("first"), fragile().named("second")
    async with run(Supervisor("tree", children=[first, second], budget=Budget(3, per=60))) as runtime:
        for spec in (first, second):
            await spec.ref.tell(Crash())
            await anyio.sleep(10)
        assert runtime.snapshot().budget == Spending(spent=2, restarts=3, per=60)
        assert runtime.snapshot("tree/first").budget is None
        await anyio.sleep(45)
        assert runtime.statistics().budget == Spending(spent=1, restarts=3, per=60)


@pytest.mark.anyio
async def test_a_budget_of_ones_own_shows_at_the_child():
    """It pays for its crashes itself; its supervisor's budget stays whole."""
    alone = fragile().named("alone").options(budget=Budget(2, per=60))
    async with run(Supervisor("tree", children=[alone])) as runtime:
        await alone.ref.tell(Crash())
        await anyio.sleep(1)
        assert runtime.snapshot("tree/alone").budget == Spending(spent=1, restarts=2, per=60)
        assert runtime.snapshot().budget == Spending(spent=0, restarts=3, per=60)


@pytest.mark.anyio
async def test_a_supervisor_has_statistics_over_all_depths():
    """Children by state, restarts and unread mail are summed up through nested supervisors."""
    broken = fragile().named("broken").options(budget=Budget(0))
    well = fragile().named("well")
    nested = Supervisor("nested", children=[broken, well])
    async with run(Supervisor("tree", children=[nested])) as runtime:
        for _ in range(3):
            await broken.ref.tell(Crash())
        await well.ref.tell(Crash())
        await anyio.wait_all_tasks_blocked()
        found = runtime.statistics()
        assert found.count == Count(specs=3, active=2, supervisors=1, workers=2)
        assert found.states == {"ready": 2, "quarantined": 1}
        assert (found.restarts, found.waiting) == (1, 2)
        assert found == runtime.statistics("tree")
        assert runtime.statistics("tree/nested").budget == Spending(spent=1, restarts=3, per=60)


@pytest.mark.anyio
async def test_an_actor_is_no_supervisor():
    """Statistics of an actor are its mailbox's; the error says where they are."""
    async with run(Supervisor("tree", children=[fragile()])) as runtime:
        with pytest.raises(SpecError, match=r"ref\.statistics\(\)"):
            runtime.statistics("tree/fragile")
