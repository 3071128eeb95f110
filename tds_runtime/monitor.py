"""Learning that an incarnation ended, without being its supervisor."""

from __future__ import annotations

from weakref import ref as weak

from anyio import Event
from msgspec import Struct

from tds_runtime.failure import Failure


class Down(Struct, frozen=True, kw_only=True):
    """One incarnation ended: how ("normal", "shutdown", "crash" or "killed") and, for a crash, why."""

    path: str
    incarnation: int
    ending: str
    failure: Failure | None = None


class Monitor:
    """One wait for one end."""

    __slots__ = ("__weakref__", "_ended", "down")

    def __init__(self) -> None:
        self._ended = Event()
        self.down: Down | None = None

    async def wait(self) -> Down:
        """Wait until the incarnation ends."""
        await self._ended.wait()
        assert self.down is not None
        return self.down

    def tell(self, down: Down) -> None:
        """The end has come."""
        self.down = down
        self._ended.set()


class Watchers:
    """Who wants to know; a monitor that nobody holds any more is forgotten."""

    __slots__ = ("_monitors",)

    def __init__(self) -> None:
        self._monitors: tuple[weak[Monitor], ...] = ()

    def watch(self) -> Monitor:
        """One more that wants to know."""
        monitor = Monitor()
        alive = [known for known in self._monitors if known() is not None]
        self._monitors = (*alive, weak(monitor))
        return monitor

    def tell(self, down: Down) -> None:
        """Tell everybody, once."""
        monitors, self._monitors = self._monitors, ()
        for known in monitors:
            monitor = known()
            if monitor is not None:
                monitor.tell(down)

    def __bool__(self) -> bool:
        return bool(self._monitors)
