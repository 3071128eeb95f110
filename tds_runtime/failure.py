"""What is kept of an error when its frames are let go."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Iterator
from itertools import islice
from traceback import FrameSummary, StackSummary, TracebackException
from types import CodeType, TracebackType

from msgspec import Struct

Step = tuple[CodeType, int]


class Trace:
    """The stacks of an error and of those behind it: code and instruction of each frame, but not the frames.

    Most crashes are read by nobody, or much later, while the next incarnation waits for this one's end. So what a
    report needs of the file system and of the tables of positions is looked up when it is written, not at the crash.
    """

    __slots__ = ("_report", "_stacks")

    def __init__(self, error: BaseException) -> None:
        self._report = TracebackException.from_exception(error, limit=0, lookup_lines=False)
        self._stacks = list(_stacks(self._report, error))

    @property
    def message(self) -> str:
        """What the error says; unlike `str(error)`, this never raises."""
        return str(self._report)

    def format(self) -> str:
        """The report as Python would print it."""
        while self._stacks:
            report, steps = self._stacks.pop()
            report.stack = StackSummary.from_list(_summaries(steps))
        return "".join(self._report.format())


class Failure(Struct, frozen=True, eq=False):
    """A failure without the frames it came through, so that keeping the report keeps nothing else alive."""

    type: str
    message: str
    trace: Trace
    masked: tuple[Failure, ...] = ()

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    @property
    def text(self) -> str:
        """The whole report with all stacks; a failure that another one hid comes first."""
        return "\n".join([*(hidden.text for hidden in self.masked), self.trace.format()])


def failure_of(error: BaseException, masked: tuple[BaseException, ...] = ()) -> Failure:
    """The report of an error: stacks as text to come, no frames."""
    trace = Trace(error)
    return Failure(type(error).__qualname__, trace.message, trace, tuple(failure_of(hidden) for hidden in masked))


def _stacks(report: TracebackException, error: BaseException) -> Iterator[tuple[TracebackException, list[Step]]]:
    """Each part of a report with the stack of the error that it is about: causes, contexts, members of groups."""
    pending: list[tuple[TracebackException | None, BaseException | None]] = [(report, error)]
    while pending:
        part, about = pending.pop()
        if part is None or about is None:
            continue
        yield part, list(_steps(about.__traceback__))
        pending += [(part.__cause__, about.__cause__), (part.__context__, about.__context__)]
        if part.exceptions is not None and isinstance(about, BaseExceptionGroup):
            pending += zip(part.exceptions, about.exceptions, strict=True)


def _steps(traceback: TracebackType | None) -> Iterator[Step]:
    while traceback is not None:
        yield traceback.tb_frame.f_code, traceback.tb_lasti
        traceback = traceback.tb_next


def _summaries(steps: Iterable[Step]) -> list[FrameSummary]:
    """The frames as the standard library describes them; positions are stored one for each two bytes of code."""
    for file in {code.co_filename for code, _instruction in steps}:
        linecache.checkcache(file)
    return [_summary(code, next(islice(code.co_positions(), instruction // 2, None))) for code, instruction in steps]


def _summary(code: CodeType, position: tuple[int | None, int | None, int | None, int | None]) -> FrameSummary:
    line, end_line, column, end_column = position
    return FrameSummary(
        code.co_filename,
        line,
        code.co_name,
        lookup_line=False,
        end_lineno=end_line,
        colno=column,
        end_colno=end_column,
    )
