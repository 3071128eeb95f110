"""Running a tree: enter when all is ready, leave when all has stopped, and what an operator can do in between."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from random import Random
from types import TracebackType
from typing import Self

from anyio import (
    CancelScope,
    Event,
    create_task_group,
    get_cancelled_exc_class,
    move_on_after,
)
from anyio.abc import TaskGroup
from anyio.lowlevel import current_token

from tds_runtime.context import Context
from tds_runtime.control import Control
from tds_runtime.errors import SpecError
from tds_runtime.events import (
    LoopBlocked,
    TreeReady,
    TreeStopped,
    TreeStopping,
)
from tds_runtime.failure import failure_of
from tds_runtime.garbage import Care
from tds_runtime.incarnation import Ending, Incarnation
from tds_runtime.operations import Operations
from tds_runtime.plan import plan
from tds_runtime.service import Duties, Service, exit_at_once
from tds_runtime.slot import Slot, World
from tds_runtime.snapshot import stacks_below
from tds_runtime.spec import Child, Supervisor
from tds_runtime.systemd import Systemd

_LAST_WORDS = 1.0
"""Seconds between the cancellation of everything at the end of the grace and giving up on what swallows it."""


class Runtime(Control):
    """A running tree; `run` makes it, `async with` starts and stops it.

    Leaving the block stops the tree in order, whatever the reason for leaving. When the tree ends by itself, the block
    is cancelled unless it is in `wait()`; a tree that failed raises its failure out of the block.
    """

    def __init__(
        self,
        tree: Supervisor,
        *,
        grace: float,
        duties: Duties,
        abandon: Callable[[str], None] | None,
        random: Random,
    ) -> None:
        super().__init__(tree)
        self.failure: BaseException | None = None
        self._grace = grace
        self._service = Service(duties, self)
        self._abandon = abandon
        self._random = random
        self._host: TaskGroup | None = None
        self._asked = False
        self._waited = False

    # --- entering and leaving

    async def __aenter__(self) -> Self:
        if self._world is not None:
            raise RuntimeError("a runtime runs once; call run() again")
        self._service.check()
        token = current_token()
        self._world = World(self._broadcast, clock=token.backend_class.current_time, random=self._random)
        self._root = plan(self.tree, self._world)
        self._ready, self._ended, self._stuck = Event(), Event(), Event()
        life = self._incarnate(self._root)
        self._host = await create_task_group().__aenter__()
        self._service.begin(self._host)
        self._host.start_soon(self._keep, life, name=f"{self.tree.name} (keeper)")
        try:
            await self._ready.wait()
        except BaseException:  # cancelled while it starts, or worse: what has started stops in order all the same
            await self.__aexit__(*sys.exc_info())
            raise
        if self.failure is not None:
            await self.__aexit__(None, None, None)
        self._world.publish(TreeReady(path=self.tree.name, at=self._world.clock()))
        self._service.ready(self._host)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        assert self._host is not None
        self.stop(f"{exc_type.__name__} in the block" if exc_type else "the block has ended")
        with CancelScope(shield=True):  # the keeper bounds this by the grace
            await self._ended.wait()
        self._service.end()
        ours = self._host.cancel_scope.cancel_called and isinstance(exc, get_cancelled_exc_class())
        self._host.cancel_scope.cancel("the tree has ended")
        if ours:
            swallowed = await self._host.__aexit__(exc_type, exc, traceback)
        else:  # the block's own exception leaves as it is, not in a group
            await self._host.__aexit__(None, None, None)
            swallowed = False
        self._broadcast.close()
        if self.failure is not None:
            raise self.failure
        return bool(swallowed)

    # --- the tree's own task, shielded from whoever runs it, so that it always stops in order

    async def _keep(self, life: Incarnation) -> None:
        assert self._world is not None
        with CancelScope(shield=True):
            async with create_task_group() as group:
                life.begin(group, self.tree.name, self._world.blank)
                await self._stopping.wait()
                await self._bound_the_stop()

    def _incarnate(self, root: Slot) -> Incarnation:
        assert self._world is not None
        root.begin(self._world.clock())
        ctx = Context(root.path, root.incarnation, on_ready=partial(self._root_ready, root))
        self._stopping = ctx.stopping  # set by us, or by the root when it gives up
        supervision = Operations(root, self._world, ctx, lambda _slot: self._stuck.set())
        root.supervision = supervision
        root.life = Incarnation(supervision.run, ctx, on_end=self._root_ended)
        return root.life

    def _root_ready(self, root: Slot) -> None:
        assert self._world is not None
        root.state = "ready"
        root.ready_at = self._world.clock()
        self._ready.set()

    def _root_ended(self, ending: Ending, _cancelled: bool) -> None:
        assert self._root is not None
        assert self._world is not None
        assert self._host is not None
        self._root.end(ending)
        self._root.state = "stopped"
        _close_all(self._root)
        self.failure = ending.error
        failure = None if self.failure is None else failure_of(self.failure)
        self._world.publish(TreeStopped(path=self.tree.name, at=self._world.clock(), failure=failure))
        entered = self._ready.is_set()
        self._ready.set()
        self._stopping.set()
        self._ended.set()
        if entered and (self.failure is not None or not self._waited):
            self._host.cancel_scope.cancel("the tree has ended")

    async def _bound_the_stop(self) -> None:
        """One deadline over all phases: then everything is cancelled at once, and what swallows that is abandoned."""
        with move_on_after(self._grace):
            await self._ended_or_stuck()
        if self._root is None or self._root.life is None:
            return
        if not self._stuck.is_set():
            self._root.life.cancel(None, f"the grace of {self._grace:g} s is over")
            with move_on_after(_LAST_WORDS):
                await self._ended.wait()
        if self._abandon is not None and not self._ended.is_set():
            self._abandon(self.stacks())

    async def _ended_or_stuck(self) -> None:
        async with create_task_group() as group:
            for event in (self._ended, self._stuck):
                group.start_soon(_first, event, group.cancel_scope)

    # --- the end

    def stop(self, reason: str = "", *, hurry: bool = False) -> None:
        """Ask the tree to stop in order, within the grace; `hurry` skips the graceful phase of every child."""
        if self._root is None or self._world is None or self._root.supervision is None:
            return
        if not self._stopping.is_set():
            self._world.publish(TreeStopping(path=self.tree.name, at=self._world.clock(), reason=reason))
            self._service.stopping(within=self._grace + _LAST_WORDS)
            self._stopping.set()
        if hurry or not self._asked:
            self._asked = True
            self._root.state = "stopping"
            self._root.supervision.stop(hurry=hurry, final=True)

    async def wait(self) -> None:
        """Wait until the tree has ended, because of a signal, of `stop`, or by itself."""
        self._waited = True
        await self._ended.wait()

    # --- for the process around the tree

    def stacks(self) -> str:
        """Where every child waits now."""
        return "" if self._root is None else "\n".join(stacks_below(self._root))

    def blocked(self, seconds: float, stacks: str) -> None:
        """The event loop turns again after it did not for a while."""
        assert self._world is not None
        self._world.publish(LoopBlocked(path=self.tree.name, at=self._world.clock(), seconds=seconds, stacks=stacks))


def run(
    tree: Child,
    *,
    grace: float = 25.0,
    signals: bool = False,
    sd_notify: bool = False,
    blocked_after: float | None = None,
    abandon: Callable[[str], None] | None = None,
    on_hangup: Callable[[], Awaitable[None]] | None = None,
    garbage: Care | None = None,
    random: Random | None = None,
) -> Runtime:
    """Run a tree: an async context manager, entered when every child is ready.

    - `grace`: seconds for the whole stop, all phases together.
    - `signals`: own SIGTERM and SIGINT (stop; the second time without phase one) and SIGHUP (`on_hangup`).
    - `sd_notify`: tell systemd about ready, stopping and the watchdog.
    - `blocked_after`: report a loop that does not turn for so many real seconds.
    - `abandon`: what to do, given their stacks, about children that swallow their cancellation when all else has
      stopped. Whoever owns the signals owns the process, so there the default is to print them and exit with status
      1; elsewhere it is to wait.
    - `garbage`: what is done about Python's collector of cyclic garbage. "hold": it searches the whole heap less often
      while the tree starts; "freeze": also, what stands when the tree is ready is exempt until the tree has ended;
      "leave": nothing. The default is "freeze" for whoever owns the process, and "hold" elsewhere.
    - `random`: where jitter comes from; a seeded one makes delays repeatable.

    A single actor is run under a supervisor of its own, called "main". Raises SpecError; entering raises StartFailed,
    and SignalsTaken when somebody else handles SIGTERM already.
    """
    if not isinstance(tree, Supervisor):
        tree = Supervisor("main", children=[tree])
    if grace <= 0 or grace == inf:
        raise SpecError(f"grace must be a positive number of seconds, got {grace}")
    return Runtime(
        tree,
        grace=grace,
        duties=Duties(
            signals=signals,
            systemd=Systemd() if sd_notify else None,
            blocked_after=blocked_after,
            on_hangup=on_hangup,
            garbage=garbage or ("freeze" if signals else "hold"),
        ),
        abandon=abandon or (exit_at_once if signals else None),
        random=random or Random(),  # noqa: S311 # spreads retries, keeps no secret
    )


async def _first(event: Event, scope: CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _close_all(slot: Slot) -> None:
    slot.close()
    for below in slot.children.values():
        _close_all(below)
