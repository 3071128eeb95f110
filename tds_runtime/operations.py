"""What others may ask of a running supervisor: kill, restart, add, remove, and become what a new tree says."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from tds_runtime.change import Change
from tds_runtime.context import Context
from tds_runtime.difference import Difference, difference, same_options, update
from tds_runtime.envelope import Answer
from tds_runtime.errors import AlreadyRunning, Killed, NotRunning, PoolFull
from tds_runtime.incarnation import Ending
from tds_runtime.plan import place
from tds_runtime.restarts import Restarts
from tds_runtime.slot import Slot, World
from tds_runtime.spec import Spec, Supervisor
from tds_runtime.supervisor import start_failure
from tds_runtime.sweep import Sweep


class Operations(Restarts):
    """A running supervisor that listens. Every request is a reaction in its loop, like everything else it does."""

    def __init__(self, slot: Slot, world: World, ctx: Context, on_stuck: Callable[[Slot], None]) -> None:
        super().__init__(slot, world, ctx, on_stuck)
        self._arrivals: dict[Slot, Answer] = {}
        self._departures: dict[Slot, list[Answer]] = {}
        self._changes: list[tuple[Supervisor, Change]] = []
        self._change: Change | None = None
        self._coming: list[Slot] = []
        self._is_closed = False

    def _nested(self, slot: Slot, ctx: Context) -> tuple[Operations, Callable[[], Coroutine[Any, Any, None]]]:
        nested = Operations(slot, self.world, ctx, self._stuck)
        return nested, nested.run

    def _prepare(self) -> None:
        for slot in [slot for slot in self.children.values() if slot.dynamic or slot.removed]:
            self._forget(slot)
        super()._prepare()

    def _closed(self) -> None:
        self._is_closed = True
        gone = NotRunning(f"{self.slot.path} stopped before this was done")
        waiting = [*self._arrivals.values(), *(answer for some in self._departures.values() for answer in some)]
        for answer in waiting:
            answer.fail(gone)
        for _, change in self._changes:
            change.fail(gone)
        if self._change is not None:
            self._change.fail(gone)

    def kill(self, slot: Slot, reason: str) -> None:
        """Cancel a child at once; what follows is what follows a crash."""
        self._request(partial(self._on_kill, slot, reason))

    def _on_kill(self, slot: Slot, reason: str) -> None:
        if slot.life is not None:
            self._lifecycle.cancel(slot, self.world.clock(), Killed(reason or None), reason or "killed")

    def cycle(self, slot: Slot) -> None:
        """Stop a child gracefully and start it again with a clean record."""
        self._request(partial(self._on_cycle, slot))

    def _on_cycle(self, slot: Slot) -> None:
        now = self.world.clock()
        if self._leaving:
            return
        if slot.state == "quarantined":
            self._lifecycle.release(slot, now, by_operator=True)
        slot.pardon()
        if slot.life is None and (self.spec.strategy == "one_for_one" or slot.state in ("stopped", "finished")):
            self._start_again(slot, now)
        elif self.spec.strategy != "one_for_one":
            self._regroup(slot, now)
        elif not slot.leaving:
            slot.cycling = True
            self._ask_to_stop(slot, now, "restart")

    def _start_again(self, slot: Slot, now: float) -> None:
        if self._sweep is None:
            self._lifecycle.spawn(slot, now)
        else:  # which starts one after the other, perhaps this one
            self._sweep.start_too(slot)

    def halt(self, slot: Slot) -> Answer:
        """Stop a child and keep its place; the answer comes when it is down."""
        departure = Answer()
        if self._is_closed:
            departure.reply(None)
        else:
            self._request(partial(self._on_halt, slot, departure))
        return departure

    def _on_halt(self, slot: Slot, departure: Answer) -> None:
        slot.cycling = False
        if self._sweep is not None:
            self._sweep.leave_out(slot)
        if slot.life is not None:
            self._departures.setdefault(slot, []).append(departure)
            if not slot.leaving:
                self._lifecycle.ask_to_stop(slot, self.world.clock(), reason="terminated", hurry=False, final=True)
            return
        if slot.state != "finished":
            slot.state = "stopped"
            slot.pardon()
        slot.close()
        departure.reply(None)

    def _after_stop(self, slot: Slot, now: float) -> None:
        super()._after_stop(slot, now)
        if slot.dynamic and slot.state == "finished":
            self._forget(slot)
        for departure in self._departures.pop(slot, ()):
            departure.reply(None)

    # --- children that come and go

    def add(self, spec: Spec[Any], limit: float) -> Answer:
        """Start one more child; the answer comes when it is ready, or fails with StartFailed and leaves nothing."""
        arrival = Answer()
        if self._is_closed:
            arrival.fail(NotRunning(f"{self.slot.path} has stopped"))
        else:
            self._request(partial(self._on_add, spec, limit, arrival))
        return arrival

    def _on_add(self, spec: Spec[Any], limit: float, arrival: Answer) -> None:
        path = f"{self.slot.path}/{spec.name}"
        if self._leaving:
            arrival.fail(NotRunning(f"{self.slot.path} is stopping"))
        elif spec.name in self.children:
            arrival.fail(AlreadyRunning(f"{path} is there already"))
        elif len(self.children) >= limit:
            arrival.fail(PoolFull(f"{self.slot.path} has {limit:g} children, which is its limit"))
        else:
            slot = place(spec, path, self.world)
            slot.dynamic = True
            self.children[spec.name] = slot
            self._arrivals[slot] = arrival
            self._lifecycle.spawn(slot, self.world.clock())

    def remove(self, slot: Slot) -> Answer:
        """Stop a child for good and forget it; the answer comes when it is gone."""
        departure = Answer()
        if self._is_closed:
            departure.reply(None)
        else:
            self._request(partial(self._on_remove, slot, departure))
        return departure

    def _on_remove(self, slot: Slot, departure: Answer) -> None:
        if slot not in self.children.values():
            departure.reply(None)
            return
        self._departures.setdefault(slot, []).append(departure)
        slot.removed = True
        if slot.life is None:
            self._forget(slot)
        elif not slot.leaving:
            self._lifecycle.ask_to_stop(slot, self.world.clock(), reason="removed", hurry=self._hurry, final=True)

    def _forget(self, slot: Slot) -> None:
        self._lifecycle.deadlines.clear(slot)
        if self._sweep is not None:
            self._sweep.leave_out(slot)
        slot.close()
        for name in (slot.spec.name, _leaving(slot)):
            if self.children.get(name) is slot:
                del self.children[name]
        for departure in self._departures.pop(slot, ()):
            departure.reply(None)

    def _noted(self, slot: Slot) -> None:
        super()._noted(slot)
        arrival = self._arrivals.pop(slot, None)
        if arrival is not None:
            arrival.reply(None)

    def _settled(self, slot: Slot, ending: Ending) -> bool:
        arrival = self._arrivals.pop(slot, None)
        if arrival is not None:
            if ending.kind == "normal" and slot.spec.restart != "permanent":
                arrival.reply(None)
            else:
                arrival.fail(start_failure(slot, ending.error))
            slot.state = "stopped"
            self._forget(slot)
            return True
        if slot.removed:
            slot.state = "stopped"
            self._forget(slot)
        return slot.removed

    def _finish(self, slot: Slot) -> None:
        super()._finish(slot)
        if slot.dynamic:
            self._forget(slot)

    # --- becoming what a new tree says

    def reshape(self, spec: Supervisor, change: Change) -> None:
        """Become what `spec` describes, and tell `change` when that is so."""
        if self._is_closed:
            change.fail(NotRunning(f"{self.slot.path} has stopped"))
        else:
            self._request(partial(self._changes.append, (spec, change)))

    def _advance(self, now: float) -> None:
        super()._advance(now)
        while (self._change is not None and self._sweep is None) or self._changes_may_begin():
            if self._change is not None:
                self._change.settle(_problems(self._coming))
                self._change = None
            else:
                self._become(*self._changes.pop(0), now)
                super()._advance(now)

    def _changes_may_begin(self) -> bool:
        return bool(self._changes) and self._sweep is None and not self._leaving  # one group operation at a time

    def _become(self, spec: Supervisor, change: Change, now: float) -> None:
        found = difference(self.children, spec, self.slot.path, self.world)
        change.note(
            added=_paths(found.added),
            removed=_paths(found.removed),
            restarted=_paths(slot for slot, _ in found.changed),
            updated=_paths(slot for slot, new in found.same if not same_options(slot.spec, new)),
        )
        self.spec = spec
        self.slot.spec = spec
        self._ledger.budget = spec.budget
        for slot, new in found.same:
            update(slot, new)
            if slot.state == "ready":
                self._lifecycle.review(slot, now)
        for slot, nested in found.nested:
            self._pass_on(slot, nested, change)
        self._rearrange(found)
        self._change = change
        self._sweep = self._transition(found)

    def _pass_on(self, slot: Slot, nested: Supervisor, change: Change) -> None:
        update(slot, nested)
        change.begin()
        if slot.supervision is not None:
            slot.supervision.reshape(nested, change)
        else:  # down at the moment: it will start as what it is to become
            below = difference(slot.children, nested, slot.path, self.world)
            for kept, new in (*below.same, *below.changed):
                update(kept, new)
            for kept, deeper in below.nested:
                self._pass_on(kept, deeper, change)
            slot.children.clear()
            slot.children.update(below.order)
            change.settle()

    def _rearrange(self, found: Difference) -> None:
        for slot in found.removed:
            slot.removed = True
        dynamic = {name: slot for name, slot in self.children.items() if slot.dynamic}
        leaving = {_leaving(slot): slot for slot in found.removed}
        self.children.clear()
        self.children.update({**leaving, **found.order, **dynamic})

    def _transition(self, found: Difference) -> Sweep:
        """Stop what goes and what changes, then start what changes and what comes, each in its order."""
        changed = {slot for slot, _ in found.changed}
        tied = self._tied_to_any(changed)
        stops = self._take_down([*(slot for slot in self.children.values() if slot in tied), *found.removed])
        for slot in found.removed:
            if slot.life is None:
                self._forget(slot)
        for slot, new in found.changed:
            update(slot, new)
            slot.pardon()
        self._coming = [slot for slot in self.children.values() if slot in tied or slot in found.added]
        return Sweep(stops=stops, starts=self._coming)

    def _tied_to_any(self, changed: set[Slot]) -> set[Slot]:
        if self.spec.strategy == "one_for_one":
            return changed
        tied: set[Slot] = set()
        for slot in changed:
            tied.update(below for below in self._tied_to(slot) if not below.removed)
        return tied


def _leaving(slot: Slot) -> str:
    """The name under which a removed child is kept until it is gone: its own may be taken by then."""
    return f"{slot.spec.name} (leaving)"


def _paths(slots: Iterable[Slot]) -> list[str]:
    return [slot.path for slot in slots]


def _problems(slots: Iterable[Slot]) -> list[str]:
    missing = [slot for slot in slots if slot.ready_at is None and slot.state != "finished"]
    return [f"{slot.path} is {slot.state}: {slot.last_failure}" for slot in missing]
