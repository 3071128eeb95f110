from __future__ import annotations

import anyio
import pytest
from fixtures.trees import next_event, seen
from msgspec import Struct

from tds_runtime import Backoff, Budget, Call, Context, Inbox, Mailbox, Pool, Ref, Supervisor, actor, partitions, run
from tds_runtime.errors import (
    AlreadyRunning,
    ApplyFailed,
    NotRunning,
    PoolFull,
    SpecError,
    StartFailed,
    StillRunning,
    Stopped,
)
from tds_runtime.events import ChildEnded, ChildHung, ChildQuarantined, ChildStarting


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


class Work(Struct, frozen=True):
    seconds: float


class Crash(Struct, frozen=True):
    pass


class Setting(Call[str], frozen=True):
    pass


@actor(backoff=Backoff(0))
async def worker(
    ctx: Context, inbox: Inbox[Work | Crash | Setting], *, setting: str = "old", out: Ref[Work] | None = None
) -> None:
    async for message in inbox:
        match message:
            case Work(seconds):
                await anyio.sleep(seconds)
            case Crash():
                raise ValueError("crash")
            case Setting():
                inbox.reply(message, setting)


def tree(*children, **options):
    return Supervisor("tree", children=children, **options)


def lives(runtime) -> dict[str, int]:
    return {child.name: child.incarnation for child in runtime.snapshot().children}


@pytest.mark.anyio
async def test_a_changed_option_restarts_nobody():
    """Backoff, budget, watchdog, mailbox and stop times are followed in place; dependencies that are equal stay."""
    first, second = worker().named("first"), worker().named("second")
    async with run(tree(first, second)) as runtime:
        changed = first.options(backoff=Backoff(7, 7, jitter=0), mailbox=Mailbox(1, overflow="reject"), watchdog=5)
        applied = await runtime.apply(tree(changed, worker().named("second"), budget=Budget(50)))
        assert lives(runtime) == {"first": 1, "second": 1}
        assert (applied.updated, applied.restarted, applied.added, applied.removed) == (("tree/first",), (), (), ())
        assert first.ref.statistics().capacity == 1
        events = runtime.events()
        await changed.ref.tell(Work(100))
        assert (await next_event(events, ChildHung)).idle_seconds == 5
        began = anyio.current_time()
        assert (await next_event(events, ChildStarting)).at - began == 7


@pytest.mark.anyio
async def test_a_changed_dependency_restarts_that_child_gracefully():
    """The child finishes what it holds, keeps its mailbox and references, and comes back with the new dependency."""
    first, second = worker().named("first"), worker().named("second")
    async with run(tree(first, second)) as runtime:
        await first.ref.tell(Work(5))
        await first.ref.tell(Work(0))
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        applied = await runtime.apply(tree(worker(setting="new").named("first"), worker().named("second")))
        assert anyio.current_time() - began == 5
        assert applied.restarted == ("tree/first",)
        assert lives(runtime) == {"first": 2, "second": 1}
        assert await first.ref.ask(Setting()) == "new"
        assert first.ref.statistics().handled == 3


@pytest.mark.anyio
async def test_references_in_dependencies_are_equal_when_their_paths_are():
    """A child that is given a reference of the new tree does the same work as with the one of the old tree."""

    def described():
        target = worker().named("target")
        return tree(target, worker(out=target.ref).named("user"))

    async with run(described()) as runtime:
        await runtime.apply(described())
        assert lives(runtime) == {"target": 1, "user": 1}


@pytest.mark.anyio
async def test_children_come_and_go_in_order():
    """What is removed stops gracefully and takes no more mail; what is added starts in its place."""
    a, b, c = (worker().named(name) for name in "abc")
    d = worker().named("d")
    runtime = run(tree(a, b, c))
    async with runtime:
        await b.ref.tell(Work(3))
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        applied = await runtime.apply(tree(worker().named("c"), d, worker().named("a")))
        assert anyio.current_time() - began == 3
        assert list(lives(runtime)) == ["c", "d", "a"]
        assert (applied.added, applied.removed) == (("tree/d",), ("tree/b",))
        with pytest.raises(Stopped):
            await b.ref.tell(Work(0))
        assert await d.ref.ask(Setting()) == "old"
        events = runtime.events()
    assert [event.path for event in seen(events, ChildEnded)] == ["tree/a", "tree/d", "tree/c", "tree"]


@pytest.mark.anyio
async def test_nested_supervisors_see_to_their_own():
    """Changes below a supervisor restart only what changed below it."""

    def described(setting: str, names: str):
        return tree(
            worker().named("top"),
            Supervisor("nested", children=[worker(setting=setting).named(name) for name in names]),
        )

    async with run(described("old", "ab")) as runtime:
        applied = await runtime.apply(described("old", "abc"))
        assert applied.added == ("tree/nested/c",)
        applied = await runtime.apply(described("new", "ac"))
        assert applied.removed == ("tree/nested/b",)
        assert applied.restarted == ("tree/nested/a", "tree/nested/c")
        assert lives(runtime) == {"top": 1, "nested": 1}


@pytest.mark.anyio
async def test_a_linked_strategy_takes_the_tied_children_along():
    """Under rest_for_one a changed child is started again with those after it, in order."""

    def described(setting: str):
        return tree(*(worker(setting=setting if name == "b" else "").named(name) for name in "abcd"),
                    strategy="rest_for_one")  # fmt: skip

    runtime = run(described("old"))
    async with runtime:
        events = runtime.events()
        await runtime.apply(described("new"))
        assert lives(runtime) == {"a": 1, "b": 2, "c": 2, "d": 2}
        steps = [f"{type(event).__name__} {event.path[-1]}" for event in seen(events, ChildEnded | ChildStarting)]
        assert steps == [
            "ChildEnded d",
            "ChildEnded c",
            "ChildEnded b",
            "ChildStarting b",
            "ChildStarting c",
            "ChildStarting d",
        ]


@pytest.mark.anyio
async def test_what_does_not_come_up_is_named_and_tried_again():
    """Apply raises when an added child fails to start; the tree runs on and the child is restarted like any other."""
    healthy = False

    @actor(backoff=Backoff(10, 10, jitter=0))
    async def shaky(ctx: Context) -> None:
        if not healthy:
            raise LookupError("not yet")
        ctx.ready()
        await ctx.stopping.wait()

    async with run(tree(worker())) as runtime:
        with pytest.raises(ApplyFailed, match="tree/shaky is delayed: LookupError: not yet"):
            await runtime.apply(tree(worker(), shaky(), worker().named("last")))
        assert lives(runtime) == {"worker": 1, "shaky": 1, "last": 1}
        healthy = True
        await anyio.sleep(11)
        assert runtime.snapshot("tree/shaky").state == "ready"


@pytest.mark.anyio
async def test_a_change_lets_a_quarantined_child_go():
    """A child that is given something else starts with a clean record."""
    spec = worker().options(budget=Budget(0))
    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime:
        await spec.ref.tell(Crash())
        await next_event(events, ChildQuarantined)
        await runtime.apply(tree(worker(setting="mended").options(budget=Budget(0))))
        assert runtime.snapshot("tree/worker").state == "ready"
        assert await spec.ref.ask(Setting()) == "mended"


@pytest.mark.anyio
async def test_an_actor_may_become_a_supervisor_of_the_same_name():
    """Another kind of child takes the place when the old one is gone."""
    async with run(tree(worker().named("x"))) as runtime:
        applied = await runtime.apply(tree(Supervisor("x", children=[worker().named("y")])))
        assert (applied.added, applied.removed) == (("tree/x",), ("tree/x",))
        assert runtime.count().specs == 2


@pytest.mark.anyio
async def test_pools_keep_their_children_and_partitions_their_shards():
    """A pool's children that were started by name survive an apply, and the new description reaches them."""

    def described():
        return (
            Pool("pool", template=worker),
            partitions("shards", worker().named("s"), 2, key=str),
        )

    first, second = described(), described()
    async with run(tree(*first)) as runtime:
        ref = await first[0].start("one")
        await runtime.apply(tree(*second))
        assert await ref.ask(Setting()) == "old"
        await second[0].start("two")
        assert await second[1].ref.ask(Setting()) == "old"
        assert [child.name for child in runtime.snapshot("tree/pool").children] == ["one", "two"]


@pytest.mark.anyio
async def test_a_change_waits_for_a_restart_in_progress():
    """One group operation at a time: apply begins when a sweep that is under way is through."""
    a, b = worker().named("a").options(backoff=Backoff(20, 20, jitter=0)), worker().named("b")
    async with run(tree(a, b, strategy="one_for_all", budget=Budget(10))) as runtime:
        await a.ref.tell(Crash())
        await anyio.sleep(1)
        began = anyio.current_time()
        await runtime.apply(tree(worker().named("c"), strategy="one_for_all"))
        assert anyio.current_time() - began == 19
        assert lives(runtime) == {"c": 1}


@pytest.mark.anyio
async def test_apply_to_a_stopping_tree_is_refused():
    """Whoever asks too late is told, and does not wait for ever."""
    runtime = run(tree(worker()))
    with pytest.raises(NotRunning):
        await runtime.apply(tree(worker()))
    async with runtime:
        await runtime.kill("tree/worker")
        runtime.stop()
        with pytest.raises(NotRunning):
            await runtime.apply(tree(worker(), worker().named("late")))
    with pytest.raises(NotRunning):
        await runtime.apply(tree(worker()))
    with pytest.raises(NotRunning):
        await runtime.restart("tree/worker")


# --- one child, by its path


@pytest.mark.anyio
async def test_a_child_is_added_terminated_restarted_and_deleted():
    """An added child is ready when add returns; a terminated one keeps its place, takes no mail, and can come back."""
    spec = worker().named("added")
    async with run(tree(worker(), Supervisor("nested"))) as runtime:
        await runtime.add("tree/nested", spec)
        assert await spec.ref.ask(Setting()) == "old"
        with pytest.raises(AlreadyRunning):
            await runtime.add("tree/nested", worker().named("added"))
        await spec.ref.tell(Work(3))
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        await runtime.terminate("tree/nested/added")
        assert anyio.current_time() - began == 3
        assert runtime.snapshot("tree/nested/added").state == "stopped"
        with pytest.raises(Stopped):
            await spec.ref.tell(Work(0))
        await runtime.terminate("tree/nested/added")
        await runtime.restart("tree/nested/added")
        assert await spec.ref.ask(Setting()) == "old"
        assert runtime.snapshot("tree/nested/added").incarnation == 2
        await runtime.terminate("tree/nested/added")
        await runtime.delete("tree/nested/added")
        assert runtime.count("tree/nested").specs == 0


@pytest.mark.anyio
async def test_a_running_child_is_not_deleted():
    """Delete takes what was terminated or has finished; what runs, or waits for its restart, is refused."""
    spec = worker().options(backoff=Backoff(50, 50))
    async with run(tree(spec, budget=Budget(9))) as runtime:
        with pytest.raises(StillRunning, match="ready"):
            await runtime.delete("tree/worker")
        await spec.ref.tell(Crash())
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(StillRunning, match="delayed"):
            await runtime.delete("tree/worker")
        assert runtime.count().specs == 1


@pytest.mark.anyio
async def test_terminate_ends_a_restart_delay_at_once():
    """A child that waits for its next start is down at once, and does not come back by itself."""
    spec = worker().options(backoff=Backoff(50, 50))
    async with run(tree(spec, budget=Budget(9))) as runtime:
        await spec.ref.tell(Crash())
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        await runtime.terminate("tree/worker")
        assert anyio.current_time() == began
        await anyio.sleep(1000)
        assert (runtime.snapshot("tree/worker").state, runtime.snapshot("tree/worker").incarnation) == ("stopped", 1)
        await runtime.restart("tree/worker")
        assert await spec.ref.ask(Setting()) == "old"


@pytest.mark.anyio
async def test_terminate_lets_a_quarantined_child_rest():
    """No probe follows, and the next start, by hand or with its supervisor, has a clean record."""
    spec = worker().options(budget=Budget(0))
    path = "tree/nested/worker"
    async with run(tree(Supervisor("nested", children=[spec], backoff=Backoff(0)))) as runtime:
        for again in (lambda: runtime.restart(path), lambda: runtime.kill("tree/nested")):
            await spec.ref.tell(Crash())
            await anyio.wait_all_tasks_blocked()
            assert runtime.snapshot(path).state == "quarantined"
            before = runtime.snapshot(path).incarnation
            await runtime.terminate(path)
            await anyio.sleep(4000)
            assert runtime.snapshot(path).incarnation == before
            await again()
            await anyio.wait_all_tasks_blocked()
            assert runtime.snapshot(path).state == "ready"


@pytest.mark.anyio
@pytest.mark.parametrize(("strategy", "expected"), [("one_for_one", 1), ("rest_for_one", 2), ("one_for_all", 2)])
async def test_a_restart_of_the_group_starts_what_was_terminated(strategy, expected):
    """As in OTP: a crash that restarts the whole group, or the rest of it, starts a terminated child, too."""
    first, second = worker().named("first"), worker().named("second")
    async with run(tree(first, second, strategy=strategy)) as runtime:
        await runtime.terminate("tree/second")
        await first.ref.tell(Crash())
        await anyio.sleep(1)
        assert lives(runtime) == {"first": 2, "second": expected}


@pytest.mark.anyio
async def test_terminate_takes_a_child_out_of_a_group_that_waits():
    """A linked child that is terminated while its group waits for its restart stays down; the others start."""
    first, second = worker().named("first").options(backoff=Backoff(50, 50, jitter=0)), worker().named("second")
    async with run(tree(first, second, strategy="one_for_all")) as runtime:
        await first.ref.tell(Crash())
        await anyio.sleep(1)
        await runtime.terminate("tree/first")
        await anyio.sleep(100)
        assert lives(runtime) == {"first": 1, "second": 2}
        await runtime.restart("tree/first")
        assert lives(runtime) == {"first": 2, "second": 2}


@pytest.mark.anyio
async def test_what_cannot_be_added_leaves_nothing():
    """A reference that leads nowhere, a place that is no supervisor, a child that does not start: refused."""

    @actor()
    async def broken(ctx: Context) -> None:
        raise LookupError("no")

    async with run(tree(worker())) as runtime:
        with pytest.raises(SpecError, match="not in the tree"):
            await runtime.add("tree", worker(out=worker().named("nowhere").ref).named("lost"))
        with pytest.raises(SpecError, match="no supervisor"):
            await runtime.add("tree/worker", worker().named("below"))
        with pytest.raises(StartFailed):
            await runtime.add("tree", broken())
        assert lives(runtime) == {"worker": 1}


@pytest.mark.anyio
async def test_a_pools_limit_holds_for_what_is_added_by_path():
    """However a child comes into a pool, the limit counts."""
    pool = Pool("pool", template=worker, limit=1)
    async with run(tree(pool)) as runtime:
        await pool.start("a")
        with pytest.raises(PoolFull):
            await runtime.add("tree/pool", worker().named("b"))


@pytest.mark.anyio
async def test_a_restart_by_hand_in_the_middle_of_a_change_holds_nothing_up():
    """A child that waits for its turn in an apply is left to it; the apply ends."""

    @actor()
    async def slow(ctx: Context, *, setting: str) -> None:
        await anyio.sleep(10)
        ctx.ready()
        await ctx.stopping.wait()

    async with run(tree(slow(setting="old"), worker())) as runtime, anyio.create_task_group() as group:
        group.start_soon(runtime.apply, tree(slow(setting="new"), worker(setting="new")))
        await anyio.sleep(1)
        assert runtime.snapshot("tree/worker").state == "stopped"
        with anyio.fail_after(60):
            await runtime.restart("tree/worker")
        group.start_soon(runtime.apply, tree(worker(setting="new")))
    assert lives(runtime) == {"worker": 2}


@pytest.mark.anyio
async def test_terminate_after_the_end_returns():
    """What is down already needs no waiting; a supervisor that is not there cannot be asked."""
    async with run(tree(Supervisor("nested", children=[worker()]))) as runtime:
        await runtime.terminate("tree/nested")
        assert runtime.snapshot("tree/nested/worker").state == "stopped"
        with pytest.raises(NotRunning):
            await runtime.terminate("tree/nested/worker")
        with pytest.raises(NotRunning):
            await runtime.add("tree/nested", worker().named("late"))
        await runtime.restart("tree/nested")
        assert runtime.snapshot("tree/nested/worker").state == "ready"


@pytest.mark.anyio
async def test_a_restart_by_hand_ends_with_the_supervisor_that_does_not_do_it():
    """A supervisor that is on its way to its end for good starts nothing, and whoever waits for that is told."""
    first, second = worker().named("first").options(restart="temporary", significant=True), worker().named("second")
    nested = Supervisor("nested", children=[first, second], auto_shutdown="any_significant", restart="transient")
    async with run(tree(nested)) as runtime:
        await second.ref.tell(Work(5))
        await anyio.wait_all_tasks_blocked()  # it holds its work, which it may finish before the supervisor ends
        await first.ref.tell(Crash())
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(NotRunning, match="tree/nested ended"), anyio.fail_after(60):
            await runtime.restart("tree/nested/second")


@pytest.mark.anyio
async def test_a_supervisors_own_flags_change_while_it_runs():
    """Strategy, budget and auto_shutdown of the new tree hold for the next crash, and nobody is restarted for them."""
    first, second = worker().named("first"), worker().named("second")
    async with run(tree(first, second, budget=Budget(0))) as runtime:
        await runtime.apply(
            tree(worker().named("first"), worker().named("second"), strategy="one_for_all", budget=Budget(9))
        )
        assert lives(runtime) == {"first": 1, "second": 1}
        await first.ref.tell(Crash())
        await anyio.sleep(1)
        assert lives(runtime) == {"first": 2, "second": 2}
        last = worker().named("first").options(restart="temporary", significant=True)
        await runtime.apply(tree(last, worker().named("second"), auto_shutdown="any_significant"))
        await first.ref.tell(Crash())
        with anyio.fail_after(10):
            await runtime.wait()


@pytest.mark.anyio
async def test_a_child_that_is_deleted_while_its_group_waits_is_not_started():
    """What is forgotten stays away, also when the restart of its whole group was on its way."""
    first, second = worker().named("first").options(backoff=Backoff(50, 50, jitter=0)), worker().named("second")
    async with run(tree(first, second, strategy="one_for_all")) as runtime:
        await first.ref.tell(Crash())
        await anyio.sleep(1)
        await runtime.delete("tree/second")
        await anyio.sleep(100)
        assert lives(runtime) == {"first": 2}
        assert not [task for task in anyio.get_running_tasks() if task.name == "tree/second"]
