"""What the engine promises, fact by fact, in virtual time on both backends; fact 9 is shown by `simulation`."""

from __future__ import annotations

import gc
import subprocess
import sys
import time
import warnings
from random import Random

import anyio
import pytest
from fixtures.clock import virtual_options
from fixtures.trees import next_event, seen
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from tds_runtime import Backoff, Budget, Call, Context, Inbox, Mailbox, Pool, Supervisor, actor, run
from tds_runtime.errors import BudgetExhausted, MailboxFull, SpecError, Stopped
from tds_runtime.events import (
    ChildEnded,
    ChildHung,
    ChildQuarantined,
    ChildReady,
    DeadLettered,
    RestartScheduled,
)
from tds_runtime.mailbox import Box

AT_ONCE = Backoff(0)
PLENTY = Budget(1_000_000)

real_time = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


class Crash(Struct, frozen=True):
    pass


class Work(Struct, frozen=True):
    seconds: float


class Lives(Call[int], frozen=True):
    """Asks for the number of the incarnation."""


@actor(backoff=AT_ONCE)
async def worker(ctx: Context, inbox: Inbox[Crash | Work | Lives], *, setting: str = "") -> None:
    async for message in inbox:
        match message:
            case Crash():
                raise ValueError("crash")
            case Work(seconds):
                await anyio.sleep(seconds)
            case Lives():
                inbox.reply(message, ctx.incarnation)


@actor(stop=5)
async def needs(ctx: Context, *, seconds: float) -> None:
    """Take so many seconds to stop."""
    ctx.ready()
    await ctx.stopping.wait()
    await anyio.sleep(seconds)


def tree(*children, budget=PLENTY, **options):
    return Supervisor("tree", budget=budget, children=children, **options)


def lives(runtime) -> dict[str, int]:
    return {child.name: child.incarnation for child in runtime.snapshot().children}


# --- 1: backoff


@pytest.mark.anyio
async def test_fact_1_backoff_starts_a_child_at_exactly_these_moments():
    """Backoff(1, 60, factor 2, jitter 0) starts a child at 0, 1, 3, 7, 15, 31, 63 and 123 seconds, exactly."""
    starts: list[float] = []
    origin = anyio.current_time()
    eighth = anyio.Event()

    @actor(backoff=Backoff(1, 60, factor=2, jitter=0))
    async def crasher(ctx: Context) -> None:
        starts.append(anyio.current_time() - origin)
        ctx.ready()
        if len(starts) == 8:
            eighth.set()
        raise ValueError

    async with run(tree(crasher())):
        await eighth.wait()
    assert starts == [0, 1, 3, 7, 15, 31, 63, 123]


@pytest.mark.anyio
async def test_fact_1_with_jitter_every_delay_lies_in_its_band():
    """With jitter and a seeded generator each delay lies in its band, and one seed gives one row of delays."""
    backoff = Backoff(1, 60, factor=2, jitter=0.5)

    @actor(backoff=backoff)
    async def crasher(ctx: Context) -> None:
        ctx.ready()
        raise ValueError

    async def delays(seed: int) -> list[float]:
        runtime = run(tree(crasher()), random=Random(seed))
        events = runtime.events()
        async with runtime:
            return [(await next_event(events, RestartScheduled)).delay for _ in range(12)]

    row = await delays(7)
    bands = [backoff.band(attempt) for attempt in range(1, 13)]
    assert all(low <= delay <= high for delay, (low, high) in zip(row, bands, strict=True))
    assert len(set(row)) == 12
    assert row == await delays(7) != await delays(8)


# --- 2: budget


@pytest.mark.anyio
async def test_fact_2_the_fourth_crash_escalates_at_its_instant():
    """Budget(3, per=60): three crashes survive; at the instant of the fourth the supervisor fails with its cause."""
    started: list[float] = []

    @actor(backoff=AT_ONCE)
    async def crasher(ctx: Context) -> None:
        ctx.ready()
        started.append(anyio.current_time())
        await anyio.sleep(1)
        raise ValueError("again")

    with pytest.raises(BudgetExhausted, match="tree/crasher") as caught:
        async with run(tree(crasher(), budget=Budget(3, per=60))):
            await anyio.sleep_forever()
    assert len(started) == 4
    assert anyio.current_time() == started[-1] + 1
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.anyio
async def test_fact_2_a_crash_every_twenty_seconds_and_a_bit_never_escalates():
    """20.1 s of running between crashes for an hour never uses up Budget(3, per=60); 20 s do at the fourth."""

    @actor(backoff=AT_ONCE)
    async def crasher(ctx: Context, life: float) -> None:
        ctx.ready()
        await anyio.sleep(life)
        raise ValueError

    async with run(tree(crasher(20.1), budget=Budget(3, per=60))) as runtime:
        await anyio.sleep(3600)
        assert runtime.snapshot("tree/crasher").restarts == int(3600 / 20.1)
    with pytest.raises(BudgetExhausted):
        async with run(tree(crasher(20.0), budget=Budget(3, per=60))):
            await anyio.sleep(3600)


# --- 3: quarantine


@pytest.mark.anyio
async def test_fact_3_one_crash_looping_child_of_thousands_bothers_nobody():
    """Entity 17 of 5,000 crash-loops: it is quarantined, the other 4,999 keep their incarnation numbers."""

    @actor(budget=Budget(3, per=60), backoff=Backoff(1, 60))
    async def entity(ctx: Context, *, number: int) -> None:
        ctx.ready()
        if number == 17:
            raise ValueError("always")
        await ctx.stopping.wait()

    specs = [entity(number=number).named(f"e{number}") for number in range(5000)]
    runtime = run(tree(*specs, budget=Budget(0)))
    events = runtime.events(20_000)
    async with runtime:
        assert (await next_event(events, ChildQuarantined)).path == "tree/e17"
        await anyio.sleep(7200)
        assert {life for name, life in lives(runtime).items() if name != "e17"} == {1}
        assert runtime.snapshot("tree/e17").incarnation > 5


# --- 4: stopping


@pytest.mark.anyio
async def test_fact_4_children_stop_one_after_the_other_each_within_its_time():
    """Three children that need 1, 2 and 9 s with stop=5 end 1, 3 and 8 s after the stop."""
    runtime = run(tree(*(needs(seconds=seconds).named(f"needs {seconds}") for seconds in (9, 2, 1))), grace=100)
    events = runtime.events()
    async with runtime:
        began = anyio.current_time()
    ends = [(event.path, event.at - began) for event in seen(events, ChildEnded)][:3]
    assert ends == [("tree/needs 1", 1), ("tree/needs 2", 3), ("tree/needs 9", 8)]


@pytest.mark.anyio
async def test_fact_4_a_pool_stops_at_once():
    """A pool of 1,000 that need 1 s each ends after 1 s."""
    pool = Pool("pool", template=needs)
    async with run(tree(pool)):
        for number in range(1000):
            await pool.start(f"n{number}", seconds=1)
        began = anyio.current_time()
    assert anyio.current_time() - began == 1


# --- 5: conservation


class Numbered(Struct, frozen=True):
    sender: int
    number: int
    fate: str


async def conserve(seed: int, overflow: str, redeliver: int) -> None:
    """Senders, crashes, cancelled senders and a stop, all by chance; then the books must balance."""
    chance = Random(seed)
    handled: list[Numbered] = []

    @actor(backoff=Backoff(0.5, 5), redeliver=redeliver, stop=0.5, mailbox=Mailbox(3, overflow=overflow))
    async def receiver(ctx: Context, inbox: Inbox[Numbered]) -> None:
        async for message in inbox:
            handled.append(message)
            if chance.random() < 0.3:
                await anyio.sleep(chance.random())
            if message.fate == "poison" or (message.fate == "crash" and chance.random() < 0.5):
                raise ValueError(message.fate)

    async def sender(number: int) -> None:
        for count in range(10):
            message = Numbered(number, count, chance.choice(["fine", "fine", "crash", "poison"]))
            try:
                with anyio.move_on_after(chance.choice([0.1, 100])):
                    await spec.ref.tell(message)
            except (MailboxFull, Stopped):
                pass
            await anyio.sleep(chance.random())

    spec = receiver()
    runtime = run(tree(spec))
    events = runtime.events(10_000)
    async with runtime, anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(sender, number)
        await anyio.sleep(chance.random() * 12)
        runtime.stop()
    books, letters = spec.ref.statistics(), seen(events, DeadLettered)
    assert books.leased == 0
    assert books.accepted == books.handled + books.dropped + books.dead + books.queued
    assert books.dead == len(letters)
    assert all(handled.count(message) <= 1 + redeliver for message in handled)
    for number in range(4):
        first_times = list(dict.fromkeys(message.number for message in handled if message.sender == number))
        assert first_times == sorted(first_times)


@settings(max_examples=250)
@given(
    st.integers(0, 2**32),
    st.sampled_from(["block", "reject", "drop_oldest", "drop_newest", "conflate"]),
    st.integers(0, 2),
)
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_fact_5_messages_are_conserved(backend, seed, overflow, redeliver):
    """Accepted = handled + dropped + dead + queued; one sender's order is kept; nothing is tried too often."""
    anyio.run(conserve, seed, overflow, redeliver, backend=backend, backend_options=virtual_options(backend))


# --- 6: poison


@pytest.mark.anyio
async def test_fact_6_poison_is_tried_as_often_as_allowed_and_then_dead_lettered():
    """With redeliver=1 one always-crashing message gives two crashes, one dead letter with both stacks, then peace."""
    spec = worker().options(redeliver=1)
    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime:
        await spec.ref.tell(Crash())
        await spec.ref.tell(Work(1))
        letter = await next_event(events, DeadLettered)
        assert (letter.message, letter.attempts) == (Crash(), 2)
        assert [failure.text.count("ValueError: crash") for failure in letter.failures] == [1, 1]
        assert await spec.ref.ask(Lives()) == 3
        assert runtime.dead_letters() == (letter,)
    books = spec.ref.statistics()
    assert (books.handled, books.dead) == (2, 1)


# --- 7: watchdog


@pytest.mark.anyio
async def test_fact_7_idle_is_healthy():
    """An actor that waits for mail for an hour: no event."""
    spec = worker().options(watchdog=30)
    runtime = run(tree(spec))
    async with runtime:
        await spec.ref.ask(Lives())
        events = runtime.events()
        await anyio.sleep(3600)
        assert seen(events, object) == []


@pytest.mark.anyio
async def test_fact_7_a_message_held_without_a_beat_is_hung_at_exactly_its_watchdog():
    """30 s on one message without a beat: hung at exactly 30, cancelled, restarted, its stack in the event."""
    spec = worker().options(watchdog=30)
    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime:
        await anyio.sleep(17)
        began = anyio.current_time()
        await spec.ref.tell(Work(1000))
        hung = await next_event(events, ChildHung)
        assert hung.at - began == 30
        assert "in worker" in hung.stack
        ended = await next_event(events, ChildEnded)
        assert (ended.ending, ended.failure.type) == ("crash", "Hung")
        assert (await next_event(events, ChildReady)).incarnation == 2


@pytest.mark.anyio
async def test_fact_7_a_beat_in_time_is_progress():
    """A beat every 20 s on one long message: a watchdog of 30 s says nothing."""

    @actor(watchdog=30)
    async def busy(ctx: Context, inbox: Inbox[Work]) -> None:
        async for message in inbox:
            for _ in range(30):
                await anyio.sleep(message.seconds)
                ctx.beat()

    spec = busy()
    runtime = run(tree(spec))
    events = runtime.events()
    async with runtime:
        await spec.ref.tell(Work(20))
        await anyio.sleep(3600)
        assert spec.ref.statistics().handled == 1
    assert seen(events, ChildHung) == []


# --- 8: apply


@pytest.mark.anyio
async def test_fact_8_an_invalid_tree_changes_nothing():
    """A tree that cannot run is refused before anything moves."""
    spec = worker()
    runtime = run(tree(spec))
    async with runtime:
        before, events = runtime.tree, runtime.events()
        twice = worker().named("twice")
        with pytest.raises(SpecError):
            await runtime.apply(tree(twice, Supervisor("nested", children=[twice])))
        with pytest.raises(SpecError, match="not in the tree"):
            await runtime.apply(tree(worker(), worker(setting=worker().named("nowhere").ref).named("second")))
        with pytest.raises(SpecError, match="keeps its name"):
            await runtime.apply(Supervisor("forest"))
        assert runtime.tree is before
        assert seen(events, object) == []
        assert await spec.ref.ask(Lives()) == 1


@pytest.mark.anyio
async def test_fact_8_a_changed_backoff_restarts_nobody():
    """The next crash waits as the new tree says, and until then nobody notices."""
    first, second = worker().named("first"), worker().named("second")
    async with run(tree(first, second)) as runtime:
        changed = first.options(backoff=Backoff(7, 7, jitter=0))
        applied = await runtime.apply(tree(changed, worker().named("second")))
        assert (applied.updated, applied.restarted) == (("tree/first",), ())
        assert lives(runtime) == {"first": 1, "second": 1}
        events = runtime.events()
        await first.ref.tell(Crash())
        assert (await next_event(events, RestartScheduled)).delay == 7


@pytest.mark.anyio
async def test_fact_8_a_removed_child_stops_gracefully():
    """It finishes what it holds, and nobody else is disturbed."""
    first, second = worker().named("first"), worker().named("second")
    runtime = run(tree(first, second))
    events = runtime.events()
    async with runtime:
        await first.ref.tell(Work(4))
        await anyio.wait_all_tasks_blocked()
        began = anyio.current_time()
        applied = await runtime.apply(tree(worker().named("second")))
        assert anyio.current_time() - began == 4
        assert applied.removed == ("tree/first",)
        ended = await next_event(events, ChildEnded)
        assert (ended.path, ended.ending) == ("tree/first", "shutdown")
        assert first.ref.statistics().handled == 1
        assert lives(runtime) == {"second": 1}


# --- 10: nothing is left behind


@pytest.mark.anyio
async def test_fact_10_ten_thousand_restarts_leave_nothing_behind():
    """After 10,000 crashes there are as many tasks, mailboxes and objects as after 2,000, and no ResourceWarning."""
    spec = worker().options(mailbox=Mailbox(10))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with run(tree(spec)) as runtime:

            async def crash(times):
                for _ in range(times):
                    await spec.ref.tell(Work(1))
                    await spec.ref.tell(Crash())
                    await spec.ref.ask(Lives())
                gc.collect()
                things = gc.get_objects()
                boxes = sum(type(thing) is Box for thing in things)
                return boxes, len(anyio.get_running_tasks()), len(things), sys.getallocatedblocks()

            first, last = await crash(2000), await crash(8000)
            assert runtime.snapshot("tree/worker").restarts == 10_000
    assert last[:2] == first[:2]
    assert last[2] - first[2] < 1000  # an eighth of an object a restart; pytest and hypothesis keep some of their own
    assert last[3] - first[3] < 4000  # half a block of memory a restart


# --- fairness, and what an import costs


@real_time
@pytest.mark.anyio
async def test_a_ticker_beside_a_flooded_actor_stays_in_time(anyio_backend):
    """A 1 ms ticker is at most 5 ms late while an actor beside it never runs out of mail, in this thread's own time."""

    @actor(mailbox=Mailbox(100))
    async def flooded(ctx: Context, inbox: Inbox[Work]) -> None:
        async for _ in inbox:
            pass

    async def flood() -> None:
        while True:
            await spec.ref.tell(Work(0))

    spec = flooded()
    late: list[float] = []
    async with run(tree(spec), garbage="freeze"), anyio.create_task_group() as group:
        group.start_soon(flood)
        for _ in range(300):
            last = time.thread_time()  # what other processes take of the core is not the engine's
            await anyio.sleep(0.001)
            late.append(time.thread_time() - last - 0.001)
        group.cancel_scope.cancel()
    assert spec.ref.statistics().handled > 10_000
    assert sum(seconds > 0.005 for seconds in late) <= 3  # in a hundred, one for the machine's own stalls


def test_the_engine_is_imported_alone_and_quickly():
    """`import tds_runtime` in a fresh interpreter: no driver, no web framework, no log library, within 0.3 s."""
    code = (
        "import sys, time; began = time.process_time(); import tds_runtime\n"
        "took = time.process_time() - began\n"
        "foreign = {'asyncpg', 'starlette', 'hypercorn', 'structlog', 'httpx2', 'prometheus_client', 'trio'}\n"
        "print(sorted(foreign & sys.modules.keys()), took)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    answers = [answer.stdout.rsplit(maxsplit=1) for answer in runs]
    assert [modules for modules, _ in answers] == ["[]"] * 3
    assert min(float(took) for _, took in answers) < 0.3
