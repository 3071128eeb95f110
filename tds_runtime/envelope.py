"""What travels between actors: a message with its correlation id, its tries, and the place for an answer."""

from __future__ import annotations

from math import inf
from typing import Any

from anyio import Event
from msgspec import Struct

from tds_runtime.errors import Error
from tds_runtime.failure import Failure

MESSAGES_PER_CHECKPOINT = 32


class Pace:
    """How many more messages may pass, anywhere in the runtime, before the task at hand lets others run."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MESSAGES_PER_CHECKPOINT


class Answer:
    """Where the reply to one question arrives, once; what comes later changes nothing."""

    __slots__ = ("abandoned", "arrived", "deadline", "done", "error", "value")

    def __init__(self, deadline: float = inf) -> None:
        self.deadline = deadline
        self.arrived = Event()
        self.done = False
        self.abandoned = False
        self.value: Any = None
        self.error: Error | None = None

    def reply(self, value: object) -> None:
        """Answer with a value."""
        if not self.done:
            self.done = True
            self.value = value
            self.arrived.set()

    def fail(self, error: Error) -> None:
        """Tell the asker that no reply will come."""
        if not self.done:
            self.done = True
            self.error = error
            self.arrived.set()


class Envelope(Struct, eq=False):
    """One message on its way: whose work it is, who waits for the reply, and how often it was tried."""

    message: Any
    correlation: str = ""
    answer: Answer | None = None
    attempts: int = 0
    failures: tuple[Failure, ...] = ()
