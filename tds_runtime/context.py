"""What an actor knows of its own life, and the few things it tells its supervisor."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType

from anyio import Event, current_time

from tds_runtime.mailbox import CORRELATION
from tds_runtime.pulse import Pulse, Wait


def _nothing() -> None:
    return None


ACTOR: ContextVar[Context | None] = ContextVar("tds_runtime.actor", default=None)
"""The incarnation whose code is running, for who writes lines about it; each incarnation has a context of its own."""


class Context:
    """One incarnation as its actor sees it. `Context()` alone is enough to call an actor's function in a test.

    `path` names the slot in the tree, `incarnation` counts its lives from 1, `stopping` is set when the actor is to
    finish what it holds and return, `is_ready` tells whether it was said to be up.
    """

    __slots__ = ("_on_ready", "_pulse", "_stopping", "incarnation", "is_ready", "path")

    def __init__(
        self,
        path: str = "",
        incarnation: int = 1,
        *,
        pulse: Pulse | None = None,
        on_ready: Callable[[], None] = _nothing,
    ) -> None:
        self.path = path
        self.incarnation = incarnation
        self._stopping: Event | None = None
        self.is_ready = False
        self._pulse = pulse or Pulse(current_time)
        self._on_ready = on_ready

    @property
    def stopping(self) -> Event:
        """Set when this actor is to finish what it holds and return; made when it is first asked for."""
        if self._stopping is None:
            self._stopping = Event()
        return self._stopping

    @property
    def correlation(self) -> str:
        """The correlation id of the message at hand; empty when it came without one."""
        return CORRELATION.get()

    def ready(self) -> None:
        """This actor is up; its supervisor goes on. Asking for the first message says the same."""
        if not self.is_ready:
            self.is_ready = True
            self._on_ready()

    def beat(self) -> None:
        """Progress was made inside a long step; the watchdog starts anew."""
        self._pulse.beat()

    def waiting(self, name: str) -> Waiting:
        """An async context manager: a wait with a name, shown in snapshots, that suspends the watchdog."""
        return Waiting(self._pulse, name)


class Waiting:
    """A named wait."""

    __slots__ = ("_name", "_pulse", "_wait")

    def __init__(self, pulse: Pulse, name: str) -> None:
        self._pulse = pulse
        self._name = name
        self._wait: Wait | None = None

    async def __aenter__(self) -> None:
        self._wait = self._pulse.enter(self._name)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._wait is not None
        self._pulse.leave(self._wait)
