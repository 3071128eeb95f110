"""What an operator sees of a running tree and can do with it: look, kill, restart, add, take away, and change it."""

from __future__ import annotations

from math import inf
from typing import Any

from tds_runtime.change import Applied, Change
from tds_runtime.envelope import Answer
from tds_runtime.errors import NotRunning, SpecError, StillRunning
from tds_runtime.events import Broadcast, DeadLettered, Subscription, TreeStopped
from tds_runtime.plan import check
from tds_runtime.pool import Pool
from tds_runtime.slot import Running, Slot, World
from tds_runtime.snapshot import Count, Snapshot, SupervisorStatistics, count_below, find, snapshot_of, statistics_of
from tds_runtime.spec import Spec, Supervisor


class Control:
    """A tree by its paths, such as "tds/work/product"; the first part is the root's name.

    Everything here is asked of the supervisors, which do it in their own time. A path that leads nowhere raises
    NoSuchChild, a tree or supervisor that does not run NotRunning.
    """

    def __init__(self, tree: Supervisor) -> None:
        check(tree)
        self.tree = tree
        self._broadcast = Broadcast()
        self._world: World | None = None
        self._root: Slot | None = None

    # --- looking

    def snapshot(self, path: str = "") -> Snapshot:
        """The tree, or the part of it at `path`, now."""
        return snapshot_of(self._find(path))

    def count(self, path: str = "") -> Count:
        """What is below `path`; below the root when it is empty."""
        return count_below(self._find(path))

    def statistics(self, path: str = "") -> SupervisorStatistics:
        """The supervisor at `path` in figures, the root when it is empty; raises SpecError for an actor."""
        slot = self._find(path)
        if not isinstance(slot.spec, Supervisor):
            raise SpecError(f"{slot.path} is no supervisor; its mailbox has statistics: ref.statistics()")
        return statistics_of(slot)

    def events(self, capacity: int = 1024) -> Subscription:
        """What happens from now on, at most `capacity` events unread; may be asked for before the tree is entered."""
        return self._broadcast.subscribe(capacity)

    def dead_letters(self) -> tuple[DeadLettered, ...]:
        """The last thousand messages that were given up, oldest first."""
        return () if self._world is None else tuple(self._world.dead_letters)

    @property
    def healthy(self) -> bool:
        """Whether no child is hung."""
        return self._world is not None and self._world.hung == 0

    # --- one child

    async def kill(self, path: str, reason: str = "") -> None:
        """Cancel a child at once; what follows is what follows a crash. Returns when it has ended."""
        slot = self._find(path)
        monitor = slot.watchers.watch()
        if slot.life is not None:
            self._supervisor_of(slot).kill(slot, reason)
            await monitor.wait()

    async def restart(self, path: str) -> None:
        """Stop a child gracefully and start it again with a clean record, out of quarantine if it was there.

        Returns when the next incarnation is ready, or has ended; the snapshot tells which.
        """
        slot = self._find(path)
        before = slot.incarnation
        above = self._find(path.rpartition("/")[0])
        with self.events() as events:
            self._supervisor_of(slot).cycle(slot)
            async for event in events:
                if slot.incarnation > before and slot.state != "starting":
                    return
                if above.state == "finished" or isinstance(event, TreeStopped):
                    raise NotRunning(f"{above.path} ended before {path} was started again")

    async def add(self, path: str, spec: Spec[Any]) -> None:
        """Start one more child, as the last of the supervisor at `path`; returns when it is ready.

        It belongs to this life of its supervisor, and a new tree leaves it alone. Raises SpecError, StartFailed (and
        keeps nothing of it), AlreadyRunning, PoolFull or NotRunning.
        """
        slot = self._find(path)
        if not isinstance(slot.spec, Supervisor):
            raise SpecError(f"{slot.path} is no supervisor")
        if slot.supervision is None:
            raise NotRunning(f"{slot.path} is not running")
        check(spec, f"{slot.path}/{spec.name}")
        limit = slot.spec.limit if isinstance(slot.spec, Pool) else inf
        await _answered(slot.supervision.add(spec, limit))

    async def terminate(self, path: str) -> None:
        """Stop a child gracefully, or end its wait for a restart; `restart` starts it again. Returns when it is down.

        Until then it takes no mail. What restarts its whole group, by the strategy or because the supervisor itself is
        restarted, starts it, too.
        """
        slot = self._find(path)
        await _answered(self._supervisor_of(slot).halt(slot))

    async def delete(self, path: str) -> None:
        """Forget a child that was terminated or has finished; raises StillRunning for any other."""
        slot = self._find(path)
        supervisor = self._supervisor_of(slot)
        if slot.state not in ("stopped", "finished"):
            raise StillRunning(f"{slot.path} is {slot.state}; terminate it first")
        await _answered(supervisor.remove(slot))

    # --- the whole tree

    async def apply(self, tree: Supervisor) -> Applied:
        """Turn the running tree into this one, and return what that took.

        A tree that cannot run raises SpecError and changes nothing. Children that would do the same work follow their
        new options without a restart; others are stopped gracefully and started again, with what the strategy ties to
        them; mailboxes and references stay. Raises ApplyFailed when something did not come up; it is tried again
        like after any crash.
        """
        check(tree)
        if tree.name != self.tree.name:
            raise SpecError(f"a running tree keeps its name: {self.tree.name} cannot become {tree.name}")
        if self._root is None or self._root.supervision is None:
            raise NotRunning(f"{self.tree.name} is not running")
        change = Change()
        self._root.supervision.reshape(tree, change)
        await change.settled.wait()
        self.tree = tree
        return change.result()

    def _find(self, path: str) -> Slot:
        if self._root is None:
            raise NotRunning(f"{self.tree.name} was not entered yet")
        return find(self._root, path) if path else self._root

    def _supervisor_of(self, slot: Slot) -> Running:
        if slot is self._root:
            raise NotRunning(f"{slot.path} is the root and has no supervisor; use stop() or apply()")
        supervision = self._find(slot.path.rpartition("/")[0]).supervision
        if supervision is None:
            raise NotRunning(f"{slot.path} has no running supervisor")
        return supervision


async def _answered(answer: Answer) -> None:
    await answer.arrived.wait()
    if answer.error is not None:
        raise answer.error
