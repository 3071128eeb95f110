"""How one actor reaches another: typed references, questions and their answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Generic, Protocol, Self, TypeVar

from anyio import CancelScope
from anyio.lowlevel import checkpoint
from msgspec import Struct

from tds_runtime.envelope import MESSAGES_PER_CHECKPOINT, Answer, Envelope
from tds_runtime.errors import AskCycle, AskTimeout, CalleeStopped, NotRunning, Stopped, WrongMessage
from tds_runtime.mailbox import CORRELATION, Box, Statistics
from tds_runtime.monitor import Monitor, Watchers

R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
Q_co = TypeVar("Q_co", covariant=True)
R_co = TypeVar("R_co", covariant=True)


class Question(Protocol[Q_co, R_co]):
    """What can be asked: knows its own type and the type of its answer."""

    def _question(self) -> tuple[Q_co, R_co]: ...


class Call(Struct, Generic[R], frozen=True):
    """A message that expects an answer of type R: `class GetStatus(Call[Status], frozen=True)`."""

    def _question(self) -> tuple[Self, R]:
        raise NotImplementedError("for the type checker only")


class Address:
    """Where a reference leads: known by path once its tree is planned, and by mailbox once it runs."""

    __slots__ = ("__weakref__", "box", "name", "path", "watchers")

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = ""
        self.box: Box[Any] | None = None
        self.watchers: Watchers | None = None

    def __str__(self) -> str:
        return self.path or self.name


ASKER: ContextVar[Box[Any] | None] = ContextVar("tds_runtime.asker", default=None)
"""The mailbox of the actor whose code is running; a fresh context per incarnation sets it once."""


class Ref(Generic[T_contra]):
    """A way to reach an actor that outlives its incarnations. Two references to one path are equal."""

    __slots__ = ("address",)

    def __init__(self, address: Address) -> None:
        self.address = address

    @property
    def path(self) -> str:
        """Where the actor lives in its tree; empty until the tree is planned."""
        return self.address.path

    @property
    def dangling(self) -> bool:
        """Whether this leads nowhere, because its spec is in no tree that was planned."""
        return not self.address.path

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ref):
            return NotImplemented
        if self.address is other.address:
            return True
        return bool(self.path) and self.path == other.path

    def __hash__(self) -> int:
        return hash(self.path or id(self.address))

    def __repr__(self) -> str:
        return f"<Ref {self.address}>"

    async def tell(self, message: T_contra) -> None:
        """Put a message into the mailbox, waiting for room if the mailbox says so.

        Cancel-safe: the message is in the mailbox only if this returns. Raises NotRunning, Stopped, MailboxFull or
        WrongMessage.
        """
        box = self._box()
        pace = box.pace
        pace.left -= 1
        if pace.left <= 0:
            pace.left = MESSAGES_PER_CHECKPOINT
            await checkpoint()
        if type(message) not in box.known:
            box.check(message)
        envelope = Envelope(message, CORRELATION.get())
        if not box.put(envelope):
            await box.make_room(envelope)

    def offer(self, message: T_contra) -> bool:
        """Put a message into the mailbox if that needs no waiting; False when it was not taken, for whatever reason.

        With `drop_oldest` there is always room. Raises WrongMessage.
        """
        box = self.address.box
        if box is None or box.closed:
            return False
        if type(message) not in box.known:
            box.check(message)
        envelope = Envelope(message, CORRELATION.get())
        if box.put(envelope):
            return True
        if box.options.overflow == "drop_newest":
            box.drop(envelope, accepted=False)
        return False

    async def ask(self, question: Question[T_contra, R], timeout: float = 5.0) -> R:  # noqa: ASYNC109 # bounds the callee, too
        """Ask and wait for the answer, at most `timeout` seconds.

        Fails at once when the actor crashes or stops with the question in hand, or is down and cannot be back in time
        (CalleeCrashed, CalleeStopped), when it finishes with the question without a reply (Unanswered), and when the
        answer would wait for itself (AskCycle); AskTimeout when time is up. A question that still waits in the mailbox
        when the actor crashes is answered by the next incarnation. An answer that comes late changes nothing.
        """
        box = self._box()
        if type(question) not in box.known:
            box.check(question)
        if not hasattr(question, "_question"):
            raise WrongMessage(f"{type(question).__name__} is no Call, so nobody answers it; use tell")
        answer = Answer(box.pulse.clock() + timeout)
        if box.away is not None and box.hopeless(answer):
            raise box.away
        with _asking(box), CancelScope(deadline=answer.deadline):
            await self._pose(box, Envelope(question, CORRELATION.get(), answer), answer)
        if answer.error is not None:
            raise answer.error
        if not answer.done:
            raise AskTimeout(f"{self.address} did not answer {type(question).__name__} within {timeout:g} s")
        return answer.value  # type: ignore[no-any-return] # Inbox.reply is typed by the same Call

    async def _pose(self, box: Box[Any], envelope: Envelope, answer: Answer) -> None:
        try:
            if not box.put(envelope):
                await box.make_room(envelope)
            await answer.arrived.wait()
        except Stopped as error:
            raise CalleeStopped(str(error)) from None
        finally:
            answer.abandoned = True

    def monitor(self) -> Monitor:
        """Learn of the next end of an incarnation, from this call on, for as long as somebody holds what it returns.

        Raises NotRunning.
        """
        if self.address.watchers is None:
            raise NotRunning(f"{self.address} is not in a running tree")
        return self.address.watchers.watch()

    def statistics(self) -> Statistics:
        """The mailbox now; raises NotRunning."""
        return self._box().statistics()

    def _box(self) -> Box[Any]:
        box = self.address.box
        if box is None and self.address.watchers is not None:
            raise NotRunning(f"{self.address} has no mailbox: it reads no inbox")
        if box is None:
            raise NotRunning(f"{self.address} is not in a running tree")
        return box


@contextmanager
def _asking(callee: Box[Any]) -> Iterator[None]:
    asker = ASKER.get()
    if asker is None:
        yield
        return
    chain = _chain(callee, asker)
    if chain:
        raise AskCycle(" -> ".join(box.path for box in (asker, *chain)))
    asker.asking.append(callee)
    try:
        yield
    finally:
        asker.asking.remove(callee)


def _chain(start: Box[Any], end: Box[Any]) -> list[Box[Any]]:
    """The chain of questions that are open now, from `start` to `end`; empty when there is none."""
    if start is end:
        return [start]
    for following in start.asking:
        rest = _chain(following, end)
        if rest:
            return [start, *rest]
    return []
