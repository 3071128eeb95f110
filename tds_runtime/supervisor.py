"""A running supervisor: one loop over ended children and deadlines, which starts, restarts and stops in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from anyio import CancelScope, Event, create_task_group, get_cancelled_exc_class
from anyio.lowlevel import checkpoint_if_cancelled

from tds_runtime.context import Context
from tds_runtime.errors import EndedUnready, StartFailed, StartTimeout
from tds_runtime.events import StartRefused
from tds_runtime.failure import failure_of
from tds_runtime.incarnation import Ending
from tds_runtime.lifecycle import Lifecycle
from tds_runtime.slot import Running, Slot, State, World
from tds_runtime.spec import Supervisor
from tds_runtime.sweep import Sweep


class Supervision(ABC):
    """One incarnation of a supervisor: what it does by itself. `Operations` adds what others may ask of it.

    Everything a supervisor does is a reaction in `_turn`, which never waits, so nothing here runs at the same time as
    anything else. Its own task calls it when the clock or a request wakes it; a child's task, as its last act.
    """

    def __init__(self, slot: Slot, world: World, ctx: Context, on_stuck: Callable[[Slot], None]) -> None:
        assert isinstance(slot.spec, Supervisor)
        self.slot = slot
        self.spec = slot.spec
        self.children = slot.children
        self.world = world
        self._ctx = ctx
        self._on_stuck = on_stuck
        self._lifecycle = Lifecycle(world, on_ready=self._noted, on_end=self._ended_in_its_task, supervise=self._nested)
        self._ended: deque[tuple[Slot, Ending]] = deque()
        self._requests: deque[Callable[[], None]] = deque()
        self._wake = Event()
        self._failure: BaseException | None = None
        self._leaving = False
        self._hurry = False
        self._final = False
        self._told_stuck = False
        self._sweep: Sweep | None = None

    # --- the loop

    async def run(self) -> None:
        """Start all children in order, keep them as the strategy says, and stop them in reverse order.

        Raises StartFailed, BudgetExhausted, or what a child raised to end the process.
        """
        self._prepare()
        try:
            async with create_task_group() as self._lifecycle.group:
                await self._see_through()
        except get_cancelled_exc_class():
            if self._failure is None:
                raise
        finally:
            self._closed()
        if self._failure is not None:
            raise self._failure

    async def _see_through(self) -> None:
        try:
            await self._supervise()
        except get_cancelled_exc_class():
            with CancelScope(shield=True):  # the children are cancelled with us; see them to their end
                self._all_cancelled()
                await self._supervise()
            raise

    @abstractmethod
    def _closed(self) -> None:
        """Nothing that is asked from here on will be heard."""

    def _prepare(self) -> None:
        """All children are to be started, but what was quarantined under our last incarnation stays so."""
        now = self.world.clock()
        starts: list[Slot] = []
        for slot in self.children.values():
            if slot.probes:
                self._quarantine(slot, now)
            else:
                slot.state = "waiting"
                starts.append(slot)
        self._sweep = Sweep(starts=starts, first=True)

    async def _supervise(self) -> None:
        await checkpoint_if_cancelled()
        while not self._over():
            with CancelScope(deadline=self._lifecycle.deadlines.earliest()) as self._lifecycle.sleep:
                await self._react()
            self._lifecycle.sleep = None
            await checkpoint_if_cancelled()

    async def _react(self) -> None:
        """React to what wakes us, until everything has stopped or a deadline cancels the wait.

        One scope serves many waits, as making one is a good part of what a restart costs. Its deadline moves forward
        with each nearer one, and back only when it has passed: then there is nothing to do, and a new scope begins.
        """
        while True:
            self._wake = Event()
            await self._wake.wait()
            await checkpoint_if_cancelled()  # an end may have woken us first, and nothing may follow from it any more
            if self._over():
                return

    def _over(self) -> bool:
        """React to all that has happened; true when everything has stopped."""
        self._turn()
        if not self._leaving or self._sweep is not None:
            return False
        over = all(slot.life is None for slot in self.children.values())
        if not over and not self._told_stuck:
            self._told_stuck = True
            self._on_stuck(self.slot)
        return over

    def _turn(self) -> None:
        now = self.world.clock()
        while self._ended:
            slot, ending = self._ended.popleft()
            self._after(slot, ending, now)
        while self._requests:
            self._requests.popleft()()
        for slot in self._lifecycle.deadlines.due(now):
            self._on_deadline(slot, now)
        self._advance(now)

    def _request(self, reaction: Callable[[], None]) -> None:
        self._requests.append(reaction)
        self._wake.set()

    def _noted(self, slot: Slot) -> None:
        """A child became ready; called in its own task."""
        del slot  # the sweep knows which one it waits for
        if self._sweep is not None:
            self._wake.set()

    def _ended_in_its_task(self, slot: Slot, ending: Ending, cancelled: bool) -> None:
        """React at once, as the last thing that a child's task does, unless we are leaving or `cancelled` ourselves.

        To wake our own task for it would be a good part of what a restart costs. Whatever is started here takes its
        first step after this task's last one.
        """
        slot.end(ending)
        self._ended.append((slot, ending))
        if not self._leaving and not cancelled:
            self._turn()
            if not self._leaving:
                return
        self._wake.set()

    @abstractmethod
    def _nested(self, slot: Slot, ctx: Context) -> tuple[Running, Callable[[], Coroutine[Any, Any, None]]]:
        """The running supervisor of a child that is one, and what to run for it."""

    @abstractmethod
    def _after(self, slot: Slot, ending: Ending, now: float) -> None:
        """What follows when a child has ended."""

    @abstractmethod
    def _quarantine(self, slot: Slot, now: float) -> None:
        """Leave a child alone for a while, then try it once."""

    # --- the clock

    def _on_deadline(self, slot: Slot, now: float) -> None:
        if slot is self.slot:  # stands for the time at which a sweep goes on, which the sweep knows
            return
        match slot.state:
            case "starting":
                self._start_timed_out(slot, now)
            case "ready":
                self._lifecycle.review(slot, now)
            case "delayed":
                self._lifecycle.spawn(slot, now)
            case "quarantined":
                slot.probing = True
                self._lifecycle.spawn(slot, now)
            case "stopping":
                self._lifecycle.cancel(slot, now, None, f"did not stop within {slot.spec.stop:g} s")
            case "cancelled":
                self._lifecycle.give_up(slot, now)
            case "unstopped":
                self._lifecycle.nudge(slot, now)

    def _start_timed_out(self, slot: Slot, now: float) -> None:
        assert slot.life is not None
        stack = slot.life.stack()
        error = StartTimeout(f"{slot.path} was not ready within {slot.spec.start_timeout:g} s; it waits at\n{stack}")
        first = self._sweep is not None and self._sweep.starting(slot)
        self._lifecycle.cancel(slot, now, error, "start_timeout")
        if first:
            self._refuse_start(slot, error, stack)

    # --- groups

    def _advance(self, now: float) -> None:
        sweep = self._sweep
        if sweep is None:
            return
        for slot in sweep.to_stop_now():
            self._ask_to_stop(slot, now, "shutdown" if self._leaving else "restart")
        if not sweep.stopped:
            return
        if now < sweep.resume_at:
            self._lifecycle.remind(self.slot, sweep.resume_at)
            return
        following = sweep.next_to_start()
        if following is not None:
            self._lifecycle.spawn(following, now)
        elif sweep.done:
            self._sweep = None
            if not self._leaving:
                self._ctx.ready()

    def _regroup(self, crashed: Slot, resume_at: float) -> None:
        """Stop and start again what the strategy ties to the crashed child; an unfinished sweep is taken over."""
        affected = self._tied_to(crashed)
        crashed.down(resume_at)
        if self._sweep is not None:
            resume_at = max(resume_at, self._sweep.resume_at)
        self._sweep = Sweep(
            stops=self._take_down(affected, "delayed"),
            starts=[slot for slot in affected if slot.spec.restart != "temporary" or slot.state == "waiting"],
            resume_at=resume_at,
        )

    def _tied_to(self, crashed: Slot) -> list[Slot]:
        slots = list(self.children.values())
        return slots if self.spec.strategy == "one_for_all" else slots[slots.index(crashed) :]

    def _take_down(self, slots: Iterable[Slot], resting: State = "stopped") -> list[Slot]:
        """Mark these as leaving, so that no end of theirs counts as a crash; returns those that are alive."""
        alive: list[Slot] = []
        for slot in slots:
            slot.cycling = False
            slot.leaving = True  # even if it is down: its end may have come a moment ago, and wait to be heard
            if slot.life is not None:
                alive.append(slot)
            elif slot.state != "finished":
                if slot.state != "waiting" or resting == "stopped":  # its turn to start is still to come
                    slot.state = resting
                self._lifecycle.deadlines.clear(slot)
                if self._final:
                    slot.close()
        return alive

    def _ask_to_stop(self, slot: Slot, now: float, reason: str) -> None:
        self._lifecycle.ask_to_stop(slot, now, reason=reason, hurry=self._hurry, final=self._final)

    # --- the end

    def _refuse_start(self, slot: Slot, error: BaseException | None, stack: str = "") -> None:
        error = start_failure(slot, error, stack)
        if slot.life is None:
            slot.state = "stopped"
        self.world.publish(StartRefused(path=slot.path, at=self.world.clock(), failure=failure_of(error)))
        self._fail(error)

    def _fail(self, error: BaseException | None) -> None:
        """Stop everything in order, then raise this; the first reason stands, unless a later one ends the process."""
        if self._failure is None or not isinstance(error, Exception):
            self._failure = error
        self._stop_all()

    def _stop_all(self) -> None:
        if not self._leaving:
            self._leaving = True
            self._ctx.stopping.set()
            alive = self._take_down(self.children.values())
            self._sweep = Sweep(stops=alive, together=self.spec.stops_together)

    def _all_cancelled(self) -> None:
        now = self.world.clock()
        self._leaving = True
        alive = self._take_down(self.children.values())
        self._sweep = Sweep(stops=alive)
        for slot in alive:
            if slot.state != "unstopped":
                self._lifecycle.cancel(slot, now, None, "its supervisor was cancelled")

    # --- what others ask for

    def stop(self, *, hurry: bool, final: bool) -> None:
        """Stop all children in order; `hurry` skips phase one, `final` says that no restart will follow."""
        self._request(partial(self._on_stop, hurry, final))

    def _on_stop(self, hurry: bool, final: bool) -> None:
        now = self.world.clock()
        if hurry and not self._hurry:
            self._hurry = True
            for slot in self.children.values():
                if slot.state == "stopping" and slot.supervision is not None:
                    slot.supervision.stop(hurry=True, final=final)
                elif slot.state == "stopping":
                    self._lifecycle.cancel(slot, now, None, "hurry")
        self._final = self._final or final
        self._stop_all()

    def _stuck(self, slot: Slot) -> None:
        """A nested supervisor has stopped all it can; the rest of it cannot be stopped."""
        self._request(partial(self._on_stuck_child, slot))

    def _on_stuck_child(self, slot: Slot) -> None:
        if slot.life is not None:
            slot.state = "unstopped"
            self._lifecycle.deadlines.clear(slot)


def start_failure(slot: Slot, error: BaseException | None, stack: str = "") -> StartFailed:
    """The report of a child that did not become ready; one from further down stands as it is."""
    error = error or EndedUnready(
        f"{slot.path} ended before it was ready: it neither called ctx.ready() nor asked for a message"
    )
    if isinstance(error, StartFailed):
        return error
    failed = StartFailed(f"{slot.path} did not start: {failure_of(error)}", path=slot.path, stack=stack)
    failed.__cause__ = error
    return failed
