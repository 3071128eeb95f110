"""The actor's end of its mailbox: receive, hold, reply."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Generic, TypeVar

from anyio import CancelScope
from anyio.lowlevel import checkpoint

from tds_runtime.envelope import MESSAGES_PER_CHECKPOINT, Envelope, Pace
from tds_runtime.mailbox import CORRELATION, Box, Mailbox, Statistics
from tds_runtime.pulse import Pulse
from tds_runtime.ref import Call

M = TypeVar("M")
R = TypeVar("R")


def _nothing() -> None:
    return None


class Inbox(Generic[M]):
    """What an actor reads from. A message is held until the next is asked for; that acknowledges it.

    One task reads at a time; a second one gets a RuntimeError. When the actor is to stop, the inbox ends: iteration
    stops, `receive` gives None, `batch` gives an empty list, and `ended` is true.
    """

    __slots__ = ("_on_first", "_reading", "box", "ended")

    def __init__(self, box: Box[M], *, on_first: Callable[[], None] = _nothing) -> None:
        self.box = box
        self._on_first: Callable[[], None] | None = on_first
        self._reading = False
        self.ended = False

    @classmethod
    def of(cls, *messages: M) -> Inbox[M]:
        """An inbox with just these messages, which then ends: for calling an actor's function by itself."""
        box: Box[M] = Box("inbox", Mailbox(max(1, len(messages))), None, pulse=Pulse(lambda: 0.0), pace=Pace())
        for message in messages:
            box.put(Envelope(message))
        return _Finite(box)

    def __aiter__(self) -> Inbox[M]:
        return self

    async def __anext__(self) -> M:
        envelope = await self._next(inf)
        if envelope is None:
            raise StopAsyncIteration
        return envelope.message  # type: ignore[no-any-return] # Ref.tell is typed by the same M

    async def receive(self, within: float = inf) -> M | None:
        """The next message, or None when none came `within` so many seconds or the inbox has ended.

        Cancel-safe: a cancelled receive has taken nothing.
        """
        envelope = await self._next(within)
        return None if envelope is None else envelope.message

    async def batch(self, limit: int, within: float = 0.0) -> list[M]:
        """Hold up to `limit` messages at once: waits for the first, then `within` seconds at most for the others.

        By default it takes what is there. The next call acknowledges all of them.
        An empty list means that the inbox has ended.
        """
        first = await self._next(inf)
        if first is None:
            return []
        held = [first, *self._lease_up_to(limit - 1)]
        if within > 0 and len(held) < limit:
            deadline = self.box.pulse.clock() + within
            while len(held) < limit and not self.ended and await self._arrival(deadline):
                held += self._lease_up_to(limit - len(held))
        return [envelope.message for envelope in held]

    def reply(self, message: Call[R], value: R) -> None:
        """Answer a question that is held now; changes nothing when nobody waits for the answer any more."""
        answer = self.box.leased_answer(message)
        if answer is not None:
            answer.reply(value)

    def correlation(self, message: M) -> str:
        """The correlation id that came with a held message; empty when it came without one, or is not held."""
        for envelope in self.box.leased:
            if envelope.message is message:
                return envelope.correlation
        return ""

    def statistics(self) -> Statistics:
        """The mailbox now."""
        return self.box.statistics()

    def end(self) -> None:
        """Deliver nothing more; a waiting reader wakes up."""
        self.ended = True
        self.box.wake()

    def _lease_up_to(self, limit: int) -> list[Envelope]:
        held: list[Envelope] = []
        while len(held) < limit and (envelope := self.box.lease()) is not None:
            held.append(envelope)
        return held

    async def _next(self, within: float) -> Envelope | None:
        """Acknowledge what is held, then lease one; None when none came in time or the inbox has ended."""
        if self._reading:
            raise RuntimeError("another task is reading this inbox")
        box = self.box
        if box.leased:
            box.acknowledge()
        if self._on_first is not None:
            self._on_first()
            self._on_first = None
        box.pace.left -= 1
        if box.pace.left <= 0:
            box.pace.left = MESSAGES_PER_CHECKPOINT
            await checkpoint()
        envelope = None if self.ended else box.lease()
        if envelope is None and not self.ended:
            envelope = await self._wait_and_lease(within)
        if envelope is not None:
            CORRELATION.set(envelope.correlation)
        return envelope

    async def _wait_and_lease(self, within: float) -> Envelope | None:
        if within <= 0:
            await checkpoint()
            return None if self.ended else self.box.lease()
        deadline = inf if within == inf else self.box.pulse.clock() + within
        while await self._arrival(deadline):
            envelope = self.box.lease()
            if envelope is not None:  # else all that came was questions whose askers have left
                return envelope
        return None

    async def _arrival(self, deadline: float) -> bool:
        """Wait for mail; False when there is none by the deadline (clock seconds) or the inbox has ended."""
        self._reading = True
        try:
            if deadline == inf:
                await self._mail()
            else:
                with CancelScope(deadline=deadline):
                    await self._mail()
        finally:
            self._reading = False
            self.box.arrived = None
        return bool(self.box.waiting) and not self.ended

    async def _mail(self) -> None:
        while not self.box.waiting and not self.ended:
            await self.box.wait_for_mail().wait()


class _Finite(Inbox[Any]):
    """Ends when its messages are used up."""

    __slots__ = ()

    async def _arrival(self, deadline: float) -> bool:  # noqa: ARG002 # nothing will come
        await checkpoint()
        self.ended = True
        return False
