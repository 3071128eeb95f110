"""The mechanics of one child's life for its supervisor: spawn, watch, and the three-phase way down."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

from anyio import CancelScope
from anyio.abc import TaskGroup

from tds_runtime.context import ACTOR, Context
from tds_runtime.deadlines import Deadlines
from tds_runtime.errors import Error, Hung
from tds_runtime.events import (
    ChildCancelled,
    ChildHung,
    ChildReady,
    ChildReleased,
    ChildStarting,
    ChildUnstopped,
    StopRequested,
)
from tds_runtime.inbox import Inbox
from tds_runtime.incarnation import Ending, Incarnation
from tds_runtime.ref import ASKER
from tds_runtime.slot import Running, Slot, World
from tds_runtime.spec import Spec

Supervise = Callable[[Slot, Context], tuple[Running, Callable[[], Any]]]


class Lifecycle:
    """Begins lives and ends them; decides nothing about restarts.

    `on_ready` and `on_end` are called in the child's own task and must not wait. `supervise` makes the running
    supervisor of a slot that holds one.
    """

    def __init__(
        self,
        world: World,
        *,
        on_ready: Callable[[Slot], None],
        on_end: Callable[[Slot, Ending, bool], None],
        supervise: Supervise,
    ) -> None:
        self.world = world
        self.deadlines: Deadlines[Slot] = Deadlines()
        self.sleep: CancelScope | None = None
        self.group: TaskGroup | None = None
        self._on_ready = on_ready
        self._on_end = on_end
        self._supervise = supervise

    def remind(self, slot: Slot, when: float) -> None:
        """Look at this slot at `when` (clock seconds), and wake the sleeping supervisor early enough for it."""
        self.deadlines.set(slot, when)
        if self.sleep is not None and when < self.sleep.deadline:
            self.sleep.deadline = when

    # --- up

    def spawn(self, slot: Slot, now: float) -> None:
        """Begin the next incarnation."""
        slot.begin(now)
        ctx = Context(slot.path, slot.incarnation, pulse=slot.pulse, on_ready=partial(self._ready, slot))
        slot.life = self._incarnate(slot, ctx)
        self.remind(slot, now + slot.spec.start_timeout)
        self.world.publish(ChildStarting(path=slot.path, at=now, incarnation=slot.incarnation))
        assert self.group is not None
        slot.life.begin(self.group, slot.path, self.world.blank)

    def _incarnate(self, slot: Slot, ctx: Context) -> Incarnation:
        inbox: Inbox[Any] | None = None
        if not isinstance(slot.spec, Spec):
            slot.supervision, body = self._supervise(slot, ctx)
        else:
            if slot.box is not None:
                inbox = Inbox(slot.box, on_first=ctx.ready)
            body = partial(_call, slot.spec, inbox, ctx)
        return Incarnation(body, ctx, inbox, on_end=partial(self._on_end, slot))

    def _ready(self, slot: Slot) -> None:
        slot.ready_at = now = self.world.clock()
        self.world.publish(ChildReady(path=slot.path, at=now, incarnation=slot.incarnation))
        if slot.state == "starting":
            slot.state = "ready"
            slot.pulse.since = now
            self.review(slot, now)
        self._on_ready(slot)

    # --- the watchdog, and probes of quarantined children

    def _armed(self, slot: Slot) -> None:
        if slot.state == "ready":
            self.review(slot, self.world.clock())

    def review(self, slot: Slot, now: float) -> None:
        """Look at a ready child: is it hung, has its probe passed, and when to look again."""
        hung_at = slot.hung_at()
        if now >= hung_at:
            self._hung(slot, now)
            return
        passed_at = slot.probe_ends_at()
        if now >= passed_at:
            self.release(slot, now, by_operator=False)
            passed_at = inf
        if slot.watched():
            slot.pulse.arm = partial(self._armed, slot)
            slot.pulse.armed = hung_at < inf
        else:
            slot.pulse.armed = True
        self.remind(slot, min(hung_at, passed_at))

    def _hung(self, slot: Slot, now: float) -> None:
        assert slot.life is not None
        idle = now - slot.pulse.since
        stack = slot.life.stack()
        self.world.hung += 1
        self.world.publish(
            ChildHung(path=slot.path, at=now, incarnation=slot.incarnation, idle_seconds=idle, stack=stack)
        )
        self.cancel(slot, now, Hung(f"{slot.path} made no progress for {idle:g} s\n{stack}"), "hung")

    def release(self, slot: Slot, now: float, *, by_operator: bool) -> None:
        """Quarantine is over: the child starts with a clean record."""
        slot.pardon()
        self.world.publish(ChildReleased(path=slot.path, at=now, by="operator" if by_operator else "probe"))

    # --- down, in three phases

    def ask_to_stop(self, slot: Slot, now: float, *, reason: str, hurry: bool, final: bool) -> None:
        """Phase one: the inbox ends and `stopping` is set. `final` also closes the mailbox; `hurry` skips the phase."""
        assert slot.life is not None
        slot.leaving = True
        slot.state = "stopping"
        self.world.publish(StopRequested(path=slot.path, at=now, reason=reason))
        if final:
            slot.close()
        slot.life.stop()
        self.remind(slot, now + slot.spec.stop)
        if slot.supervision is not None:
            slot.supervision.stop(hurry=hurry, final=final)
        elif hurry or slot.spec.stop == 0:
            self.cancel(slot, now, None, reason)

    def cancel(self, slot: Slot, now: float, verdict: Error | None, reason: str) -> None:
        """Phase two: cancel the scope. A `verdict` makes the end a crash or a kill."""
        assert slot.life is not None
        slot.state = "cancelled"
        slot.life.cancel(verdict, reason)
        self.remind(slot, now + slot.spec.kill_grace)
        self.world.publish(ChildCancelled(path=slot.path, at=now, reason=reason))

    def give_up(self, slot: Slot, now: float) -> None:
        """Phase three: say that it runs on, and stop cancelling it, which would spin the loop."""
        assert slot.life is not None
        slot.state = "unstopped"
        stack = slot.life.stack()
        self.world.publish(ChildUnstopped(path=slot.path, at=now, incarnation=slot.incarnation, stack=stack))
        if slot.supervision is None:  # a nested supervisor does this for each of its children
            slot.life.give_up()
            self._nudge_later(slot, now)

    def nudge(self, slot: Slot, now: float) -> None:
        """Cancel what runs on once more: it may wait somewhere else by now."""
        if slot.life is not None:
            slot.life.nudge()
            self._nudge_later(slot, now)

    def _nudge_later(self, slot: Slot, now: float) -> None:
        self.remind(slot, now + max(slot.spec.kill_grace, 1.0))


def _call(spec: Spec[Any], inbox: Inbox[Any] | None, ctx: Context) -> Any:
    ACTOR.set(ctx)
    if inbox is None:
        return spec.function(ctx, *spec.positional, **spec.keywords)
    ASKER.set(inbox.box)
    return spec.function(ctx, inbox, *spec.positional, **spec.keywords)
