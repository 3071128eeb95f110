"""What follows when a child has ended: nothing, a restart and its price, quarantine, or failure of the supervisor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from math import inf

from tds_runtime.budget import Budget, Charge, Ledger, Spending
from tds_runtime.context import Context
from tds_runtime.errors import BudgetExhausted
from tds_runtime.events import ChildFinished, ChildQuarantined, RestartScheduled, SupervisorExhausted
from tds_runtime.incarnation import Ending
from tds_runtime.slot import Slot, World
from tds_runtime.spec import Spec
from tds_runtime.supervisor import Supervision


class Restarts(Supervision):
    """A running supervisor that knows restart kinds, budgets, backoff and quarantine."""

    def __init__(self, slot: Slot, world: World, ctx: Context, on_stuck: Callable[[Slot], None]) -> None:
        super().__init__(slot, world, ctx, on_stuck)
        self._ledger = Ledger(self.spec.budget)

    def _after(self, slot: Slot, ending: Ending, now: float) -> None:
        self._lifecycle.deadlines.clear(slot)
        if self._sweep is not None:
            self._sweep.note(slot)
        if ending.fatal:
            slot.state = "stopped"
            self._fail(ending.error)
        elif self._settled(slot, ending):
            return
        elif slot.leaving:
            self._after_stop(slot, now)
        elif ending.kind == "normal" and slot.spec.restart != "permanent":
            self._finish(slot)
        elif self._sweep is not None and self._sweep.starting(slot):
            self._refuse_start(slot, ending.error)
        elif slot.probing:
            slot.probes += 1
            self._quarantine(slot, now)
        elif slot.spec.restart == "temporary":
            self._finish(slot)
        else:
            self._restart(slot, ending, now)

    @abstractmethod
    def _settled(self, slot: Slot, ending: Ending) -> bool:
        """Whether somebody asked for this end, and nothing follows from it."""

    def _after_stop(self, slot: Slot, now: float) -> None:
        slot.state = "finished" if slot.spec.restart == "temporary" else "stopped"
        if slot.cycling and not self._leaving:
            slot.cycling = False
            self._lifecycle.spawn(slot, now)

    def _finish(self, slot: Slot) -> None:
        slot.state = "finished"
        slot.close()
        self.world.publish(ChildFinished(path=slot.path, at=self.world.clock()))
        if slot.spec.significant and self._significant_ended():
            self._stop_all()

    def _significant_ended(self) -> bool:
        if self.spec.auto_shutdown == "any_significant":
            return True
        return not any(slot.spec.significant and self._may_live_on(slot) for slot in self.children.values())

    def _may_live_on(self, slot: Slot) -> bool:
        """Whether a child runs or will without anybody's doing; one that was terminated by hand will not."""
        if slot.state == "stopped" and self._sweep is not None:
            return slot in self._sweep.starts
        return slot.state not in ("finished", "stopped")

    def _restart(self, slot: Slot, ending: Ending, now: float) -> None:
        if not self._affordable(slot, ending, now):
            return
        delay = slot.next_delay()
        self.world.publish(RestartScheduled(path=slot.path, at=now, delay=delay, attempt=slot.attempt))
        if self.spec.strategy != "one_for_one":
            self._regroup(slot, now + delay)
        elif delay > 0:
            slot.state = "delayed"
            slot.down(now + delay)
            self._lifecycle.remind(slot, now + delay)
        else:
            self._lifecycle.spawn(slot, now)

    # --- what it costs

    def _affordable(self, slot: Slot, ending: Ending, now: float) -> bool:
        """Charge a restart once: to the child's own budget, if it has one, else to the supervisor's."""
        new = Charge(slot.spec.name, slot.running())
        if slot.ledger is None:
            affordable = self._ledger.charge(new, self._running)
            if not affordable:
                self._exhausted(slot, ending, self.spec.budget)
            return affordable
        if slot.ledger.charge(new, self._running):
            return True
        if self.spec.strategy == "one_for_one":
            slot.probes = 1
            self._quarantine(slot, now)
        else:
            self._exhausted(slot, ending, slot.ledger.budget)
        return False

    def spending(self) -> Spending:
        """What is spent of the budget that the children share which have none of their own."""
        return self._ledger.spending(self._running)

    def _running(self, name: str) -> float:
        slot = self.children.get(name)
        return inf if slot is None else slot.running()

    def _exhausted(self, slot: Slot, ending: Ending, budget: Budget) -> None:
        slot.state = "stopped"
        error = BudgetExhausted(
            f"{self.slot.path}: {slot.path} would need more than {budget.restarts} restarts in {budget.per:g} s",
            path=self.slot.path,
            child=slot.path,
        )
        error.__cause__ = ending.error
        self.world.publish(
            SupervisorExhausted(path=self.slot.path, at=self.world.clock(), child=slot.path, failure=slot.last_failure)
        )
        self._fail(error)

    def _quarantine(self, slot: Slot, now: float) -> None:
        assert isinstance(slot.spec, Spec)
        slot.state = "quarantined"
        slot.probing = False
        cooldown = slot.spec.quarantine.delay(slot.probes, self.world.random)
        slot.down(inf)
        self.world.publish(ChildQuarantined(path=slot.path, at=now, cooldown=cooldown, failure=slot.last_failure))
        self._lifecycle.remind(slot, now + cooldown)
