from __future__ import annotations

import asyncio  # noqa: TID251 # plants the native cancellations that only asyncio has
import gc
from contextvars import ContextVar

import anyio
import pytest
from anyio.lowlevel import checkpoint
from fixtures.trees import next_event, seen
from msgspec import Struct

from tds_runtime import Backoff, Budget, Context, Inbox, Mailbox, Supervisor, actor, run
from tds_runtime.errors import BudgetExhausted, Hung, Killed, StartFailed, StrayCancellation
from tds_runtime.events import ChildEnded, ChildReady, ChildUnstopped, StartRefused
from tds_runtime.failure import failure_of
from tds_runtime.incarnation import Incarnation, classify, collapse

AT_ONCE = Backoff(0)


class Say(Struct, frozen=True):
    word: str


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


only_asyncio = pytest.mark.parametrize("virtual_backend", ["asyncio"], indirect=True)


@actor()
async def idler(ctx: Context) -> None:
    ctx.ready()
    await ctx.stopping.wait()


# --- the table of endings


@pytest.mark.anyio
async def test_endings_are_told_by_what_was_asked():
    """Return, error and cancellation mean different things when nobody asked, somebody asked, or there is a verdict."""
    cancelled = anyio.get_cancelled_exc_class()
    stray = cancelled() if cancelled is asyncio.CancelledError else None
    assert classify(None, verdict=None, asked=False).kind == "normal"
    assert classify(None, verdict=None, asked=True).kind == "shutdown"
    assert classify(ValueError(), verdict=None, asked=False).kind == "crash"
    assert classify(ValueError(), verdict=None, asked=True).kind == "shutdown"
    assert classify(None, verdict=Hung(), asked=True).kind == "crash"
    assert classify(ValueError(), verdict=Killed(), asked=True).kind == "killed"
    if stray is not None:
        assert classify(stray, verdict=None, asked=True).kind == "shutdown"
        assert isinstance(classify(stray, verdict=None, asked=False).error, StrayCancellation)


def test_groups_of_one_collapse():
    """One failure wrapped in groups of groups is that failure; a group of two stays a group."""
    leaf = ValueError("leaf")
    pair = ExceptionGroup("two", [leaf, TypeError()])
    assert collapse(ExceptionGroup("outer", [ExceptionGroup("inner", [leaf])])) is leaf
    assert collapse(ExceptionGroup("outer", [pair])) is pair


@pytest.mark.anyio
async def test_a_crash_in_a_nested_task_group_is_reported_as_itself():
    """One failure that arrives through two task groups is reported without them."""

    @actor(backoff=AT_ONCE)
    async def nested(ctx: Context) -> None:
        ctx.ready()
        async with anyio.create_task_group() as outer, anyio.create_task_group():
            outer.start_soon(anyio.sleep_forever)
            await checkpoint()
            raise LookupError("deep")

    with pytest.raises(BudgetExhausted) as caught:
        async with run(Supervisor("tree", budget=Budget(0), children=[nested()])):
            await anyio.sleep_forever()
    assert isinstance(caught.value.__cause__, LookupError)


# --- the traps


@only_asyncio
@pytest.mark.anyio
async def test_a_stray_cancellation_is_a_crash_of_that_child_only(virtual_backend):
    """A driver's cancelled future ends its own actor, as a crash, and nobody else's (anyio#374)."""

    @actor(backoff=AT_ONCE)
    async def driver(ctx: Context) -> None:
        ctx.ready()
        if ctx.incarnation == 1:
            future = asyncio.get_running_loop().create_future()
            future.cancel()
            await future
        await ctx.stopping.wait()

    runtime = run(Supervisor("tree", children=[idler(), driver()]))
    events = runtime.events()
    async with runtime:
        ended = await next_event(events, ChildEnded)
        assert (ended.path, ended.ending) == ("tree/driver", "crash")
        assert ended.failure is not None
        assert ended.failure.type == "StrayCancellation"
        ready = await next_event(events, ChildReady, "tree/driver")
        assert ready.incarnation == 2
        assert runtime.snapshot("tree/idler").incarnation == 1


@only_asyncio
@pytest.mark.anyio
async def test_a_native_cancel_loses_no_message(virtual_backend):
    """A task cancelled natively in the moment its message arrives leaves the message to the next incarnation."""
    tasks: list[asyncio.Task] = []
    handled: list[str] = []

    @actor(backoff=AT_ONCE)
    async def reader(ctx: Context, inbox: Inbox[Say]) -> None:
        tasks.append(asyncio.current_task())
        async for message in inbox:
            handled.append(message.word)  # noqa: PERF401 # looked at before the inbox ends

    spec = reader()
    runtime = run(Supervisor("tree", children=[spec]))
    events = runtime.events()
    async with runtime:
        await next_event(events, ChildReady)
        await spec.ref.tell(Say("kept"))  # wakes the reader...
        tasks[0].cancel()  # ...which is cancelled before it runs
        await next_event(events, ChildReady)
        await checkpoint()
        assert handled == ["kept"]


@only_asyncio
@pytest.mark.anyio
async def test_a_native_cancel_of_a_sender_puts_nothing(virtual_backend):
    """A sender cancelled natively in the moment its place is granted has not sent, and the place goes on."""

    @actor()
    async def slow(ctx: Context, inbox: Inbox[Say], *, gate: anyio.Event) -> None:
        ctx.ready()
        await gate.wait()
        async for message in inbox:
            heard.append(message.word)  # noqa: PERF401 # looked at before the inbox ends

    heard: list[str] = []
    gate = anyio.Event()
    spec = slow(gate=gate).options(mailbox=Mailbox(1))
    async with run(Supervisor("tree", children=[spec])):
        await spec.ref.tell(Say("one"))
        first = asyncio.ensure_future(spec.ref.tell(Say("two")))
        second = asyncio.ensure_future(spec.ref.tell(Say("three")))
        await checkpoint()
        box = spec.ref.address.box
        box.lease()  # a place becomes free and is granted to "two"
        first.cancel()
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        await anyio.wait_all_tasks_blocked()
        assert heard == ["three"]


@pytest.mark.anyio
async def test_a_start_fails_in_time_although_cleanup_is_shielded():
    """A child that is not ready fails the start at its start_timeout; its shielded cleanup delays only the stop."""

    @actor(start_timeout=2, kill_grace=100)
    async def sticky(ctx: Context) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(50)

    runtime = run(Supervisor("tree", children=[sticky()]))
    events = runtime.events()
    began = anyio.current_time()
    with pytest.raises(StartFailed, match="tree/sticky") as caught:
        async with runtime:
            pass
    refused = seen(events, StartRefused)[0]
    assert refused.at - began == 2
    assert "sleep_forever" in caught.value.stack


@pytest.mark.anyio
async def test_an_error_masked_by_a_cancelled_cleanup_is_reported_first():
    """A crash whose cleanup hangs and is cancelled by the watchdog shows both errors, the original first (trio#455)."""

    @actor(backoff=AT_ONCE, watchdog=30)
    async def masked(ctx: Context, inbox: Inbox[Say]) -> None:
        async for _ in inbox:
            try:
                raise LookupError("the original")
            finally:
                await anyio.sleep_forever()

    spec = masked()
    runtime = run(Supervisor("tree", children=[spec]))
    events = runtime.events()
    async with runtime:
        await spec.ref.tell(Say("x"))
        ended = await next_event(events, ChildEnded)
        assert ended.ending == "crash"
        text = ended.failure.text
        assert 0 < text.index("the original") < text.index("made no progress")


@pytest.mark.anyio
@pytest.mark.parametrize("order", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("wrapped", [False, True])
async def test_orders_to_leave_are_never_restarted(order, wrapped):
    """KeyboardInterrupt and SystemExit stop the tree in order and come out of run, even from inside a group."""
    lives: list[int] = []

    @actor(backoff=AT_ONCE)
    async def leaver(ctx: Context) -> None:
        ctx.ready()
        lives.append(ctx.incarnation)
        await checkpoint()
        raise BaseExceptionGroup("group", [ValueError(), order(3)]) if wrapped else order(3)

    runtime = run(Supervisor("tree", children=[idler(), Supervisor("below", children=[leaver()])]))
    events = runtime.events()
    with pytest.raises(order):
        async with runtime:
            await anyio.sleep_forever()
    assert lives == [1]
    assert [e.path for e in seen(events, ChildEnded)] == ["tree/below/leaver", "tree/below", "tree/idler", "tree"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])  # real time: virtual time stands still while one spins
async def test_a_child_that_swallows_cancellation_does_not_spin_the_loop():
    """After kill_grace the engine stops cancelling, so what swallows it sleeps instead of running on every turn."""
    swallowed = 0
    let_go = anyio.Event()

    @actor(stop=0, kill_grace=0.02)
    async def swallower(ctx: Context) -> None:
        nonlocal swallowed
        ctx.ready()
        while not let_go.is_set():
            try:
                await let_go.wait()
            except BaseException:  # noqa: BLE001 # the fault under test
                swallowed += 1

    runtime = run(Supervisor("tree", children=[swallower()]))
    events = runtime.events()
    async with runtime:
        runtime.stop()
        unstopped = await next_event(events, ChildUnstopped)
        assert "let_go.wait()" in unstopped.stack
        for _ in range(5):
            await checkpoint()
        settled = swallowed
        for _ in range(100):
            await checkpoint()
        assert swallowed == settled
        let_go.set()


@pytest.mark.anyio
async def test_a_child_is_restarted_only_after_its_last_life_ended():
    """The next incarnation is spawned when all cleanup of the last is through, so what it held is free."""
    holding = 0

    @actor(backoff=AT_ONCE)
    async def holder(ctx: Context) -> None:
        nonlocal holding
        assert holding == 0
        holding += 1
        try:
            ctx.ready()
            if ctx.incarnation == 1:
                raise ValueError
            await ctx.stopping.wait()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(5)
            holding -= 1

    runtime = run(Supervisor("tree", children=[holder()]))
    events = runtime.events()
    async with runtime:
        await next_event(events, ChildReady)
        ready = await next_event(events, ChildReady)
        assert (ready.incarnation, anyio.current_time()) == (2, ready.at)


VARIABLE: ContextVar[str] = ContextVar("variable", default="blank")


@pytest.mark.anyio
@pytest.mark.parametrize("cause", ["hung", "killed", "start_timeout", "by hand"])
async def test_no_life_begins_before_the_last_has_ended(cause):
    """Whatever ends a life, its cleanup is through before the next begins, and nothing is charged twice."""
    lives: list[int] = []

    @actor(backoff=AT_ONCE, watchdog=30, start_timeout=5, stop=1, kill_grace=100)
    async def sticky(ctx: Context, inbox: Inbox[Say]) -> None:
        assert not lives, "two lives at the same time"
        lives.append(ctx.incarnation)
        try:
            if cause == "start_timeout" and ctx.incarnation == 2:
                await anyio.sleep_forever()
            async for message in inbox:
                if message.word == "crash":
                    raise ValueError
                await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(20)
            lives.clear()

    spec = sticky()
    runtime = run(Supervisor("tree", budget=Budget(2), children=[spec]), grace=200)
    async with runtime:
        await spec.ref.tell(Say("crash" if cause == "start_timeout" else "hold"))
        await anyio.wait_all_tasks_blocked()
        if cause == "killed":
            await runtime.kill("tree/sticky")
        elif cause == "by hand":
            await runtime.restart("tree/sticky")
        await anyio.sleep(100)
        assert lives == [3 if cause == "start_timeout" else 2]
        assert runtime.snapshot("tree/sticky").state == "ready"


@pytest.mark.anyio
async def test_every_incarnation_starts_with_a_fresh_context():
    """What the caller of run, or an earlier life, put into a context variable is not there."""
    VARIABLE.set("the caller's")
    found: list[str] = []

    @actor(backoff=AT_ONCE)
    async def looker(ctx: Context) -> None:
        found.append(VARIABLE.get())
        VARIABLE.set("mine")
        ctx.ready()
        if ctx.incarnation < 3:
            raise ValueError
        await ctx.stopping.wait()

    runtime = run(Supervisor("tree", children=[looker()]))
    events = runtime.events()
    async with runtime:
        for _ in range(3):
            await next_event(events, ChildReady)
    assert found == ["blank", "blank", "blank"]


@pytest.mark.anyio
async def test_an_exception_that_cannot_be_printed_is_still_a_crash():
    """An error with a broken __str__ is reported and its child restarted."""

    class Unprintable(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    @actor(backoff=AT_ONCE)
    async def odd(ctx: Context) -> None:
        ctx.ready()
        if ctx.incarnation == 1:
            raise Unprintable
        await ctx.stopping.wait()

    runtime = run(Supervisor("tree", children=[odd()]))
    events = runtime.events()
    async with runtime:
        ended = await next_event(events, ChildEnded)
        assert "Unprintable" in str(ended.failure)
        assert (await next_event(events, ChildReady)).incarnation == 2


def test_a_report_keeps_no_frame_alive():
    """A failure can be kept for long: the locals of the code that failed are not kept with it."""

    class Big:
        pass

    def fail(big):
        raise ValueError("with a big local")

    def report():
        try:
            fail(Big())
        except ValueError as error:
            return failure_of(error)

    kept = report()
    gc.collect()
    assert not [thing for thing in gc.get_objects() if isinstance(thing, Big)]
    assert "with a big local" in kept.text


@pytest.mark.anyio
async def test_a_crash_leaves_no_garbage():
    """What a crashed life held is gone at once, without the collector of cyclic garbage."""

    @actor(backoff=AT_ONCE)
    async def crasher(ctx: Context, inbox: Inbox[Say]) -> None:
        async for _ in inbox:
            raise ValueError

    spec = crasher()
    async with run(Supervisor("tree", budget=Budget(1000), children=[spec])):
        await anyio.wait_all_tasks_blocked()
        gc.collect()
        gc.disable()
        try:
            for _ in range(20):
                await spec.ref.tell(Say("crash"))
                await anyio.wait_all_tasks_blocked()
            lives = [thing for thing in gc.get_objects() if isinstance(thing, Incarnation)]
        finally:
            gc.enable()
        assert spec.ref.statistics().dead == 20
    assert len(lives) == 2  # that of the root and that of the child


@pytest.mark.anyio
async def test_a_cancellation_says_why():
    """Whoever looks at the cancelled task finds the reason in the exception itself, not only in an event."""
    told: list[str] = []

    @actor(stop=1)
    async def deaf(ctx: Context) -> None:
        ctx.ready()
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as error:
            told.append(str(error))
            raise

    async with run(Supervisor("tree", children=[deaf()])):
        pass
    assert "did not stop within 1 s" in told[0]


@pytest.mark.anyio
async def test_what_swallowed_its_cancellation_is_cancelled_again_where_it_waits_later():
    """A child that outlived its kill_grace behind a shield and then waits for ever ends all the same."""

    @actor(stop=1, kill_grace=2)
    async def late(ctx: Context) -> None:
        ctx.ready()
        with anyio.CancelScope(shield=True):
            await anyio.sleep(50)
        await anyio.sleep_forever()

    runtime = run(Supervisor("tree", children=[late()]), grace=1000)
    events = runtime.events()
    began = anyio.current_time()
    async with runtime:
        pass
    unstopped = seen(events, ChildUnstopped)
    assert [event.at - began for event in unstopped] == [3]
    assert 50 <= anyio.current_time() - began <= 52
