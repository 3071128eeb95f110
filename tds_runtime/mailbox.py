"""Where messages wait: bounded, leased, owned by the slot and so older than any one incarnation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from contextvars import ContextVar
from math import inf
from typing import Any, Generic, Literal, TypeVar

from anyio import Event
from msgspec import Struct

from tds_runtime.envelope import Answer, Envelope, Pace
from tds_runtime.errors import (
    CalleeStopped,
    Error,
    MailboxFull,
    QuestionDropped,
    SpecError,
    Stopped,
    Unanswered,
    WrongMessage,
    one_of,
)
from tds_runtime.failure import Failure
from tds_runtime.pulse import Pulse
from tds_runtime.senders import Senders

M = TypeVar("M")

Overflow = Literal["block", "reject", "drop_oldest", "drop_newest", "conflate"]

CORRELATION: ContextVar[str] = ContextVar("tds_runtime.correlation", default="")
"""The correlation id of the message at hand; it travels in envelopes, because contexts do not."""


class Mailbox(Struct, frozen=True):
    """What a mailbox holds and what happens to one message too many.

    `block` makes `tell` wait, `reject` raises MailboxFull, `drop_oldest` and `drop_newest` count what they drop, and
    `conflate` replaces the waiting message of the same `key` in its place in the row (without a key function, equal
    messages are one) and waits when it is full of different keys. Questions are never conflated. `capacity` counts
    messages that wait, not those in hand. Raises SpecError for a capacity below 1 and for a key without `conflate`.
    """

    capacity: int = 256
    overflow: Overflow = "block"
    key: Callable[[Any], Hashable] | None = None

    def __post_init__(self) -> None:
        one_of("overflow", self.overflow, Overflow)
        if self.capacity < 1:
            raise SpecError(f"a mailbox holds at least one message, got capacity={self.capacity}")
        if self.key is not None and self.overflow != "conflate":
            raise SpecError(f"a key is for overflow='conflate', not for overflow={self.overflow!r}")


class Statistics(Struct, frozen=True, kw_only=True):
    """A mailbox at one moment; accepted = handled + dropped + dead + leased + queued, always."""

    capacity: int
    queued: int
    leased: int
    blocked_senders: int
    accepted: int
    handled: int
    dropped: int
    dead: int


class Box(Generic[M]):
    """The queue itself. One receiver leases, any number of senders put; nothing here belongs to an incarnation."""

    __slots__ = (
        "accepted",
        "arrived",
        "asking",
        "away",
        "back_at",
        "closed",
        "conflates",
        "dead",
        "dropped",
        "handled",
        "keyed",
        "known",
        "leased",
        "options",
        "pace",
        "path",
        "pulse",
        "senders",
        "types",
        "waiting",
    )

    def __init__(
        self, path: str, options: Mailbox, types: tuple[type, ...] | None, *, pulse: Pulse, pace: Pace
    ) -> None:
        self.path = path
        self.options = options
        self.conflates = options.overflow == "conflate"
        self.types = types
        self.away: Error | None = None
        self.back_at = -inf
        self.pulse = pulse
        self.pace = pace
        self.known: set[type] = set()
        self.waiting: deque[Envelope] = deque()
        self.leased: list[Envelope] = []
        self.keyed: dict[Hashable, Envelope] = {}
        self.senders = Senders()
        self.arrived: Event | None = None
        self.closed = False
        self.asking: list[Box[Any]] = []
        self.accepted = self.handled = self.dropped = self.dead = 0

    def statistics(self) -> Statistics:
        """The mailbox now."""
        return Statistics(
            capacity=self.options.capacity,
            queued=len(self.waiting),
            leased=len(self.leased),
            blocked_senders=len(self.senders),
            accepted=self.accepted,
            handled=self.handled,
            dropped=self.dropped,
            dead=self.dead,
        )

    # --- the sender's side

    def check(self, message: object) -> None:
        """Refuse a message of a type that the actor did not name."""
        if self.types is not None and not isinstance(message, self.types):
            names = " | ".join(sorted(accepted.__name__ for accepted in self.types)) or "no messages"
            raise WrongMessage(f"{self.path} takes {names}, not {type(message).__name__}")
        self.known.add(type(message))

    def put(self, envelope: Envelope) -> bool:
        """Take a message if there is room or the policy makes room; False when there is none."""
        if self.closed:
            raise Stopped(f"{self.path} has stopped")
        if self.conflates and self._conflated(envelope):
            return True
        if len(self.waiting) + self.senders.reserved >= self.options.capacity:
            if self.options.overflow != "drop_oldest":
                return False
            self.drop(self._pop(), accepted=True)
        self._append(envelope)
        return True

    async def make_room(self, envelope: Envelope) -> None:
        """Do what the policy says about a message that found no room.

        A cancelled wait leaves nothing behind: the message is in the mailbox only if this returns.
        """
        match self.options.overflow:
            case "reject":
                raise MailboxFull(f"the mailbox of {self.path} is full ({self.options.capacity} messages)")
            case "drop_newest":
                self.drop(envelope, accepted=False)
            case _:
                if not await self.senders.turn(self._grant):
                    raise Stopped(f"{self.path} has stopped")
                if self.conflates and self._conflated(envelope):
                    self._grant()
                else:
                    self._append(envelope)

    def _grant(self) -> None:
        if self.senders:
            self.senders.grant(self.options.capacity - len(self.waiting) - self.senders.reserved)

    def _append(self, envelope: Envelope) -> None:
        self.waiting.append(envelope)
        self.accepted += 1
        if self.conflates and envelope.answer is None:
            self.keyed[self._key(envelope)] = envelope
        if self.arrived is not None:
            self.arrived.set()
            self.arrived = None
        elif len(self.waiting) == 1 and not self.leased:  # mail lies from now on, and nobody is there to take it
            self.pulse.beat()

    def _conflated(self, envelope: Envelope) -> bool:
        older = self.keyed.get(self._key(envelope)) if envelope.answer is None else None
        if older is None:
            return False
        older.message, older.correlation = envelope.message, envelope.correlation
        self.accepted += 1
        self.dropped += 1
        return True

    def _key(self, envelope: Envelope) -> Hashable:
        key = self.options.key
        return envelope.message if key is None else key(envelope.message)

    def drop(self, envelope: Envelope, *, accepted: bool) -> None:
        """Let a message go, counted; its asker learns it at once."""
        self.accepted += not accepted
        self.dropped += 1
        if envelope.answer is not None:
            envelope.answer.fail(QuestionDropped(f"{self.path} dropped the question: its mailbox is full"))

    # --- the receiver's side

    def lease(self) -> Envelope | None:
        """Hand the oldest message to the receiver, which holds it until it asks for the next; None when none waits."""
        while self.waiting:
            envelope = self._pop()
            self._grant()
            if envelope.answer is not None and envelope.answer.abandoned:
                self.dropped += 1
                continue
            envelope.attempts += 1
            self.leased.append(envelope)
            self.pulse.beat()
            return envelope
        return None

    def _pop(self) -> Envelope:
        envelope = self.waiting.popleft()
        if self.conflates and envelope.answer is None:
            self.keyed.pop(self._key(envelope), None)
        return envelope

    def acknowledge(self) -> None:
        """The receiver is done with all that it held."""
        self.handled += len(self.leased)
        for envelope in self.leased:
            if envelope.answer is not None:
                envelope.answer.fail(Unanswered(f"{self.path} finished with the question and did not reply"))
        self.leased.clear()

    def leased_answer(self, message: object) -> Answer | None:
        """Where the reply to a held question goes; the same object may be held for several askers."""
        for envelope in self.leased:
            if envelope.message is message and envelope.answer is not None and not envelope.answer.done:
                return envelope.answer
        return None

    def wait_for_mail(self) -> Event:
        """An event that the next arrival sets."""
        self.arrived = Event()
        return self.arrived

    def wake(self) -> None:
        """Let a waiting receiver look again."""
        if self.arrived is not None:
            self.arrived.set()
            self.arrived = None

    # --- the slot's side

    def give_back(self, failure: Failure | None, redeliver: int, reason: Error) -> list[Envelope]:
        """An incarnation ended with messages in hand: those that may be tried again return to the front, in order.

        Returns those that may not. Questions never return: their askers fail with `reason`.
        """
        held, self.leased = self.leased, []
        again: list[Envelope] = []
        dead: list[Envelope] = []
        for envelope in held:
            if failure is not None:
                envelope.failures = (*envelope.failures, failure)
            if envelope.answer is not None:
                envelope.answer.fail(reason)
            retry = envelope.answer is None and envelope.attempts <= redeliver
            (again if retry else dead).append(envelope)
        self.waiting.extendleft(reversed([envelope for envelope in again if not self._outdated(envelope)]))
        self.dead += len(dead)
        return dead

    def _outdated(self, envelope: Envelope) -> bool:
        if not self.conflates:
            return False
        if self.keyed.setdefault(self._key(envelope), envelope) is envelope:
            return False
        self.dropped += 1
        return True

    def down(self, reason: Error, until: float) -> None:
        """Nobody will read before `until` (clock seconds): every asker whose time is up by then fails now."""
        self.away, self.back_at = reason, until
        if any(self.hopeless(envelope.answer) for envelope in self.waiting):
            kept: list[Envelope] = []
            for envelope in self.waiting:
                if envelope.answer is not None and self.hopeless(envelope.answer):
                    envelope.answer.fail(reason)
                    self.dropped += 1
                else:
                    kept.append(envelope)
            self.waiting = deque(kept)
            self._grant()

    def up(self) -> None:
        """A reader is on its way."""
        self.closed = False
        self.away, self.back_at = None, -inf

    def hopeless(self, answer: Answer | None) -> bool:
        """Whether an answer cannot come before its asker's time is up."""
        return answer is not None and answer.deadline <= self.back_at

    def close(self) -> None:
        """Take nothing more: waiting senders and askers fail; what is queued stays countable."""
        self.closed = True
        self.down(CalleeStopped(f"{self.path} stopped before it answered"), inf)
        self.senders.dismiss()
        self.wake()

    def reconfigure(self, options: Mailbox, types: Iterable[type] | None) -> None:
        """Change capacity and policy in place; what is queued stays, even above a smaller capacity."""
        self.options = options
        self.conflates = options.overflow == "conflate"
        self.types = None if types is None else tuple(types)
        self.known.clear()
        self.keyed = {}
        if self.conflates:
            for envelope in self.waiting:
                if envelope.answer is None:
                    self.keyed.setdefault(self._key(envelope), envelope)
        self._grant()
