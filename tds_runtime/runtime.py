"""Running a tree."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from msgspec import Struct

from tds_runtime.events import Subscription
from tds_runtime.mailbox import Statistics
from tds_runtime.spec import Child


class Snapshot(Struct, frozen=True, kw_only=True):
    """One child of the tree at one moment; times are seconds."""

    path: str
    name: str
    kind: str
    state: str
    incarnation: int = 0
    restarts: int = 0
    uptime: float = 0.0
    last_error: str = ""
    waiting: str = ""
    leased_age: float = 0.0
    mailbox: Statistics | None = None
    children: tuple[Snapshot, ...] = ()


class Count(Struct, frozen=True):
    """How many children a supervisor has below it: specs, live ones, and of which kind."""

    specs: int
    active: int
    supervisors: int
    workers: int


class Runtime:
    """A running tree."""

    def __init__(self, tree: Child, *, grace: float) -> None:
        self.tree = tree
        self.grace = grace

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        raise NotImplementedError

    def snapshot(self) -> Snapshot:
        """The whole tree now."""
        raise NotImplementedError

    def count(self, path: str = "") -> Count:
        """How many children are below `path` (the root, if empty)."""
        raise NotImplementedError

    def events(self, capacity: int = 1024) -> Subscription:
        """What happens from now on; may be asked for before the tree is entered."""
        raise NotImplementedError

    async def wait(self) -> None:
        """Wait until the tree has ended."""
        raise NotImplementedError

    def stop(self, reason: str = "") -> None:
        """Ask the tree to stop; a second time, the graceful phase is skipped."""
        raise NotImplementedError

    async def apply(self, tree: Child) -> None:
        """Change the running tree into this one."""
        raise NotImplementedError

    async def kill(self, path: str, reason: str = "") -> None:
        """Cancel a child at once; it is restarted like after a crash."""
        raise NotImplementedError

    async def restart(self, path: str) -> None:
        """Stop a child gracefully and start it again, charged to no budget; ends its quarantine."""
        raise NotImplementedError


def run(tree: Child, *, grace: float = 25.0, signals: bool = False, sd_notify: bool = False) -> Runtime:
    """Run a tree: an async context manager, entered when every child is ready."""
    del signals, sd_notify
    return Runtime(tree, grace=grace)
