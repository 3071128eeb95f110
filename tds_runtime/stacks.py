"""Where a task waits: its stack from the coroutine down to the await, without asking the event loop."""

from __future__ import annotations

from collections.abc import Coroutine
from linecache import getline
from types import CodeType, FrameType
from typing import Any

_DEEPEST = 200


def await_stack(coroutine: Coroutine[Any, Any, Any] | None) -> str:
    """The lines a suspended coroutine stands on, outermost first; empty when it has ended or not begun."""
    lines: list[str] = []
    awaited: Any = coroutine
    for _ in range(_DEEPEST):
        frame = _frame(awaited)
        if frame is None:
            break
        lines.append(_line(frame.f_code, frame.f_lineno))
        awaited = _awaited(awaited)
    return "".join(lines)


def _frame(awaitable: Any) -> FrameType | None:
    for attribute in ("cr_frame", "gi_frame", "ag_frame"):
        frame = getattr(awaitable, attribute, None)
        if isinstance(frame, FrameType):
            return frame
    return None


def _awaited(awaitable: Any) -> Any:
    for attribute in ("cr_await", "gi_yieldfrom", "ag_await"):
        awaited = getattr(awaitable, attribute, None)
        if awaited is not None:
            return awaited
    return None


def _line(code: CodeType, number: int | None) -> str:
    source = getline(code.co_filename, number or 0).strip()
    return f'  File "{code.co_filename}", line {number}, in {code.co_qualname}\n    {source}\n'
