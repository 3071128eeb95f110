from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import anyio
import pytest
from anyio.lowlevel import checkpoint
from fixtures.trees import next_event, seen
from msgspec import Struct

from tds_runtime import Backoff, Budget, Context, Count, Inbox, Supervisor, actor, run
from tds_runtime.errors import BudgetExhausted, NoSuchChild, NotRunning, SignalsTaken, SpecError, StartFailed
from tds_runtime.events import (
    ChildCancelled,
    ChildEnded,
    ChildHung,
    ChildReady,
    Lagged,
    LoopBlocked,
    StopRequested,
    TreeReady,
    TreeStopped,
    TreeStopping,
)
from tds_runtime.systemd import Systemd

real_time = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


class Crash(Struct, frozen=True):
    pass


class Work(Struct, frozen=True):
    seconds: float


@actor(backoff=Backoff(0))
async def worker(ctx: Context, inbox: Inbox[Crash | Work]) -> None:
    async for message in inbox:
        match message:
            case Crash():
                raise LookupError("crash")
            case Work(seconds):
                await anyio.sleep(seconds)


@actor()
async def slow_stop(ctx: Context, *, seconds: float) -> None:
    ctx.ready()
    await ctx.stopping.wait()
    await anyio.sleep(seconds)


def tree(*children, **options):
    return Supervisor("tree", children=children, **options)


# --- entering and leaving


@pytest.mark.anyio
async def test_leaving_the_block_stops_the_tree_in_order():
    """The block is entered when all is ready; when it is left, everything has stopped."""
    runtime = run(tree(slow_stop(seconds=3)))
    events = runtime.events()
    async with runtime:
        began = anyio.current_time()
    assert anyio.current_time() - began == 3
    kinds = [type(event) for event in seen(events, object)]
    assert kinds.index(TreeReady) < kinds.index(TreeStopping) < kinds.index(TreeStopped)


@pytest.mark.anyio
async def test_an_error_in_the_block_leaves_as_it_is_after_an_orderly_stop():
    """The tree is stopped in order, and the error comes out unwrapped."""
    began = anyio.current_time()
    with pytest.raises(LookupError, match="mine"):
        async with run(tree(slow_stop(seconds=3))):
            raise LookupError("mine")
    assert anyio.current_time() - began == 3


@pytest.mark.anyio
async def test_a_cancelled_block_still_stops_in_order():
    """Cancelling whoever runs the tree ends it gracefully, within the grace, and then goes on."""
    runtime = run(tree(slow_stop(seconds=3)))
    events = runtime.events()
    began = anyio.current_time()
    with anyio.move_on_after(10) as scope:
        async with runtime:
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert anyio.current_time() - began == 13
    assert seen(events, ChildEnded)[0].ending == "shutdown"


@pytest.mark.anyio
async def test_a_cancelled_start_stops_what_had_started():
    """Cancelling the entry takes down what is up, in order."""

    @actor()
    async def never(ctx: Context) -> None:
        await ctx.stopping.wait()

    runtime = run(tree(slow_stop(seconds=3), never()))
    events = runtime.events()
    with anyio.move_on_after(5) as scope:
        async with runtime:
            pytest.fail("never entered")
    assert scope.cancelled_caught
    assert [event.path for event in seen(events, ChildEnded)] == ["tree/never", "tree/slow_stop", "tree"]


@pytest.mark.anyio
async def test_a_start_that_is_cancelled_beforehand_ends():
    """Entering inside a cancelled scope starts nothing that stays."""
    with anyio.CancelScope() as scope:
        scope.cancel()
        async with run(tree(slow_stop(seconds=3))):
            pytest.fail("never entered")
    assert scope.cancelled_caught


@pytest.mark.anyio
async def test_a_failing_tree_is_bound_by_the_grace_too():
    """A root that gives up stops in order, but not longer than the grace."""
    spec = worker()
    with pytest.raises(BudgetExhausted):  # noqa: PT012 # the error comes out of the whole block
        async with run(tree(slow_stop(seconds=1000).options(stop=1000), spec, budget=Budget(0)), grace=25):
            began = anyio.current_time()
            await spec.ref.tell(Crash())
            await anyio.sleep_forever()
    assert anyio.current_time() - began == 25


@pytest.mark.anyio
async def test_what_cannot_be_stopped_is_abandoned_as_soon_as_nothing_else_is_left():
    """The root gives up, one child swallows its cancellation: the owner is asked at once, not after the grace."""
    release = anyio.Event()
    asked_at: list[float] = []

    @actor(stop=1, kill_grace=2)
    async def stubborn(ctx: Context) -> None:
        ctx.ready()
        with anyio.CancelScope(shield=True):
            await release.wait()

    def abandon(stacks: str) -> None:
        asked_at.append(anyio.current_time())
        release.set()

    spec = worker()
    nested = Supervisor("nested", children=[stubborn()])
    with pytest.raises(BudgetExhausted):  # noqa: PT012 # the error comes out of the whole block
        async with run(tree(nested, spec, budget=Budget(0)), grace=100, abandon=abandon):
            began = anyio.current_time()
            await spec.ref.tell(Crash())
            await anyio.sleep_forever()
    assert asked_at == [began + 1 + 2]


@pytest.mark.anyio
async def test_a_failed_tree_cancels_the_block_and_raises():
    """When the root gives up, the block is interrupted wherever it is, and the reason comes out of it."""
    spec = worker()
    with pytest.raises(BudgetExhausted):  # noqa: PT012 # the error comes out of the whole block
        async with run(tree(spec, budget=Budget(0))):
            await spec.ref.tell(Crash())
            await anyio.sleep_forever()
    spec = worker()
    with pytest.raises(BudgetExhausted):  # noqa: PT012 # the error comes out of the whole block
        async with run(tree(spec, budget=Budget(0))) as runtime:
            await spec.ref.tell(Crash())
            await runtime.wait()


@pytest.mark.anyio
async def test_a_block_that_waits_goes_on_after_a_requested_stop():
    """wait() returns when the tree has ended; a block that does not wait is cancelled then, so that a daemon ends."""
    runtime = run(tree(worker()))
    async with runtime:
        runtime.stop("enough")
        await runtime.wait()
        await checkpoint()
    async with run(tree(worker())) as runtime:
        runtime.stop("enough")
        await anyio.sleep_forever()


@pytest.mark.anyio
async def test_a_runtime_runs_once():
    """Entering a second time is refused; making another runtime of the same tree is fine."""
    described = tree(worker())
    runtime = run(described)
    with pytest.raises(NotRunning):
        runtime.snapshot()
    async with runtime:
        pass
    with pytest.raises(RuntimeError):
        await runtime.__aenter__()
    async with run(described):
        pass


@pytest.mark.anyio
async def test_a_single_actor_runs_under_a_supervisor_of_its_own():
    """Run takes one spec, too."""
    spec = worker()
    async with run(spec) as runtime:
        assert spec.ref.path == "main/worker"
        assert runtime.count() == Count(1, 1, 0, 1)


def test_a_grace_without_end_is_refused():
    """The stop has a deadline."""
    with pytest.raises(SpecError):
        run(tree(), grace=float("inf"))


@pytest.mark.anyio
async def test_an_empty_tree_runs():
    """A supervisor without children is ready at once."""
    async with run(tree()) as runtime:
        assert runtime.count() == Count(0, 0, 0, 0)


# --- looking at it


@pytest.mark.anyio
async def test_snapshot_and_count():
    """The snapshot shows every child with state, lives, error and mailbox; count sums up what is below a path."""
    first, second = worker().named("first"), worker().named("second").options(backoff=Backoff(50, 50))
    async with run(tree(first, Supervisor("nested", children=[second]))) as runtime:
        await second.ref.tell(Crash())
        await anyio.sleep(10)
        await first.ref.tell(Work(100))
        await first.ref.tell(Work(100))
        await anyio.sleep(5)
        assert runtime.count() == runtime.count("tree") == Count(3, 2, 1, 2)
        assert runtime.count("tree/nested") == Count(1, 0, 0, 1)
        root = runtime.snapshot()
        assert (root.kind, root.state, [child.name for child in root.children]) == (
            "supervisor",
            "ready",
            ["first", "nested"],
        )
        busy = root.children[0]
        assert (busy.uptime, busy.leased_age, busy.mailbox.queued, busy.mailbox.leased) == (15, 5, 1, 1)
        down = runtime.snapshot("tree/nested/second")
        assert (down.state, down.last_error, down.uptime) == ("delayed", "LookupError: crash", 0)


@pytest.mark.anyio
async def test_unknown_paths_are_named():
    """Looking for what is not there says where the path breaks off."""
    async with run(tree(worker())) as runtime:
        with pytest.raises(NoSuchChild, match="tree has no child 'nobody'"):
            runtime.snapshot("tree/nobody")
        with pytest.raises(NoSuchChild, match="the tree is called tree"):
            runtime.count("forest")
        with pytest.raises(NotRunning):
            await runtime.kill("tree")


@pytest.mark.anyio
async def test_a_slow_listener_loses_the_oldest_events_and_learns_how_many():
    """The broadcast never waits: a full subscription drops its oldest and says so."""
    spec = worker()
    async with run(tree(spec, budget=Budget(100))) as runtime:
        with runtime.events(capacity=3) as slow:
            for _ in range(5):
                await spec.ref.tell(Crash())
                await anyio.wait_all_tasks_blocked()
            missed = await anext(slow)
            assert isinstance(missed, Lagged)
            assert missed.missed > 10
            assert (slow.statistics().missed, slow.statistics().waiting) == (missed.missed, 3)
            assert isinstance([await anext(slow) for _ in range(3)][-1], ChildReady)
        assert [event async for event in slow] == []


@pytest.mark.anyio
async def test_listeners_that_are_gone_cost_nothing():
    """A subscription that nobody holds any more is forgotten."""
    async with run(tree(worker())) as runtime:
        for _ in range(100):
            runtime.events()
        kept = runtime.events()
        assert len(runtime._broadcast._subscriptions) <= 2
        assert kept is not None


# --- signals


@real_time
@pytest.mark.anyio
async def test_sigterm_stops_the_tree(anyio_backend):
    """SIGTERM stops the tree in order and wait() returns."""
    runtime = run(tree(worker()), signals=True)
    events = runtime.events()
    async with runtime:
        os.kill(os.getpid(), signal.SIGTERM)
        with anyio.fail_after(5):
            await runtime.wait()
    assert seen(events, TreeStopping)[0].reason == "SIGTERM"


@real_time
@pytest.mark.anyio
async def test_a_second_sigterm_skips_the_graceful_phase(anyio_backend):
    """The second SIGTERM cancels what is stopping."""
    runtime = run(tree(slow_stop(seconds=1000).options(stop=1000)), signals=True, grace=20)
    events = runtime.events()
    async with runtime:
        with anyio.fail_after(5):
            os.kill(os.getpid(), signal.SIGTERM)
            await next_event(events, StopRequested)
            os.kill(os.getpid(), signal.SIGTERM)
            assert (await next_event(events, ChildCancelled)).reason == "hurry"
            await runtime.wait()


PROCESS = """
import os, signal, sys
import anyio
from tds_runtime import Budget, Context, Supervisor, actor, run

@actor(stop=0.1, kill_grace=0.1)
async def stubborn(ctx: Context) -> None:
    ctx.ready()
    if sys.argv[1] == "crash":
        raise ValueError("by its own fault")
    with anyio.CancelScope(shield=True):
        await anyio.sleep(60)

@actor()
async def orderly(ctx: Context) -> None:
    ctx.ready()
    await ctx.stopping.wait()
    print("stopped in order", flush=True)

async def main():
    tree = Supervisor("tree", budget=Budget(0), children=[orderly(), stubborn()])
    async with run(tree, signals=True) as runtime:
        os.kill(os.getpid(), signal.SIGTERM) if sys.argv[1] == "stop" else None
        await runtime.wait()

anyio.run(main, backend=sys.argv[2])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize(("act", "said"), [("crash", "BudgetExhausted"), ("stop", "line 12, in stubborn")])
def test_a_tree_that_owns_its_process_leaves_with_a_status(act, said, backend):
    """Exhausted, or with a child that cannot be stopped: the others stop in order, stderr says why, status 1."""
    began = time.monotonic()
    process = [sys.executable, "-c", PROCESS, act, backend]
    done = subprocess.run(process, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert done.stdout == "stopped in order\n"
    assert said in done.stderr
    assert time.monotonic() - began < 20  # and not after the minute of what cannot be stopped


@real_time
@pytest.mark.anyio
async def test_signals_have_one_owner(anyio_backend):
    """A second runtime that wants the signals is refused, and has started nothing."""
    async with run(tree(worker()), signals=True):
        inner = run(tree(worker()), signals=True)
        events = inner.events()
        with pytest.raises(SignalsTaken):
            await inner.__aenter__()
        assert seen(events, object) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@real_time
@pytest.mark.anyio
async def test_sighup_calls_back(anyio_backend):
    """SIGHUP runs what the daemon wants to do then, and stops nothing."""
    called = anyio.Event()

    async def reload() -> None:
        called.set()

    async with run(tree(worker()), signals=True, on_hangup=reload) as runtime:
        os.kill(os.getpid(), signal.SIGHUP)
        with anyio.fail_after(5):
            await called.wait()
        assert runtime.snapshot().state == "ready"


@real_time
@pytest.mark.anyio
async def test_a_reload_keeps_nobody_from_stopping(anyio_backend):
    """SIGTERM is followed while SIGHUP's work takes its time, and so is a second SIGHUP, once the first is done."""
    begun: list[int] = []
    go_on = anyio.Event()

    async def reload() -> None:
        begun.append(len(begun))
        if len(begun) == 1:
            await go_on.wait()
        else:
            os.kill(os.getpid(), signal.SIGTERM)
            await anyio.sleep_forever()

    async with run(tree(worker()), signals=True, on_hangup=reload) as runtime:
        os.kill(os.getpid(), signal.SIGHUP)
        with anyio.fail_after(5):
            while not begun:
                await anyio.lowlevel.checkpoint()
            os.kill(os.getpid(), signal.SIGHUP)
            go_on.set()
            await runtime.wait()
    assert begun == [0, 1]


# --- systemd


@pytest.fixture
def notify_socket(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield receiver


def received(receiver: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(receiver.recv(4096).decode())
        except BlockingIOError:
            return messages


@pytest.mark.anyio
async def test_systemd_hears_ready_watchdog_and_stopping(notify_socket, monkeypatch):
    """READY when every child is, WATCHDOG in time, STOPPING at the end, and a status line."""
    monkeypatch.setenv("NOTIFY_SOCKET", notify_socket.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    async with run(tree(worker()), sd_notify=True):
        await anyio.sleep(25)  # more would overflow the ten datagrams a socket holds
    heard = received(notify_socket)
    assert heard[0] == "READY=1"
    assert heard[-2:] == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=26000000"]
    assert heard.count("WATCHDOG=1") == 3
    assert "STATUS=1 of 1 children running" in heard


@pytest.mark.anyio
async def test_the_watchdog_is_silent_while_a_child_is_hung(notify_socket, monkeypatch):
    """A hung child that does not go away stops the pings, so that systemd restarts the process."""
    monkeypatch.setenv("NOTIFY_SOCKET", notify_socket.getsockname())
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    release = anyio.Event()

    @actor(watchdog=30, backoff=Backoff(0))
    async def stuck(ctx: Context, inbox: Inbox[Work]) -> None:
        async for _ in inbox:
            with anyio.CancelScope(shield=True):
                await release.wait()

    spec = stuck()
    runtime = run(tree(spec), sd_notify=True)
    events = runtime.events()
    async with runtime:
        await spec.ref.tell(Work(1))
        await next_event(events, ChildHung)
        healthy = [runtime.healthy]
        received(notify_socket)
        await anyio.sleep(15)
        heard = received(notify_socket)
        release.set()
        await anyio.sleep(25)
        healthy.append(runtime.healthy)
        heard_again = received(notify_socket)
    assert healthy == [False, True]
    assert "WATCHDOG=1" not in heard
    assert "WATCHDOG=1" in heard_again


@pytest.mark.anyio
async def test_systemd_gives_a_long_start_more_time(notify_socket, monkeypatch):
    """While a tree starts the manager hears every 10 s that it goes on; once it is ready, no more."""
    monkeypatch.setenv("NOTIFY_SOCKET", notify_socket.getsockname())

    @actor(start_timeout=60)
    async def slow(ctx: Context) -> None:
        await anyio.sleep(35)
        ctx.ready()
        await ctx.stopping.wait()

    async with run(tree(slow()), sd_notify=True):
        await anyio.sleep(15)
        heard = received(notify_socket)
    assert heard[:4] == ["EXTEND_TIMEOUT_USEC=30000000"] * 3 + ["READY=1"]
    assert not [state for state in heard[4:] if state.startswith("EXTEND")]


@real_time
@pytest.mark.anyio
async def test_systemd_hears_of_a_reload(anyio_backend, notify_socket, monkeypatch):
    """RELOADING with the manager's clock before SIGHUP's work, READY after it."""
    monkeypatch.setenv("NOTIFY_SOCKET", notify_socket.getsockname())
    told: list[str] = []
    called = anyio.Event()

    async def reload() -> None:
        told.extend(received(notify_socket))
        called.set()

    async with run(tree(worker()), signals=True, sd_notify=True, on_hangup=reload):
        before = time.monotonic_ns() // 1000
        os.kill(os.getpid(), signal.SIGHUP)
        with anyio.fail_after(5):
            await called.wait()
        after = received(notify_socket)
    state, _, stamp = told[-1].partition("\nMONOTONIC_USEC=")
    assert state == "RELOADING=1"
    assert before <= int(stamp) <= time.monotonic_ns() // 1000
    assert after[0] == "READY=1"


def test_systemd_without_a_socket_or_for_another_process_is_silent(tmp_path):
    """Without NOTIFY_SOCKET nothing is sent; another process's watchdog is not ours; a dead socket is fine."""
    assert Systemd({}).watchdog is None
    Systemd({}).ready()
    environ = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert Systemd(environ, pid=2).watchdog is None
    assert Systemd(environ, pid=1).watchdog == 1.0
    Systemd(environ).status("two\nlines")


def test_systemd_speaks_to_abstract_sockets():
    """An address that begins with @ is an abstract one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("\0tds-runtime-test")
        Systemd({"NOTIFY_SOCKET": "@tds-runtime-test"}).status("two\nlines")
        assert receiver.recv(100) == b"STATUS=two lines"


# --- a blocked loop


@real_time
@pytest.mark.anyio
async def test_a_blocked_loop_is_reported_with_the_stack_of_who_holds_it(anyio_backend, capfd):
    """A child that holds the loop is named by stack, on stderr while it lasts, as an event when it is over."""

    @actor(watchdog=None)
    async def blocker(ctx: Context, inbox: Inbox[Work]) -> None:
        async for message in inbox:
            hold_the_loop(message.seconds)

    def hold_the_loop(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and "hold_the_loop" not in capfd.readouterr().err:
            threading.Event().wait(0.01)

    spec = blocker()
    runtime = run(tree(spec), blocked_after=0.05)
    events = runtime.events()
    async with runtime:
        await spec.ref.tell(Work(10))
        with anyio.fail_after(20):
            event = await next_event(events, LoopBlocked)
        assert event.seconds >= 0.05
        assert "hold_the_loop" in event.stacks
        assert "tree/blocker" in event.stacks


@pytest.mark.anyio
async def test_a_start_failure_leaves_nothing_behind():
    """After a failed start no task of the tree is left."""

    @actor()
    async def broken(ctx: Context) -> None:
        raise ValueError

    before = len(anyio.get_running_tasks())
    with pytest.raises(StartFailed):
        async with run(tree(worker(), broken()), sd_notify=True, blocked_after=10):
            pass
    assert len(anyio.get_running_tasks()) == before
