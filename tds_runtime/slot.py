"""What outlives incarnations: a child's place in the tree, with its mailbox, its history and its state."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextvars import Context as Variables
from contextvars import copy_context
from math import inf
from random import Random
from typing import Any, Literal, Protocol

from tds_runtime.budget import Ledger, Spending
from tds_runtime.change import Change
from tds_runtime.envelope import Answer, Envelope, Pace
from tds_runtime.errors import CalleeCrashed, CalleeStopped, Error, Hung
from tds_runtime.events import Broadcast, ChildEnded, DeadLettered, Event, Undelivered
from tds_runtime.failure import Failure
from tds_runtime.incarnation import Ending, Incarnation
from tds_runtime.mailbox import Box
from tds_runtime.monitor import Down, Watchers
from tds_runtime.pulse import Pulse
from tds_runtime.spec import Child, Spec, Supervisor


class Running(Protocol):
    """What a running supervisor does for others; see `operations`."""

    def stop(self, *, hurry: bool, final: bool) -> None: ...
    def kill(self, slot: Slot, reason: str) -> None: ...
    def cycle(self, slot: Slot) -> None: ...
    def add(self, spec: Spec[Any], limit: float) -> Answer: ...
    def remove(self, slot: Slot) -> Answer: ...
    def halt(self, slot: Slot) -> Answer: ...
    def reshape(self, spec: Supervisor, change: Change) -> None: ...
    def spending(self) -> Spending: ...


State = Literal[
    "waiting",  # not started yet
    "starting",
    "ready",
    "delayed",  # crashed, its next start has a time
    "quarantined",
    "stopping",  # asked to stop
    "cancelled",  # its scope was cancelled
    "unstopped",  # and it runs on
    "stopped",
    "finished",  # ended for good by its restart kind
]


class World:
    """What all of one running tree share."""

    __slots__ = ("blank", "broadcast", "clock", "dead_letters", "hung", "pace", "random")

    def __init__(self, broadcast: Broadcast, *, clock: Callable[[], float], random: Random) -> None:
        self.broadcast = broadcast
        self.clock = clock
        self.random = random
        self.pace = Pace()
        self.blank = _blank()
        self.dead_letters: deque[DeadLettered] = deque(maxlen=1000)
        self.hung = 0

    def publish(self, event: Event) -> None:
        """Say what happened."""
        self.broadcast.publish(event)


class Slot:
    """One child's place. Its supervisor decides about it; the rest only reads."""

    __slots__ = (
        "attempt",
        "box",
        "children",
        "cycling",
        "dynamic",
        "incarnation",
        "last_failure",
        "leaving",
        "ledger",
        "life",
        "path",
        "probes",
        "probing",
        "pulse",
        "ran",
        "ready_at",
        "removed",
        "restarts",
        "spec",
        "started_at",
        "state",
        "supervision",
        "was_ready",
        "watchers",
        "world",
    )

    def __init__(self, spec: Child, path: str, world: World) -> None:
        self.spec = spec
        self.path = path
        self.world = world
        self.state: State = "waiting"
        self.pulse = Pulse(world.clock)
        self.watchers = Watchers()
        self.box: Box[Any] | None = None
        self.children: dict[str, Slot] = {}
        self.supervision: Running | None = None
        self.life: Incarnation | None = None
        self.incarnation = 0
        self.restarts = 0
        self.attempt = 0
        own = spec.budget if isinstance(spec, Spec) else None
        self.ledger = None if own is None else Ledger(own)
        self.probing = False
        self.probes = 0
        self.cycling = False
        self.dynamic = False
        self.removed = False
        self.ran = 0.0
        self.started_at = 0.0
        self.ready_at: float | None = None
        self.was_ready = 0.0
        self.leaving = False
        self.last_failure: Failure | None = None

    # --- life and death

    def begin(self, now: float) -> None:
        """A new incarnation is about to be spawned."""
        self.state = "starting"
        self.restarts += self.incarnation > 0
        self.incarnation += 1
        self.leaving = False
        self.started_at = now
        self.ready_at = None
        self.pulse.reset()
        if self.box is not None:
            self.box.up()

    def end(self, ending: Ending) -> None:
        """The incarnation has ended: settle with its mailbox, its askers and its watchers at once."""
        now = self.world.clock()
        if self.life is not None and isinstance(self.life.verdict, Hung):
            self.world.hung -= 1
        self.life = None
        self.supervision = None
        self.ran += now - self.started_at
        failure = ending.failure()
        if failure is not None:
            self.last_failure = failure
        self._settle_mail(ending, failure)
        self.was_ready = 0.0 if self.ready_at is None else now - self.ready_at
        self.world.publish(
            ChildEnded(
                path=self.path,
                at=now,
                incarnation=self.incarnation,
                ending=ending.kind,
                ready_seconds=self.was_ready,
                failure=failure,
            )
        )
        if self.watchers:
            self.watchers.tell(Down(path=self.path, incarnation=self.incarnation, ending=ending.kind, failure=failure))

    def _settle_mail(self, ending: Ending, failure: Failure | None) -> None:
        if self.box is None:
            return
        reason = self._no_answer(ending, failure)
        if ending.returned:
            self.box.acknowledge()
        elif self.box.leased:
            assert isinstance(self.spec, Spec)
            for envelope in self.box.give_back(failure, self.spec.redeliver, reason):
                self._dead_letter(envelope)

    def _no_answer(self, ending: Ending, failure: Failure | None) -> Error:
        if ending.kind == "crash":
            return CalleeCrashed(f"{self.path} crashed before it answered: {failure}")
        return CalleeStopped(f"{self.path} stopped before it answered")

    def _dead_letter(self, envelope: Envelope) -> None:
        letter = DeadLettered(
            path=self.path,
            at=self.world.clock(),
            message=envelope.message,
            correlation=envelope.correlation,
            attempts=envelope.attempts,
            failures=envelope.failures,
        )
        self.world.dead_letters.append(letter)
        self.world.publish(letter)

    def down(self, until: float) -> None:
        """No incarnation will read before `until` (clock seconds): tell the askers that this is too late for."""
        if self.box is not None:
            self.box.down(CalleeCrashed(f"{self.path} is {self.state} after {self.last_failure}"), until)

    def close(self) -> None:
        """This slot will not run again: take no more mail."""
        if self.box is not None and not self.box.closed:
            self.box.close()
            if self.box.waiting:
                self.world.publish(Undelivered(path=self.path, at=self.world.clock(), count=len(self.box.waiting)))

    # --- the figures behind decisions

    def running(self) -> float:
        """Seconds this child has run in all its lives."""
        return self.ran + (0.0 if self.life is None else self.world.clock() - self.started_at)

    def spending(self) -> Spending | None:
        """What is spent of a child's own budget, or of the one that a running supervisor's children share."""
        if self.supervision is not None:
            return self.supervision.spending()
        return None if self.ledger is None else self.ledger.spending(lambda _name: self.running())

    def next_delay(self) -> float:
        """Count one more try and say how long to wait for it."""
        backoff = self.spec.backoff
        self.attempt = backoff.next_attempt(self.attempt, self.was_ready)
        return backoff.delay(self.attempt, self.world.random)

    def watched(self) -> bool:
        """Whether this child has a watchdog."""
        return isinstance(self.spec, Spec) and self.spec.watchdog is not None

    def hung_at(self) -> float:
        """When this child counts as hung if nothing moves; infinity when it cannot be."""
        if not isinstance(self.spec, Spec) or self.spec.watchdog is None or self.pulse.waits:
            return inf
        if self.box is not None and not self.box.leased and not self.box.waiting:
            return inf
        return self.pulse.since + self.spec.watchdog

    def probe_ends_at(self) -> float:
        """When the probe of a quarantined child has passed; infinity when this is none."""
        if not self.probing or self.ready_at is None or not isinstance(self.spec, Spec):
            return inf
        return self.ready_at + self.spec.quarantine.reset_after

    def pardon(self) -> None:
        """Forget the crashes."""
        self.probing = False
        self.probes = 0
        self.attempt = 0
        if self.ledger is not None:
            self.ledger.clear()


def _blank() -> Variables:
    """A context with nothing in it but the name of the event loop, without which anyio looks for it at every call."""
    blank = Variables()
    for variable, value in copy_context().items():
        if variable.name == "current_async_library_cvar":
            blank.run(variable.set, value)
    return blank
