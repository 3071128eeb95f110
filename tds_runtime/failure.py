"""What is kept of an error when its frames are let go."""

from __future__ import annotations

from traceback import TracebackException

from msgspec import Struct


class Failure(Struct, frozen=True, eq=False):
    """A failure without the frames it came through, so that keeping the report keeps nothing else alive."""

    type: str
    message: str
    trace: TracebackException
    masked: tuple[Failure, ...] = ()

    def __str__(self) -> str:
        return f"{self.type}: {self.message}" if self.message else self.type

    @property
    def text(self) -> str:
        """The whole report with all stacks; a failure that another one hid comes first."""
        return "\n".join([*(hidden.text for hidden in self.masked), "".join(self.trace.format())])


def failure_of(error: BaseException, masked: tuple[BaseException, ...] = ()) -> Failure:
    """The report of an error: stacks as text to come, no frames."""
    trace = TracebackException.from_exception(error, lookup_lines=False)
    return Failure(
        type(error).__qualname__,
        str(trace),  # unlike str(error), this never raises
        trace,
        tuple(failure_of(hidden) for hidden in masked),
    )
