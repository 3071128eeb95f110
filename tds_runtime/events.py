"""What the engine says happened, and the broadcast that never waits for a listener."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Literal, Self
from weakref import ref as weak

from anyio import Event as Flag
from msgspec import Struct

from tds_runtime.failure import Failure

Ended = Literal["normal", "shutdown", "crash", "killed"]


class Event(Struct, frozen=True, kw_only=True):
    """Something happened to `path`, `at` clock seconds."""

    path: str
    at: float


class ChildStarting(Event, frozen=True, kw_only=True):
    """An incarnation was spawned."""

    incarnation: int


class ChildReady(Event, frozen=True, kw_only=True):
    """An incarnation said that it is ready, or asked for its first message."""

    incarnation: int


class ChildEnded(Event, frozen=True, kw_only=True):
    """An incarnation ended."""

    incarnation: int
    ending: Ended
    ready_seconds: float
    failure: Failure | None = None


class RestartScheduled(Event, frozen=True, kw_only=True):
    """A child will be started again after `delay` seconds; `attempt` counts the tries since it last stayed up."""

    delay: float
    attempt: int


class ChildFinished(Event, frozen=True, kw_only=True):
    """A child has ended for good: its restart kind says so."""


class ChildQuarantined(Event, frozen=True, kw_only=True):
    """A child used up its own budget; it is left alone for `cooldown` seconds and then tried once."""

    cooldown: float
    failure: Failure | None = None


class ChildReleased(Event, frozen=True, kw_only=True):
    """A child left quarantine: its probe stayed up, or somebody let it go."""

    by: Literal["probe", "operator"]


class ChildHung(Event, frozen=True, kw_only=True):
    """A child made no progress for longer than its watchdog allows; it is cancelled and restarted."""

    incarnation: int
    idle_seconds: float
    stack: str


class StopRequested(Event, frozen=True, kw_only=True):
    """A child was asked to stop."""

    reason: str


class ChildCancelled(Event, frozen=True, kw_only=True):
    """A child did not stop by itself in time, or was not given the time, and its scope was cancelled."""

    reason: str


class ChildUnstopped(Event, frozen=True, kw_only=True):
    """A child has swallowed its cancellation and still runs; Python cannot kill a task."""

    incarnation: int
    stack: str


class SupervisorExhausted(Event, frozen=True, kw_only=True):
    """A supervisor has used up its budget and fails for its own supervisor to see."""

    child: str
    failure: Failure | None = None


class StartRefused(Event, frozen=True, kw_only=True):
    """The first start of a supervisor failed because this child did not become ready."""

    failure: Failure


class DeadLettered(Event, frozen=True, kw_only=True):
    """A message was given up after `attempts` tries."""

    message: Any
    correlation: str
    attempts: int
    failures: tuple[Failure, ...] = ()


class Undelivered(Event, frozen=True, kw_only=True):
    """An actor stopped for good with this many messages still waiting."""

    count: int


class LoopBlocked(Event, frozen=True, kw_only=True):
    """The event loop did not turn for this long; `stacks` shows who holds it."""

    seconds: float
    stacks: str


class TreeReady(Event, frozen=True, kw_only=True):
    """Every child of the tree is ready."""


class TreeStopping(Event, frozen=True, kw_only=True):
    """The tree begins to stop."""

    reason: str


class TreeStopped(Event, frozen=True, kw_only=True):
    """The tree has stopped."""

    failure: Failure | None = None


class Lagged(Struct, frozen=True):
    """This listener was too slow and missed `missed` events here."""

    missed: int


class Heard(Struct, frozen=True, kw_only=True):
    """A subscription at one moment: events unread, and how many it has missed in all."""

    capacity: int
    waiting: int
    missed: int


class Subscription:
    """One listener's events from now on; the oldest are dropped when it is slow, and a Lagged stands in their place."""

    __slots__ = ("__weakref__", "_arrived", "_capacity", "_ended", "_lost", "_missed", "_waiting")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._waiting: deque[Event] = deque()
        self._missed = 0
        self._lost = 0
        self._arrived: Flag | None = None
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Event | Lagged]:
        return self

    async def __anext__(self) -> Event | Lagged:
        while not self._waiting:
            if self._ended:
                raise StopAsyncIteration
            self._arrived = Flag()
            await self._arrived.wait()
        return self.next_nowait()

    def next_nowait(self) -> Event | Lagged:
        """The next event that is here already; IndexError when none is."""
        if self._missed:
            missed, self._missed = self._missed, 0
            return Lagged(missed)
        return self._waiting.popleft()

    def statistics(self) -> Heard:
        """How far this listener is behind."""
        return Heard(capacity=self._capacity, waiting=len(self._waiting), missed=self._lost)

    def publish(self, event: Event) -> None:
        """Hand over one event; never waits."""
        if self._ended:
            return
        if len(self._waiting) >= self._capacity:
            self._waiting.popleft()
            self._missed += 1
            self._lost += 1
        self._waiting.append(event)
        self._wake()

    def close(self) -> None:
        """Take nothing more; what is here can still be read."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None


class Broadcast:
    """Hands every event to every subscription that somebody still holds."""

    __slots__ = ("_subscriptions", "published")

    def __init__(self) -> None:
        self._subscriptions: list[weak[Subscription]] = []
        self.published = 0

    def subscribe(self, capacity: int) -> Subscription:
        """A new listener."""
        subscription = Subscription(capacity)
        self._subscriptions = [known for known in self._subscriptions if known() is not None]
        self._subscriptions.append(weak(subscription))
        return subscription

    def publish(self, event: Event) -> None:
        """Tell everybody."""
        self.published += 1
        for known in self._subscriptions:
            subscription = known()
            if subscription is not None:
                subscription.publish(event)

    def close(self) -> None:
        """No more events will come."""
        for known in self._subscriptions:
            subscription = known()
            if subscription is not None:
                subscription.close()
        self._subscriptions = []
