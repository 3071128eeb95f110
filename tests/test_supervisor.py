from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint
from fixtures.trees import next_event, seen
from msgspec import Struct

from tds_runtime import Backoff, Budget, Call, Context, Inbox, Pool, Supervisor, actor, run
from tds_runtime.errors import BudgetExhausted, CalleeCrashed, NotRunning, SpecError, StartFailed
from tds_runtime.events import (
    ChildCancelled,
    ChildEnded,
    ChildFinished,
    ChildHung,
    ChildQuarantined,
    ChildReady,
    ChildReleased,
    ChildStarting,
    ChildUnstopped,
    RestartScheduled,
    StopRequested,
    SupervisorExhausted,
)

AT_ONCE = Backoff(0)
PLENTY = Budget(1_000_000)


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


class Crash(Struct, frozen=True):
    pass


class Return(Struct, frozen=True):
    pass


class Work(Struct, frozen=True):
    seconds: float


class Lives(Call[int], frozen=True):
    pass


@actor(backoff=AT_ONCE)
async def worker(ctx: Context, inbox: Inbox[Crash | Return | Work | Lives], *, trail: list[str] | None = None) -> None:
    name = ctx.path.rpartition("/")[2]
    trail = [] if trail is None else trail
    trail.append(f"+{name}")
    try:
        async for message in inbox:
            match message:
                case Crash():
                    raise ValueError("crash")
                case Return():
                    return
                case Work(seconds):
                    await anyio.sleep(seconds)
                case Lives():
                    inbox.reply(message, ctx.incarnation)
    finally:
        trail.append(f"-{name}")


def workers(names: str, trail: list[str] | None = None, **options):
    return [worker(trail=trail).named(name).options(**options) for name in names]


def tree(*children, budget=PLENTY, **options):
    return Supervisor("tree", budget=budget, children=children, **options)


# --- starting and stopping in order


@pytest.mark.anyio
async def test_children_start_in_order_and_stop_in_reverse():
    """Child n+1 is spawned when n is ready; they stop last first, also through nested supervisors."""
    trail: list[str] = []
    a, b, c, d = workers("abcd", trail)
    async with run(tree(a, Supervisor("nested", children=[b, c]), d)):
        assert trail == ["+a", "+b", "+c", "+d"]
    assert trail[4:] == ["-d", "-c", "-b", "-a"]


@pytest.mark.anyio
async def test_the_next_child_waits_for_readiness():
    """A child that needs ten seconds to be ready holds back those after it, and run is entered when all are ready."""

    @actor()
    async def slow(ctx: Context) -> None:
        await anyio.sleep(10)
        ctx.ready()
        await ctx.stopping.wait()

    runtime = run(tree(slow(), slow().named("second")))
    events = runtime.events()
    began = anyio.current_time()
    async with runtime:
        assert anyio.current_time() - began == 20
        assert [(e.path, e.at - began) for e in seen(events, ChildStarting)] == [("tree/slow", 0), ("tree/second", 10)]


@pytest.mark.anyio
async def test_a_failed_start_stops_what_had_started_and_names_the_child():
    """The error names the child by path, its cause is what the child raised, and siblings stop in reverse order."""
    trail: list[str] = []

    @actor()
    async def broken(ctx: Context) -> None:
        raise LookupError("no such thing")

    with pytest.raises(StartFailed, match="tree/nested/broken did not start: LookupError: no such thing") as caught:
        async with run(tree(*workers("ab", trail), Supervisor("nested", children=[*workers("c", trail), broken()]))):
            pytest.fail("never entered")
    assert caught.value.path == "tree/nested/broken"
    assert isinstance(caught.value.__cause__, LookupError)
    assert trail == ["+a", "+b", "+c", "-c", "-b", "-a"]


@pytest.mark.anyio
async def test_a_child_that_returns_before_it_is_ready_fails_the_start():
    """A permanent child that returns without having been ready did not start."""

    @actor()
    async def hasty(ctx: Context) -> None:
        pass

    with pytest.raises(StartFailed, match="ended before it was ready"):
        async with run(tree(hasty())):
            pass
    async with run(tree(hasty().options(restart="transient"))) as runtime:  # a one-off step of the start is fine
        assert runtime.snapshot("tree/hasty").state == "finished"


@pytest.mark.anyio
async def test_the_grace_bounds_all_phases_together():
    """When the grace is over everything is cancelled at once, however long single children may take."""
    specs = workers("abc", stop=20)
    async with run(tree(*specs), grace=25):
        for spec in specs:
            await spec.ref.tell(Work(1000))
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
    assert anyio.current_time() - began == 25


@pytest.mark.anyio
async def test_a_hurried_stop_skips_the_graceful_phase_in_order():
    """A second request to stop cancels what is stopping now and gives those after it no grace either."""
    trail: list[str] = []
    specs = workers("abc", trail, stop=50)
    runtime = run(tree(specs[0], Supervisor("nested", children=specs[1:])), grace=1000)
    async with runtime:
        for spec in specs:
            await spec.ref.tell(Work(1000))
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        runtime.stop()
        await anyio.sleep(3)
        runtime.stop(hurry=True)
        await runtime.wait()
        assert anyio.current_time() - began == 3
    assert trail[3:] == ["-c", "-b", "-a"]


@pytest.mark.anyio
async def test_stopping_interrupts_a_restart_delay():
    """A child that waits for its next start is down: the tree stops at once."""
    (spec,) = workers("a", backoff=Backoff(1000, 1000))
    async with run(tree(spec)) as runtime:
        await spec.ref.tell(Crash())
        await anyio.wait_all_tasks_blocked()
        assert runtime.snapshot("tree/a").state == "delayed"
        began = anyio.current_time()
    assert anyio.current_time() == began


# --- restart kinds


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("restart", "message", "again"),
    [
        ("permanent", Return(), True),
        ("permanent", Crash(), True),
        ("transient", Return(), False),
        ("transient", Crash(), True),
        ("temporary", Return(), False),
        ("temporary", Crash(), False),
    ],
)
async def test_restart_kinds(restart, message, again):
    """permanent: always; transient: after a crash; temporary: never. What is finished takes no more mail."""
    (spec,) = workers("a", restart=restart)
    async with run(tree(spec)) as runtime:
        await spec.ref.tell(message)
        await anyio.wait_all_tasks_blocked()
        snapshot = runtime.snapshot("tree/a")
        assert (snapshot.incarnation, snapshot.state) == ((2, "ready") if again else (1, "finished"))
        assert spec.ref.offer(Work(0)) == again


@pytest.mark.anyio
async def test_a_killed_child_is_restarted_like_a_crashed_one():
    """Kill cancels at once, ends as "killed", and a transient child comes back."""
    (spec,) = workers("a", restart="transient")
    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime:
        await runtime.kill("tree/a", "stuck since noon")
        ended = await next_event(events, ChildEnded)
        assert (ended.ending, ended.failure.message) == ("killed", "stuck since noon")
        assert (await next_event(events, ChildReady)).incarnation == 2


@pytest.mark.anyio
async def test_an_operators_restart_is_graceful_and_free():
    """Restart lets the message at hand finish, charges no budget, and starts again at once."""
    (spec,) = workers("a", backoff=Backoff(1000, 1000))
    async with run(tree(spec, budget=Budget(0))) as runtime:
        await spec.ref.tell(Work(5))
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        await runtime.restart("tree/a")
        assert anyio.current_time() - began == 5
        assert runtime.snapshot("tree/a").incarnation == 2
        assert spec.ref.statistics().handled == 1


@pytest.mark.anyio
@pytest.mark.parametrize(("strategy", "transient"), [("one_for_one", 1), ("rest_for_one", 2), ("one_for_all", 2)])
async def test_restart_kinds_in_a_group(strategy, transient):
    """As in OTP: a group's restart brings a finished transient child back, and a temporary one goes down for good."""
    (a,) = workers("a")
    (b,) = workers("b", restart="transient")
    (c,) = workers("c", restart="temporary")
    async with run(tree(a, b, c, strategy=strategy)) as runtime:
        await b.ref.tell(Return())
        await anyio.wait_all_tasks_blocked()
        assert runtime.snapshot("tree/b").state == "finished"
        await a.ref.tell(Crash())
        await anyio.sleep(1)
        found = {s.name: (s.incarnation, s.state) for s in runtime.snapshot().children}
        linked = strategy != "one_for_one"
        assert found == {
            "a": (2, "ready"),
            "b": (transient, "ready" if linked else "finished"),
            "c": (1, "finished" if linked else "ready"),
        }


@pytest.mark.anyio
async def test_the_row_of_delays_starts_anew_after_a_good_life_only():
    """What counts is the time a child was ready: a long way up is no good life."""

    @actor(backoff=Backoff(1, 100, jitter=0, reset_after=60), start_timeout=1000)
    async def crasher(ctx: Context) -> None:
        await anyio.sleep(100)
        ctx.ready()
        await anyio.sleep(60 if ctx.incarnation == 4 else 59)
        raise ValueError

    runtime = run(tree(crasher()))
    events = runtime.events()
    async with runtime:
        delays = [(await next_event(events, RestartScheduled)).delay for _ in range(5)]
    assert delays == [1, 2, 4, 1, 2]


@pytest.mark.anyio
async def test_what_crashes_while_it_stops_stays_down():
    """An error on the way down is reported and neither charged nor followed by a restart."""

    @actor(backoff=AT_ONCE)
    async def clumsy(ctx: Context) -> None:
        ctx.ready()
        await ctx.stopping.wait()
        raise LookupError("on the way down")

    runtime = run(tree(clumsy(), budget=Budget(0)))
    events = runtime.events()
    async with runtime:
        pass
    told = seen(events, object)
    (ended,) = [event for event in told if isinstance(event, ChildEnded) and event.path == "tree/clumsy"]
    assert (ended.ending, ended.failure.message) == ("shutdown", "on the way down")
    assert len([event for event in told if isinstance(event, ChildStarting)]) == 1
    assert not [event for event in told if isinstance(event, RestartScheduled)]


@pytest.mark.anyio
async def test_a_restart_by_hand_of_a_stopping_tree_is_refused():
    """Nothing is started any more, and whoever asked learns it."""
    (spec,) = workers("a", stop=20)
    async with run(tree(spec)) as runtime:
        await spec.ref.tell(Work(10))
        await anyio.wait_all_tasks_blocked()
        runtime.stop()
        with pytest.raises(NotRunning):
            await runtime.restart("tree/a")
        assert runtime.snapshot("tree/a").incarnation == 1


@pytest.mark.anyio
async def test_a_request_to_stop_says_why():
    """Shutdown, restart, removal and termination are told apart in the event."""
    a, b = workers("ab")
    pool = Pool("pool", template=worker)
    runtime = run(tree(a, b, pool, strategy="rest_for_one"))
    events = runtime.events()
    async with runtime:
        await pool.start("c")
        await pool.stop_child("c")
        await runtime.terminate("tree/b")
        await runtime.restart("tree/a")
    reasons = {(event.path, event.reason) for event in seen(events, StopRequested)}
    assert {
        ("tree/pool/c", "removed"),
        ("tree/b", "terminated"),
        ("tree/a", "restart"),
        ("tree/a", "shutdown"),
    } <= reasons


@pytest.mark.anyio
async def test_a_tree_has_one_task_a_child():
    """No slot, mailbox or supervisor costs a task beside its own."""
    before = len(anyio.get_running_tasks())
    async with run(tree(*workers("abc"), Supervisor("nested", children=workers("de")))):
        names = [task.name for task in anyio.get_running_tasks()]
        assert len(names) - before == 5 + 1 + 1 + 1  # children, nested supervisor, root, and who keeps the root
        assert {f"tree/{name}" for name in ("a", "b", "c", "nested", "nested/d", "nested/e")} <= set(names)


# --- strategies


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["-b", "+b"]),
        ("rest_for_one", ["-b", "-d", "-c", "+b", "+c", "+d"]),
        ("one_for_all", ["-b", "-d", "-c", "-a", "+a", "+b", "+c", "+d"]),
    ],
)
async def test_strategies(strategy, expected):
    """Who else goes down with a crashed child and comes up again, in which order."""
    trail: list[str] = []
    specs = workers("abcd", trail)
    async with run(tree(*specs, strategy=strategy)):
        del trail[:]
        await specs[1].ref.tell(Crash())
        await anyio.sleep(1)
        assert trail == expected


@pytest.mark.anyio
async def test_linked_children_stop_before_the_delay_and_start_after_it():
    """one_for_all: siblings stop at once when one crashes, and the delay of the crashed one holds the whole group."""
    specs = workers("ab", backoff=Backoff(10, 10, jitter=0))
    runtime = run(tree(*specs, strategy="one_for_all"))
    events = runtime.events()
    async with runtime:
        began = anyio.current_time()
        await specs[0].ref.tell(Crash())
        stopped = await next_event(events, StopRequested, "tree/b")
        assert stopped.at == began
        again = await next_event(events, ChildStarting, "tree/a")
        assert again.at - began == 10


@pytest.mark.anyio
async def test_a_failed_restart_is_tried_again_and_counts():
    """A child that fails to come up again is charged like a crash, until the budget is used up."""

    @actor(backoff=AT_ONCE)
    async def once(ctx: Context) -> None:
        if ctx.incarnation > 1:
            raise LookupError("cannot come back")
        ctx.ready()
        await checkpoint()
        raise ValueError("first")

    runtime = run(tree(once(), budget=Budget(3, per=60)))
    events = runtime.events()
    with pytest.raises(BudgetExhausted) as caught:
        async with runtime:
            await anyio.sleep_forever()
    assert isinstance(caught.value.__cause__, LookupError)
    assert len(seen(events, ChildStarting)) == 4


@pytest.mark.anyio
async def test_rest_for_one_when_a_later_child_fails_its_restart():
    """The restart of the rest is taken up again from the child that failed; earlier ones keep their lives."""
    trail: list[str] = []

    @actor(backoff=AT_ONCE)
    async def shaky(ctx: Context) -> None:
        if ctx.incarnation in {2, 3}:
            raise LookupError
        ctx.ready()
        await ctx.stopping.wait()

    a, b, d = workers("abd", trail)
    async with run(tree(a, b, shaky().named("c"), d, strategy="rest_for_one")) as runtime:
        await b.ref.tell(Crash())
        await anyio.sleep(1)
        assert {s.name: s.incarnation for s in runtime.snapshot().children} == {"a": 1, "b": 2, "c": 4, "d": 2}


@pytest.mark.anyio
async def test_a_second_crash_widens_an_unfinished_restart():
    """rest_for_one: while the rest is on its way down, a crash further up takes over the restart."""
    a, b, c = workers("abc", stop=50)
    async with run(tree(a, b, c, strategy="rest_for_one"), grace=1000) as runtime:
        await c.ref.tell(Work(20))
        await anyio.wait_all_tasks_blocked()
        await b.ref.tell(Crash())  # c needs 20 s to stop
        await anyio.sleep(5)
        await a.ref.tell(Crash())
        await anyio.sleep(100)
        assert {s.name: s.incarnation for s in runtime.snapshot().children} == {"a": 2, "b": 2, "c": 2}


@pytest.mark.anyio
@pytest.mark.parametrize(("restarts", "survives"), [(1, True), (0, False)])
async def test_linked_children_that_crash_in_one_moment_are_one_crash(restarts, survives):
    """The end of a sibling that is tied to a crash is part of it, also when it came by itself and is heard later."""

    @actor(backoff=AT_ONCE)
    async def twin(ctx: Context) -> None:
        ctx.ready()
        if ctx.incarnation == 1:
            await anyio.sleep(5)
            raise ValueError
        await ctx.stopping.wait()

    outcome = "survived"
    try:
        twins = [twin().named(name) for name in "abc"]
        async with run(tree(*twins, strategy="one_for_all", budget=Budget(restarts))) as runtime:
            await anyio.sleep(10)
            assert {child.incarnation for child in runtime.snapshot().children} == {2}
    except BudgetExhausted:
        outcome = "exhausted"
    assert outcome == ("survived" if survives else "exhausted")


@pytest.mark.anyio
async def test_the_longest_delay_of_a_group_holds():
    """A second crash with a short delay does not cut short the delay that the group already waits for."""
    (a,) = workers("a")
    (b,) = workers("b", backoff=Backoff(100, 100, jitter=0))
    runtime = run(tree(a, b, strategy="rest_for_one"))
    events = runtime.events()
    async with runtime:
        began = anyio.current_time()
        await b.ref.tell(Crash())
        await anyio.sleep(1)
        await a.ref.tell(Crash())
        await next_event(events, RestartScheduled, "tree/a")
        assert (await next_event(events, ChildStarting, "tree/a")).at - began == 100


@pytest.mark.anyio
async def test_a_crash_during_the_first_start_of_a_linked_group_is_a_restart():
    """A child that was ready and crashes while a later one still starts is restarted; the start goes on after that."""

    @actor(backoff=Backoff(30, 30, jitter=0))
    async def early(ctx: Context) -> None:
        ctx.ready()
        if ctx.incarnation == 1:
            await anyio.sleep(1)
            raise ValueError
        await ctx.stopping.wait()

    @actor()
    async def late(ctx: Context) -> None:
        await anyio.sleep(10)
        ctx.ready()
        await ctx.stopping.wait()

    began = anyio.current_time()
    async with run(tree(early(), late().options(stop=0), strategy="rest_for_one")) as runtime:
        assert anyio.current_time() - began == 1 + 30 + 10
        assert {s.name: s.incarnation for s in runtime.snapshot().children} == {"early": 2, "late": 2}


@pytest.mark.anyio
async def test_a_temporary_child_whose_turn_is_still_to_come_is_started():
    """A crash in the middle of a start, of the first or of any later life of the supervisor, forgets nobody."""

    @actor(backoff=Backoff(7, 7, jitter=0))
    async def early(ctx: Context) -> None:
        ctx.ready()
        if ctx.incarnation in (1, 3):
            raise ValueError
        await ctx.stopping.wait()

    (late,) = workers("b", restart="temporary")
    nested = Supervisor("nested", strategy="rest_for_one", budget=PLENTY, backoff=AT_ONCE, children=[early(), late])
    async with run(tree(nested)) as runtime:
        assert {s.name: s.incarnation for s in runtime.snapshot("tree/nested").children} == {"early": 2, "b": 1}
        await runtime.kill("tree/nested")
        await anyio.sleep(20)
        assert {s.name: s.incarnation for s in runtime.snapshot("tree/nested").children} == {"early": 4, "b": 2}


@pytest.mark.anyio
async def test_restarts_of_independent_children_do_not_wait_for_each_other():
    """one_for_one: a child that takes its time to be ready again holds up nobody else's restart."""

    @actor(backoff=AT_ONCE)
    async def slow(ctx: Context) -> None:
        if ctx.incarnation > 1:
            await anyio.sleep(10)
        ctx.ready()
        if ctx.incarnation == 1:
            await gate.wait()
            raise ValueError
        await ctx.stopping.wait()

    gate = anyio.Event()
    (spec,) = workers("a")
    runtime = run(tree(slow(), spec))
    async with runtime:
        gate.set()
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        await spec.ref.tell(Crash())
        assert await spec.ref.ask(Lives()) == 2
        assert anyio.current_time() == began
        assert runtime.snapshot("tree/slow").state == "starting"


# --- budgets and escalation


@pytest.mark.anyio
async def test_a_nested_exhaustion_is_one_crash_with_its_cause():
    """A supervisor that used up its budget is one crash for its own, and is restarted with all its children."""
    specs = workers("ab")
    runtime = run(tree(Supervisor("nested", budget=Budget(1, per=60), backoff=AT_ONCE, children=specs)))
    events = runtime.events()
    async with runtime:
        await specs[0].ref.tell(Crash())
        await anyio.sleep(1)
        await specs[0].ref.tell(Crash())
        exhausted = await next_event(events, SupervisorExhausted)
        assert (exhausted.path, exhausted.child, exhausted.failure.message) == ("tree/nested", "tree/nested/a", "crash")
        await anyio.sleep(1)
        assert runtime.snapshot("tree/nested").incarnation == 2
        assert runtime.snapshot("tree/nested/b").incarnation == 2
        assert "tree/nested/a" in runtime.snapshot("tree/nested").last_error


@pytest.mark.anyio
async def test_the_roots_exhaustion_carries_the_whole_chain():
    """What comes out of run names every level down to the crash, after everything stopped in order."""
    trail: list[str] = []
    (spec,) = workers("a", trail)
    nested = Supervisor("nested", budget=Budget(0), children=[spec])
    with pytest.raises(BudgetExhausted, match="tree/nested") as caught:  # noqa: PT012 # the error comes out of the whole block
        async with run(tree(*workers("z", trail), nested, budget=Budget(0))):
            await spec.ref.tell(Crash())
            await anyio.sleep_forever()
    causes = [caught.value.__cause__, caught.value.__cause__.__cause__]
    assert [type(cause) for cause in causes] == [BudgetExhausted, ValueError]
    assert trail == ["+z", "+a", "-a", "-z"]


@pytest.mark.anyio
async def test_a_childs_own_budget_spares_its_supervisors():
    """A child with a budget of its own is charged there and nowhere else."""
    a, b = workers("ab")
    a = a.options(budget=Budget(3))
    async with run(tree(a, b, budget=Budget(0))) as runtime:
        for _ in range(3):
            await a.ref.tell(Crash())
        assert await a.ref.ask(Lives()) == 4
        assert runtime.snapshot("tree/b").incarnation == 1


@pytest.mark.anyio
async def test_an_own_budget_under_a_linked_strategy_fails_the_supervisor():
    """Under rest_for_one nothing can be left out, so a child's used-up budget is its supervisor's failure."""
    a, b = *workers("a", budget=Budget(0)), *workers("b")
    with pytest.raises(BudgetExhausted, match="tree/a"):  # noqa: PT012 # the error comes out of the whole block
        async with run(tree(a, b, strategy="rest_for_one")):
            await a.ref.tell(Crash())
            await anyio.sleep_forever()


# --- quarantine


@pytest.mark.anyio
async def test_quarantine_probes_itself_with_doubling_cool_downs():
    """A child that used up its budget rests 60, 120, 240 ... 3600 s between single probes, for ever."""

    @actor(backoff=AT_ONCE, budget=Budget(2, per=60), quarantine=Backoff(60, 3600, jitter=0))
    async def broken(ctx: Context) -> None:
        ctx.ready()
        raise ValueError("still broken")

    (healthy,) = workers("h")
    runtime = run(tree(broken(), healthy, budget=Budget(0)))
    events = runtime.events()
    async with runtime:
        await anyio.sleep(4 * 3600)
        assert runtime.snapshot("tree/h").incarnation == 1
    cooldowns = [event.cooldown for event in seen(events, ChildQuarantined)]
    assert cooldowns[:8] == [60, 120, 240, 480, 960, 1920, 3600, 3600]


@pytest.mark.anyio
async def test_a_probe_that_stays_up_ends_quarantine():
    """A probe that was ready for reset_after seconds is back to normal, with a clean record."""
    broken = True

    @actor(backoff=AT_ONCE, budget=Budget(1, per=60), quarantine=Backoff(60, 3600, jitter=0, reset_after=30))
    async def recovers(ctx: Context) -> None:
        ctx.ready()
        if broken:
            raise ValueError
        await ctx.stopping.wait()

    runtime = run(tree(recovers()))
    events = runtime.events()
    async with runtime:
        resting = await next_event(events, ChildQuarantined)
        broken = False
        released = await next_event(events, ChildReleased)
        assert released.by == "probe"
        assert released.at - resting.at == 60 + 30
        assert runtime.snapshot("tree/recovers").state == "ready"


@pytest.mark.anyio
async def test_quarantine_ends_by_hand_at_once():
    """Restart lets a quarantined child go without waiting for its cool-down."""
    (spec,) = workers("a", budget=Budget(0))
    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime:
        await spec.ref.tell(Crash())
        await next_event(events, ChildQuarantined)
        with pytest.raises(CalleeCrashed, match="quarantined"):
            await spec.ref.ask(Lives())
        began = anyio.current_time()
        await runtime.restart("tree/a")
        assert (await next_event(events, ChildReleased)).by == "operator"
        assert await spec.ref.ask(Lives()) == 2
        assert anyio.current_time() == began


@pytest.mark.anyio
async def test_quarantine_outlives_a_restart_of_the_supervisor():
    """A supervisor that comes back leaves its quarantined child alone instead of failing over it."""
    a, b = *workers("a", budget=Budget(0)), *workers("b")
    nested = Supervisor("nested", budget=Budget(0), backoff=AT_ONCE, children=[a, b])
    async with run(tree(nested)) as runtime:
        await a.ref.tell(Crash())
        await anyio.wait_all_tasks_blocked()
        await b.ref.tell(Crash())
        await anyio.sleep(1)
        assert runtime.snapshot("tree/nested").incarnation == 2
        assert runtime.snapshot("tree/nested/a").state == "quarantined"
        assert runtime.snapshot("tree/nested/b").state == "ready"


# --- significant children


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("mode", "finish", "ends"),
    [
        ("any_significant", "a", True),
        ("any_significant", "c", False),
        ("all_significant", "a", False),
        ("all_significant", "ab", True),
    ],
)
async def test_auto_shutdown(mode, finish, ends):
    """A supervisor ends when any, or all, of its significant children have ended for good; others do not matter."""
    a, b = workers("ab", restart="transient", significant=True)
    (c,) = workers("c", restart="transient")
    specs = {"a": a, "b": b, "c": c}
    async with run(tree(a, b, c, auto_shutdown=mode)) as runtime:
        for name in finish:
            await specs[name].ref.tell(Return())
        with anyio.move_on_after(10) as waiting:
            await runtime.wait()
    assert waiting.cancelled_caught != ends


@pytest.mark.anyio
async def test_a_significant_child_that_is_restarted_ends_nothing():
    """A transient significant child that crashes comes back; only its end for good counts."""
    (spec,) = workers("a", restart="transient", significant=True)
    async with run(tree(spec, auto_shutdown="any_significant")):
        await spec.ref.tell(Crash())
        assert await spec.ref.ask(Lives()) == 2


@pytest.mark.anyio
@pytest.mark.parametrize(("restart", "again"), [("permanent", True), ("transient", False), ("temporary", False)])
async def test_a_nested_auto_shutdown_is_a_normal_end(restart, again):
    """For its own supervisor it has ended normally: permanent is restarted and charged, the others are finished."""
    (a,) = workers("a", restart="temporary", significant=True)
    nested = Supervisor("nested", children=[a], auto_shutdown="any_significant", restart=restart, backoff=AT_ONCE)
    async with run(tree(nested)) as runtime:
        await a.ref.tell(Crash())
        await anyio.sleep(1)
        snapshot = runtime.snapshot("tree/nested")
        assert (snapshot.incarnation, snapshot.state) == ((2, "ready") if again else (1, "finished"))


@pytest.mark.anyio
async def test_what_was_terminated_by_hand_keeps_no_supervisor_up():
    """As in OTP: termination by hand ends no supervisor, and the last significant child that lives does."""
    a, b = workers("ab", restart="transient", significant=True)
    async with run(tree(a, b, auto_shutdown="all_significant")) as runtime:
        await runtime.terminate("tree/a")
        await anyio.sleep(1)
        assert runtime.snapshot().state == "ready"
        await b.ref.tell(Return())
        with anyio.fail_after(10):
            await runtime.wait()


def test_impossible_significance_is_refused():
    """A permanent significant child, or one under auto_shutdown="never", is an error where it is written."""
    with pytest.raises(SpecError):
        workers("a", significant=True)
    with pytest.raises(SpecError):
        tree(*workers("a", restart="transient", significant=True))


# --- the watchdog


@pytest.mark.anyio
async def test_beats_and_named_waits_are_progress():
    """A beat every 20 s, or a named wait of any length, keeps a watchdog of 30 s quiet."""

    @actor(watchdog=30)
    async def busy(ctx: Context, inbox: Inbox[Work]) -> None:
        async for message in inbox:
            for _ in range(10):
                await anyio.sleep(message.seconds)
                ctx.beat()
            async with ctx.waiting("database"):
                await anyio.sleep(1000)
            await anyio.sleep(29)

    spec = busy()
    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime:
        await spec.ref.tell(Work(20))
        await anyio.sleep(300)
        snapshot = runtime.snapshot("tree/busy")
        assert (snapshot.waiting, snapshot.leased_age) == ("database", 100)
        await anyio.sleep(1000)
    assert seen(events, ChildHung) == []


@pytest.mark.anyio
async def test_a_wait_ends_with_the_life_that_began_it():
    """A named wait that a crashed life never left does not switch off the watchdog of the next."""

    @actor(watchdog=30, backoff=AT_ONCE)
    async def forgetful(ctx: Context, inbox: Inbox[Crash | Work]) -> None:
        async for message in inbox:
            match message:
                case Crash():
                    await ctx.waiting("database").__aenter__()  # and no exit
                    raise ValueError
                case Work(seconds):
                    await anyio.sleep(seconds)

    spec = forgetful()
    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime:
        await spec.ref.tell(Crash())
        await spec.ref.tell(Work(1000))
        assert (await next_event(events, ChildHung)).idle_seconds == 30
        assert runtime.snapshot("tree/forgetful").waiting == ""


@pytest.mark.anyio
async def test_mail_that_nobody_takes_is_hung():
    """An actor that reads no more is hung when mail has lain for the watchdog's time since it came."""

    @actor(watchdog=30, backoff=AT_ONCE)
    async def deaf(ctx: Context, inbox: Inbox[Work]) -> None:
        ctx.ready()
        await ctx.stopping.wait()

    spec = deaf()
    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime:
        await anyio.sleep(100)
        began = anyio.current_time()
        await spec.ref.tell(Work(1))
        await anyio.sleep(1)
        await spec.ref.tell(Work(1))
        assert (await next_event(events, ChildHung)).at - began == 30


@pytest.mark.anyio
async def test_an_actor_without_an_inbox_must_beat_if_it_has_a_watchdog():
    """A loop without mail that stops beating is hung."""

    @actor(watchdog=30, backoff=AT_ONCE)
    async def loop(ctx: Context) -> None:
        ctx.ready()
        for _ in range(3):
            await anyio.sleep(20)
            ctx.beat()
        await ctx.stopping.wait()

    runtime = run(tree(loop()))
    events = runtime.events()
    async with runtime:
        began = anyio.current_time()
        assert (await next_event(events, ChildHung)).at - began == 90


# --- what cannot be stopped


@pytest.mark.anyio
async def test_an_unstoppable_child_is_reported_and_its_siblings_stop():
    """What outlives its kill_grace is reported with its stack; the others go on stopping in order."""
    trail: list[str] = []
    release = anyio.Event()

    @actor(stop=2, kill_grace=3)
    async def stubborn(ctx: Context) -> None:
        ctx.ready()
        with anyio.CancelScope(shield=True):
            await release.wait()

    a, b = workers("ab", trail)
    abandoned: list[str] = []

    def abandon(stacks: str) -> None:
        abandoned.append(stacks)
        release.set()

    runtime = run(tree(a, Supervisor("nested", children=[stubborn(), b])), abandon=abandon)
    events = runtime.events()
    async with runtime:
        began = anyio.current_time()
    unstopped = seen(events, ChildUnstopped)
    assert [(event.path, event.at - began) for event in unstopped] == [("tree/nested/stubborn", 5)]
    assert "release.wait()" in unstopped[0].stack
    assert trail[2:] == ["-b", "-a"]
    assert "tree/nested/stubborn" in abandoned[0]


@pytest.mark.anyio
async def test_a_cancelled_supervisor_sees_its_children_to_their_end():
    """When a supervisor itself is killed its children are cancelled with it, reported, and started again with it."""
    trail: list[str] = []
    a, b = workers("ab", trail)
    runtime = run(tree(Supervisor("nested", backoff=AT_ONCE, children=[a, b])))
    async with runtime:
        await a.ref.tell(Work(1000))
        await runtime.kill("tree/nested")
        await anyio.sleep(1)
        assert sorted(trail) == ["+a", "+a", "+b", "+b", "-a", "-b"]
        assert runtime.snapshot("tree/nested").incarnation == 2
        assert runtime.snapshot("tree/nested").last_error.startswith("Killed")


@pytest.mark.anyio
async def test_a_cancelled_supervisor_starts_nothing_any_more():
    """However a crash and the cancellation of the supervisor fall together, nothing is started in between."""
    for _ in range(20):  # trio shuffles those whose turn comes at once
        specs = workers("abcdef")
        runtime = run(tree(Supervisor("nested", budget=PLENTY, backoff=AT_ONCE, children=specs)))
        events = runtime.events()
        async with runtime:
            specs[0].ref.offer(Crash())
            nested = runtime._find("tree/nested")
            runtime._supervisor_of(nested).kill(nested, "in the same moment")
            await anyio.sleep(1)
            story = [f"{type(event).__name__} {event.path}" for event in seen(events, object)]
            begun = story.index("ChildCancelled tree/nested")
            over = story.index("ChildEnded tree/nested")
            assert not [step for step in story[begun:over] if step.startswith("ChildStarting")]


@pytest.mark.anyio
async def test_a_cancelled_supervisor_reports_what_it_cannot_stop():
    """Children of a cancelled supervisor that outlive their kill_grace are reported like any other."""
    release = anyio.Event()

    @actor(kill_grace=3)
    async def stubborn(ctx: Context) -> None:
        ctx.ready()
        with anyio.CancelScope(shield=True):
            await release.wait()

    runtime = run(tree(Supervisor("nested", backoff=AT_ONCE, children=[stubborn()])))
    events = runtime.events()
    async with runtime, anyio.create_task_group() as group:
        began = anyio.current_time()
        group.start_soon(runtime.kill, "tree/nested")
        unstopped = await next_event(events, ChildUnstopped)
        release.set()
        assert (unstopped.path, unstopped.at - began) == ("tree/nested/stubborn", 3)
        assert (await next_event(events, ChildReady, "tree/nested")).incarnation == 2


# --- events and order of events


@pytest.mark.anyio
async def test_a_crash_tells_its_whole_story_in_order():
    """Crash, delay, next start, ready: each an event, at its time."""
    (spec,) = workers("a", backoff=Backoff(5, 5, jitter=0))
    runtime = run(tree(spec))
    async with runtime:
        events = runtime.events()
        await spec.ref.tell(Crash())
        await anyio.sleep(10)
        story = [(type(event), event.at) for event in (await next_of(events, 5))[1:]]
        began = story[0][1]
        assert [(kind, at - began) for kind, at in story] == [
            (ChildEnded, 0),
            (RestartScheduled, 0),
            (ChildStarting, 5),
            (ChildReady, 5),
        ]


async def next_of(events, count):
    return [await anext(events) for _ in range(count)]


@pytest.mark.anyio
async def test_cancelled_and_finished_children_are_told():
    """A child that overstays its stop time is announced as cancelled; one that is done, as finished."""
    a, b = workers("ab", stop=1, restart="temporary")
    runtime = run(tree(a, b))
    events = runtime.events()
    async with runtime:
        await b.ref.tell(Return())
        assert (await next_event(events, ChildFinished)).path == "tree/b"
        await a.ref.tell(Work(100))
        await anyio.wait_all_tasks_blocked()
    assert [event.path for event in seen(events, ChildCancelled)] == ["tree/a"]


# --- leaving nothing behind


@pytest.mark.anyio
async def test_children_may_talk_before_all_are_started():
    """A child that starts early can write to one that starts later; the message waits."""
    later = worker().named("later")

    @actor()
    async def early(ctx: Context) -> None:
        await later.ref.tell(Work(0))
        ctx.ready()
        await checkpoint()
        await ctx.stopping.wait()

    async with run(tree(early(), later)):
        await anyio.wait_all_tasks_blocked()
    assert later.ref.statistics().handled == 1
