"""Everything that can go wrong, by name: an exception's docstring is its message."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_args

from msgspec import Struct


class Error(Exception):
    """Something in the runtime failed."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or inspect.getdoc(type(self)))


def code_of(error: BaseException) -> str:
    """The error's name as operators see it in rows and lines: source_answer_invalid."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


# --- expected outages: waited out by whoever met them, never charged to a restart budget


class Outage(Error):
    """Something outside is away and is expected back."""


class DatabaseGone(Outage):
    """Postgres cannot be reached, is not ready, or went away in the middle of a statement."""


class DatabaseRefused(Error):
    """The database cannot be used as it is; the message says what to change."""


class SourceDown(Outage):
    """The source does not answer, or answers with its own failure."""


class RateLimited(Outage):
    """The source asked for a pause."""

    def __init__(self, message: str | None = None, *, until: datetime | None = None) -> None:
        super().__init__(message)
        self.until = until


class BreakerOpen(SourceDown):
    """The breaker is open: the upstream failed too often and is left alone for a while."""

    def __init__(self, message: str | None = None, *, until: datetime | None = None) -> None:
        super().__init__(message)
        self.until = until


class SourceRefused(SourceDown):
    """The source refuses our credentials; nothing is tried again until they change or the next probe is due."""

    def __init__(self, message: str | None = None, *, until: datetime | None = None) -> None:
        super().__init__(message)
        self.until = until


# --- answers of the source that no waiting cures


class SourceAnswerInvalid(Error):
    """The source's answer is not what was asked for: not JSON, cut off, or the wrong page."""


class SourceRejected(Error):
    """The source understood the call and said no."""

    def __init__(self, message: str | None = None, *, status: int = 0, code: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class RecordMissing(SourceRejected):
    """The source has no record of this id."""


class BudgetRefused(Error):
    """The day has not enough calls left for this, and nobody insisted."""


# --- queue


class LeaseLost(Error):
    """Another owner holds what this one believed to hold; nothing was changed."""


# --- engine


class SpecError(Error):
    """A tree was described in a way that cannot run."""


def one_of(what: str, value: object, words: Any) -> None:
    """Refuse a value that is none of the words of a Literal; raises SpecError."""
    if value not in get_args(words):
        raise SpecError(f"{what} is one of {', '.join(get_args(words))}, not {value!r}")


class StartFailed(Error):
    """A child did not become ready."""

    def __init__(self, message: str | None = None, *, path: str = "", stack: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.stack = stack


class StartTimeout(Error):
    """A child was not ready within its start_timeout."""


class EndedUnready(Error):
    """A child was stopped before it was ready."""


class BudgetExhausted(Error):
    """A supervisor restarted its children more often than its budget allows."""

    def __init__(self, message: str | None = None, *, path: str = "", child: str = "") -> None:
        super().__init__(message)
        self.path = path
        self.child = child


class StrayCancellation(Error):
    """A cancellation that nobody in the tree asked for ended this child."""


class Hung(Error):
    """A message was held, or mail lay waiting, longer than the watchdog allows without a beat."""


class Killed(Error):
    """An operator killed this child."""


class Undeliverable(Error):
    """The message was not accepted."""


class NotRunning(Undeliverable):
    """The reference points to a child that is in no running tree."""


class Stopped(Undeliverable):
    """The actor has stopped and will not take this message."""


class MailboxFull(Undeliverable):
    """The mailbox is full and its policy is not to wait."""


class WrongMessage(Undeliverable, TypeError):
    """The actor does not understand messages of this type."""


class NoAnswer(Error):
    """A question was not answered."""


class AskTimeout(NoAnswer, TimeoutError):
    """The answer did not come in time."""


class CalleeCrashed(NoAnswer):
    """The actor that was asked crashed before it answered."""


class CalleeStopped(NoAnswer):
    """The actor that was asked stopped before it answered."""


class Unanswered(NoAnswer):
    """The actor finished with the question and did not reply."""


class QuestionDropped(NoAnswer):
    """The question was pushed out of a full mailbox."""


class AskCycle(NoAnswer):
    """The question would wait for itself: the actor asked is, at the end of a chain, waiting for the one that asks."""


class NoSuchChild(Error, LookupError):
    """There is no child at this path."""


class AlreadyRunning(Error):
    """A child of this name is there already."""


class StillRunning(Error):
    """A child that runs cannot be deleted."""


class PoolFull(Error):
    """The pool has as many children as it may have."""


class ApplyFailed(Error):
    """The new tree runs, but not all that it changed came up."""


class SignalsTaken(Error):
    """Somebody else in this process already handles the signals that this runtime was told to own."""


# --- configuration


class Problem(Struct, frozen=True, kw_only=True):
    """One thing wrong with the configuration: where it stands and what it should be."""

    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    source_line: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        lines = [f"{place}: {self.message}" if place else self.message]
        if self.source_line:
            lines += [f"    {self.source_line}", f"    {' ' * (self.column - 1)}^"]
        if self.hint:
            lines.append(f"    {self.hint}")
        return "\n".join(lines)


class ConfigError(Error):
    """The configuration is not valid."""

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        found = (Problem(message=problems),) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in found))
        self.problems = found
