"""The duties of a tree that is the whole process: signals, systemd, garbage, and a loop that does not turn."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType
from typing import Protocol

from anyio import CancelScope, Event, open_signal_receiver, sleep
from anyio.abc import TaskGroup
from anyio.lowlevel import current_token
from msgspec import Struct

from tds_runtime.blocked import LoopWatch
from tds_runtime.errors import SignalsTaken
from tds_runtime.garbage import Care, Garbage
from tds_runtime.snapshot import Count
from tds_runtime.systemd import Systemd

_STEP = 10.0
"""Seconds between two reports to systemd that no watchdog asks for."""


class Served(Protocol):
    """The running tree, as far as the process around it has to do with it."""

    def stop(self, reason: str = "", *, hurry: bool = False) -> None: ...
    def count(self, path: str = "") -> Count: ...
    @property
    def healthy(self) -> bool: ...
    def stacks(self) -> str: ...
    def blocked(self, seconds: float, stacks: str) -> None: ...


class Duties(Struct, frozen=True, kw_only=True):
    """Which of these duties a runtime has taken on."""

    signals: bool = False
    systemd: Systemd | None = None
    blocked_after: float | None = None
    on_hangup: Callable[[], Awaitable[None]] | None = None
    garbage: Care = "hold"


class Service:
    """The duties at work, from `begin` to `end`."""

    def __init__(self, duties: Duties, tree: Served) -> None:
        self._duties = duties
        self._tree = tree
        self._loop_watch: LoopWatch | None = None
        self._garbage = Garbage(duties.garbage)
        self._starting: CancelScope | None = None
        self._stops = False

    def check(self) -> None:
        """Raise SignalsTaken when somebody else handles the signals already."""
        if self._duties.signals:
            _refuse_second_owner()

    def begin(self, group: TaskGroup) -> None:
        """Take on the duties that do not wait for the tree to be ready."""
        self._garbage.hold()
        if self._duties.signals:
            self._hung_up = Event()
            group.start_soon(self._follow_signals)
            if self._duties.on_hangup is not None:
                group.start_soon(self._follow_hangups, self._duties.on_hangup)
        if self._duties.blocked_after is not None:
            self._loop_watch = LoopWatch(current_token(), self._blocked, after=self._duties.blocked_after)
            self._loop_watch.start()
        if self._duties.systemd is not None:
            group.start_soon(self._ask_for_time, self._duties.systemd)

    def ready(self, group: TaskGroup) -> None:
        """The tree is ready."""
        self._garbage.freeze()
        self._started()
        if self._duties.systemd is not None:
            self._duties.systemd.ready()
            group.start_soon(self._report, self._duties.systemd)

    def stopping(self, within: float) -> None:
        """The tree begins to stop, which takes at most `within` seconds."""
        self._started()
        self._stops = True
        if self._duties.systemd is not None:
            self._duties.systemd.stopping()
            self._duties.systemd.extend(within)

    def end(self) -> None:
        """The tree has ended."""
        self._garbage.release()
        if self._loop_watch is not None:
            self._loop_watch.stop()

    def _started(self) -> None:
        if self._starting is not None:
            self._starting.cancel()

    async def _follow_signals(self) -> None:
        asked = False
        with open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as received:
            async for number in received:
                if number != signal.SIGHUP:
                    self._tree.stop(signal.Signals(number).name, hurry=asked)
                    asked = True
                else:
                    self._hung_up.set()

    async def _follow_hangups(self, on_hangup: Callable[[], Awaitable[None]]) -> None:
        """One reload at a time, and one more for all that was asked meanwhile; nobody else waits for it."""
        systemd = self._duties.systemd
        while True:
            await self._hung_up.wait()
            self._hung_up = Event()
            if systemd is not None:
                systemd.reloading()
            await on_hangup()
            if systemd is not None and not self._stops:
                systemd.ready()

    async def _ask_for_time(self, systemd: Systemd) -> None:
        """Each child has a start_timeout of its own; the manager's is for a process that has none."""
        with CancelScope() as self._starting:
            while True:
                await sleep(_STEP)
                systemd.extend(3 * _STEP)

    async def _report(self, systemd: Systemd) -> None:
        while True:
            count = self._tree.count()
            systemd.status(f"{count.active} of {count.specs} children running")
            if systemd.watchdog is not None and self._tree.healthy:
                systemd.alive()
            await sleep(_STEP if systemd.watchdog is None else systemd.watchdog / 3)

    def _blocked(self, seconds: float, stack: str) -> None:
        """Called in the watching thread: the loop cannot say it itself before it turns again."""
        stacks = f"{stack}\n{self._tree.stacks()}"
        sys.stderr.write(f"the event loop has not turned for {seconds:.1f} s\n{stacks}\n")
        assert self._loop_watch is not None
        self._loop_watch.tell_loop(partial(self._tree.blocked, seconds, stacks))


def exit_at_once(stacks: str) -> None:
    """Leave the process although something in it cannot be stopped; the service manager starts a new one."""
    sys.stderr.write(f"these children cannot be stopped:\n{stacks}\n")
    sys.stderr.flush()
    os._exit(1)


def _refuse_second_owner() -> None:
    known: tuple[object, ...] = (signal.SIG_DFL, signal.SIG_IGN, None)
    handler: Callable[[int, FrameType | None], object] | int | None = signal.getsignal(signal.SIGTERM)
    if handler not in known:
        raise SignalsTaken(f"SIGTERM is handled by {handler!r}")
