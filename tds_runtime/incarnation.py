"""One life of a child, from spawn to end, and the one place that says how it ended."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context as Variables
from math import inf
from typing import Any

from anyio import CancelScope, current_effective_deadline, get_cancelled_exc_class
from anyio.abc import TaskGroup
from msgspec import Struct

from tds_runtime.context import Context
from tds_runtime.errors import Error, Killed, StrayCancellation
from tds_runtime.events import Ended
from tds_runtime.failure import Failure, failure_of
from tds_runtime.inbox import Inbox
from tds_runtime.stacks import await_stack


class Ending(Struct, frozen=True, eq=False, kw_only=True):
    """How an incarnation ended.

    `error` is what a crash was, or what went wrong while stopping. `masked` is what that error hid: what was already
    on its way up when a cancelled cleanup replaced it. `returned` tells that the function came to its own end.
    """

    kind: Ended
    error: BaseException | None = None
    masked: tuple[BaseException, ...] = ()
    returned: bool = False

    @property
    def fatal(self) -> bool:
        """Whether this ends the process, whatever the restart kind says."""
        return isinstance(self.error, (KeyboardInterrupt, SystemExit))

    def failure(self) -> Failure | None:
        """The report, which keeps no frame alive."""
        return None if self.error is None else failure_of(self.error, self.masked)


class Incarnation:
    """One task. Its scope is cancelled by `cancel` only, so the state of the scope tells why it ended."""

    __slots__ = ("_body", "_calm", "_coroutine", "_ctx", "_inbox", "_on_end", "_scope", "_stopping", "verdict")

    def __init__(
        self,
        body: Callable[[], Coroutine[Any, Any, None]],
        ctx: Context,
        inbox: Inbox[Any] | None = None,
        *,
        on_end: Callable[[Ending, bool], None],
    ) -> None:
        """`on_end` is told how it ended, and whether the scopes around it, its supervisor's, are cancelled."""
        self._body = body
        self._ctx = ctx
        self._inbox = inbox
        self._on_end = on_end
        self._coroutine: Coroutine[Any, Any, None] | None = None
        self._scope = CancelScope()  # the handle of a task has one as well, which takes no reason
        self._calm = CancelScope()
        self._stopping = False
        self.verdict: Error | None = None

    def begin(self, group: TaskGroup, name: str, variables: Variables) -> None:
        """Start the task in the group, with these context variables."""
        group.create_task(self._live(), name=name, context=variables)

    async def _live(self) -> None:
        """Run to the end, report how it ended, and let no exception out."""
        raised: BaseException | None = None
        with self._scope, self._calm:
            try:
                self._coroutine = self._body()
                await self._coroutine
            except GeneratorExit:  # the event loop was closed around us; there is nobody left to tell
                raise
            except BaseException as error:  # noqa: BLE001 # the one place where every ending is caught and classified
                raised = error
        outside = current_effective_deadline() == -inf
        asked = self._stopping or outside or self._scope.cancel_called
        self._coroutine = None
        ending = classify(raised, verdict=self.verdict, asked=asked)
        del raised  # its traceback holds this frame: what this frame holds of it would be garbage for the collector
        self._on_end(ending, outside)
        del ending

    def stop(self) -> None:
        """Ask it to finish what it holds and return: the inbox ends and `stopping` is set."""
        self._stopping = True
        self._ctx.stopping.set()
        if self._inbox is not None:
            self._inbox.end()

    def cancel(self, verdict: Error | None, reason: str) -> None:
        """Cancel the scope; the first verdict stands and makes the end a crash or a kill instead of a shutdown."""
        if self.verdict is None and not self._scope.cancel_called:
            self.verdict = verdict
        self._scope.cancel(reason)

    def give_up(self) -> None:
        """Stop cancelling a task that swallows it: undelivered cancellation is repeated on every turn of the loop."""
        self._calm.shield = True

    def nudge(self) -> None:
        """Deliver the cancellation once more, to wherever the task waits by now."""
        self._calm.shield = False
        self._calm.shield = True

    def stack(self) -> str:
        """Where it waits now."""
        return await_stack(self._coroutine)


def classify(raised: BaseException | None, *, verdict: Error | None, asked: bool) -> Ending:
    """How a life ended: by what was asked of it, not by the type of what it raised.

    `verdict` is the engine's or an operator's reason to cancel it (hung, killed, not ready in time); `asked` tells
    that it was asked to stop, or that its own scope or one around it was cancelled. A cancellation that came without
    any of these is stray, and a crash: left alone, it would silently end the whole group on asyncio (anyio#374).
    """
    error, hidden = essence(raised)
    fatal = _fatal(error)
    if fatal is not None:
        return Ending(kind="crash", error=fatal)
    if verdict is not None:
        masked = hidden if error is None else (error, *hidden)
        return Ending(kind="killed" if isinstance(verdict, Killed) else "crash", error=verdict, masked=masked)
    if asked:
        return Ending(kind="shutdown", error=error or next(iter(hidden), None), returned=raised is None)
    if raised is None:
        return Ending(kind="normal", returned=True)
    if error is None:
        error = StrayCancellation()
        error.__cause__ = raised
    return Ending(kind="crash", error=error)


def essence(raised: BaseException | None) -> tuple[BaseException | None, tuple[BaseException, ...]]:
    """What really went wrong: without cancellations, and with groups of one replaced by that one.

    The second part is what a cancellation hid: an exception that was on its way up when a cancelled cleanup replaced
    it (trio#455).
    """
    if raised is None:
        return None, ()
    cancelled = get_cancelled_exc_class()
    if isinstance(raised, cancelled):
        return None, tuple(_hidden(raised, cancelled))
    return _without(raised, cancelled), ()


def _hidden(raised: BaseException, cancelled: type[BaseException]) -> Iterator[BaseException]:
    seen: set[int] = set()
    context = raised.__context__
    while context is not None and id(context) not in seen:
        seen.add(id(context))
        error = None if isinstance(context, GeneratorExit) else _without(context, cancelled)
        if error is not None:
            yield error
            return  # what this one hid in turn is in its own context
        context = context.__context__


def _without(error: BaseException, cancelled: type[BaseException]) -> BaseException | None:
    """What is left of an error, or of a group of them, when its cancellations are taken out."""
    if isinstance(error, BaseExceptionGroup):
        rest = error.split(cancelled)[1]
        return None if rest is None else collapse(rest)
    return None if isinstance(error, cancelled) else error


def collapse(error: BaseException) -> BaseException:
    """The only leaf of a group of groups, or the group itself when it has more."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _fatal(error: BaseException | None) -> BaseException | None:
    """The order to leave the process, wherever it hides."""
    if isinstance(error, BaseExceptionGroup):
        first: BaseException | None = error.split((KeyboardInterrupt, SystemExit))[0]
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        return first
    return error if isinstance(error, (KeyboardInterrupt, SystemExit)) else None
