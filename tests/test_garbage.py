import gc

import anyio
import pytest

from tds_runtime import Context, Supervisor, actor, run
from tds_runtime.errors import StartFailed


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


@pytest.fixture(autouse=True)
def untouched():
    """Every test leaves the collector as it found it."""
    before = gc.get_threshold(), gc.get_freeze_count()
    yield
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


@actor(start_timeout=5)
async def witness(ctx: Context, *, seen: list[tuple[int, int, int]], comes_up: bool = True) -> None:
    seen.append(gc.get_threshold())
    if comes_up:
        ctx.ready()
    await ctx.stopping.wait()


def tree(*children):
    return Supervisor("tree", children=children)


def full_collections() -> int:
    return gc.get_stats()[2]["collections"]


@pytest.mark.anyio
async def test_the_whole_heap_is_searched_less_often_while_a_tree_starts():
    """Young garbage is collected as ever, the threshold of full searches is high until the tree is up."""
    before, seen = gc.get_threshold(), []
    async with run(tree(witness(seen=seen))):
        assert gc.get_threshold() == before
    assert seen[0][:2] == before[:2]
    assert seen[0][2] > 10 * before[2]


@pytest.mark.anyio
async def test_thousands_start_without_a_search_of_the_whole_heap():
    """What starts is not visited again and again by the collector."""
    searches: list[int] = []

    @actor()
    async def counter(ctx: Context) -> None:
        searches.append(full_collections())
        ctx.ready()
        await ctx.stopping.wait()

    async with run(tree(*(counter().named(str(number)) for number in range(3_000)))):
        assert searches[0] == searches[-1]


@pytest.mark.anyio
async def test_the_collector_is_left_alone_on_request():
    """A process that tunes its collector itself may keep it."""
    before, seen = gc.get_threshold(), []
    async with run(tree(witness(seen=seen)), garbage="leave"):
        assert gc.get_freeze_count() == 0
    assert seen == [before]


@pytest.mark.anyio
async def test_a_start_that_fails_gives_the_collector_back():
    """Whatever ends the start, the thresholds are those of before."""
    before = gc.get_threshold()
    with pytest.raises(StartFailed):
        async with run(tree(witness(seen=[], comes_up=False)), garbage="freeze"):
            pytest.fail("never entered")
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


@pytest.mark.anyio
async def test_thresholds_set_by_others_during_a_start_stay():
    """The engine takes back what it did, and nothing else."""
    before = gc.get_threshold()

    @actor()
    async def tuner(ctx: Context) -> None:
        gc.set_threshold(500, 5, 5)
        ctx.ready()
        await ctx.stopping.wait()

    try:
        async with run(tree(tuner())):
            assert gc.get_threshold() == (500, 5, 5)
    finally:
        gc.set_threshold(*before)


@pytest.mark.anyio
async def test_what_stands_is_frozen_until_the_tree_has_ended():
    """With `freeze` the collector searches only what came after the start."""
    async with run(tree(witness(seen=[])), garbage="freeze"):
        assert gc.get_freeze_count() > 1_000
    assert gc.get_freeze_count() == 0


@pytest.mark.anyio
async def test_garbage_of_the_start_is_not_frozen():
    """Cycles that are garbage already are collected before everything else is frozen."""

    class Cycle:
        def __init__(self) -> None:
            self.itself = self

    @actor()
    async def litters(ctx: Context) -> None:
        Cycle()
        ctx.ready()
        await ctx.stopping.wait()

    async with run(tree(litters()), garbage="freeze"):
        gc.unfreeze()
        assert not [thing for thing in gc.get_objects() if isinstance(thing, Cycle)]


@pytest.mark.anyio
async def test_two_trees_in_one_process_do_not_undo_each_other():
    """The first tree freezes, and only its end takes that back; a start in between ends as it began."""
    before, seen = gc.get_threshold(), []
    async with run(tree(witness(seen=seen)), garbage="freeze"):
        frozen = gc.get_freeze_count()
        async with run(tree(witness(seen=seen)), garbage="freeze"):
            assert gc.get_freeze_count() <= frozen
        assert gc.get_freeze_count() > 0
        assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


@pytest.mark.anyio
async def test_two_trees_that_start_together_restore_what_was_before_both():
    """The second to begin finds the collector held, and leaves it as it is."""
    before = gc.get_threshold()

    async def start() -> None:
        async with run(tree(witness(seen=[]), witness(seen=[]).named("second"))):
            await anyio.sleep(1)

    async with anyio.create_task_group() as group:
        group.start_soon(start)
        group.start_soon(start)
    assert gc.get_threshold() == before


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_whoever_owns_the_process_freezes_by_default(anyio_backend):
    """A tree that owns the signals is the process; any other leaves the heap to its host."""
    async with run(tree(witness(seen=[])), signals=True):
        assert gc.get_freeze_count() > 1_000
    async with run(tree(witness(seen=[]))):
        assert gc.get_freeze_count() == 0
