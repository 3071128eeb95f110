"""Structured logs: one event is one line, with its correlation id, without secrets, never in anybody's way.

`logs.get("webhooks").info("webhook.stored", entity="product")` is all that a room needs; the process calls `configure`
once. Event names are nouns.verbs.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import msgspec
import structlog
from msgspec import Struct
from structlog.typing import FilteringBoundLogger

from tds_runtime.context import ACTOR
from tds_runtime.mailbox import CORRELATION
from tds_runtime.redaction import Redactor
from tds_runtime.sink import Sink

__all__ = ["Logging", "Options", "Redactor", "bound", "configure", "correlation", "get"]

LISTED = 20
"""Ids that one line names at most."""

Observer = Callable[[Mapping[str, Any]], None]

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_COLOURS = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31;1m"}
_BREAKS = {code: f"\\u{code:04x}" for code in (0x7F, 0x85, 0x2028, 0x2029)}  # ends of lines to some readers of JSON
_FIRST = ("timestamp", "level", "event")


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [log]."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe lines to write."""
    format: Literal["auto", "json", "console"] = "auto"
    """JSON lines, or lines for people; auto means people on a terminal, JSON elsewhere."""
    queue: int = 10_000
    """Lines that may wait for a slow reader; more are dropped and counted."""
    field_limit: int = 2_000
    """Characters of a field that are kept."""


class Logging(Struct, frozen=True):
    """The logging of a process: its sink and its redactor."""

    sink: Sink
    redactor: Redactor

    def close(self) -> None:
        """Write what waits and stop the writer."""
        self.sink.close()


def get(name: str) -> FilteringBoundLogger:
    """The logger of a room; its lines carry the name as `room`."""
    logger: FilteringBoundLogger = structlog.get_logger(room=name)
    return logger


def bound(**fields: Any) -> AbstractContextManager[None]:
    """Bind fields (correlation_id, run_id, ...) to every line that the current task writes inside the block."""
    return structlog.contextvars.bound_contextvars(**fields)


def correlation(ids: Iterable[str]) -> dict[str, Any]:
    """Fields that tie the line of a batch to what caused it, and not to the message that woke the actor."""
    known = sorted({one for one in ids if one})
    if len(known) == 1:
        return {"correlation_id": known[0]}
    return {"correlation_id": "", "correlation_ids": known[:LISTED]} if known else {"correlation_id": ""}


def configure(
    options: Options,
    *,
    stream: TextIO | None = None,
    secrets: Sequence[str] | frozenset[str] = (),
    observers: Sequence[Observer] = (),
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Logging:
    """Send this process's lines, and those of libraries that use `logging`, to a stream (default: stdout)."""
    stream = sys.stdout if stream is None else stream
    redactor = Redactor(secrets, field_limit=options.field_limit)
    render = _renderer(options.format, stream)
    sink = Sink(stream.fileno(), capacity=options.queue, on_drop=_drop_report(render, clock, observers))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _correlate,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            _Finish(redactor, observers, clock),
            _Threshold(_LEVELS[options.level]),
            lambda _logger, _method, event: render(event),
        ],
        # Observers hear of what is worth a line by default, however little of it is written.
        wrapper_class=structlog.make_filtering_bound_logger(
            min(_LEVELS[options.level], logging.INFO) if observers else _LEVELS[options.level]
        ),
        logger_factory=lambda *_: _SinkLogger(sink),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(handlers=[_Bridge()], level=max(_LEVELS[options.level], logging.WARNING), force=True)
    return Logging(sink, redactor)


class _SinkLogger:
    """What structlog calls with a finished line."""

    def __init__(self, sink: Sink) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = self.exception = self.log = sink.write


class _Bridge(logging.Handler):
    """Carries the lines of libraries that log by the standard library."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = get(record.name)
        logger.log(record.levelno, "library.logged", message=record.getMessage(), exc_info=record.exc_info)


def _correlate(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the message at hand and who handles it, in which of its lives; what is bound by hand wins."""
    correlation, ctx = CORRELATION.get(), ACTOR.get()
    if correlation:
        event.setdefault("correlation_id", correlation)
    if ctx is not None:
        event.setdefault("actor", ctx.path)
        event.setdefault("incarnation", ctx.incarnation)
    return event


class _Finish:
    """Stamps, orders and redacts an event, and shows it to the observers."""

    def __init__(self, redactor: Redactor, observers: Sequence[Observer], clock: Callable[[], datetime]) -> None:
        self._redactor = redactor
        self._observers = tuple(observers)
        self._clock = clock

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        level, name = event.pop("level"), event.pop("event")
        first = {"timestamp": _stamp(self._clock()), "level": level, "event": self._redactor.text(str(name))}
        told = {key: value for key, value in event.items() if value is not None and value != ""}
        finished = first | self._redactor.fields(told)
        for observe in self._observers:
            observe(finished)
        return finished


class _Threshold:
    """Lets through what is severe enough to be written; observers have seen the rest by then."""

    def __init__(self, level: int) -> None:
        self._level = level

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if _LEVELS.get(event["level"], logging.CRITICAL) < self._level:
            raise structlog.DropEvent
        return event


def _stamp(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _drop_report(
    render: Callable[[Mapping[str, Any]], str], clock: Callable[[], datetime], observers: Sequence[Observer] = ()
) -> Callable[[int], str]:
    def report(count: int) -> str:
        line = {"timestamp": _stamp(clock()), "level": "warning", "event": "logs.dropped", "lines": count}
        for observe in observers:
            observe(line)
        return render(line) + "\n"

    return report


# --- rendering


def _renderer(format: str, stream: TextIO) -> Callable[[Mapping[str, Any]], str]:  # noqa: A002 - the option's name
    terminal = stream.isatty()
    if format == "console" or (format == "auto" and terminal):
        return _Console(colour=terminal and "NO_COLOR" not in os.environ)
    return _json_line


def _json_line(event: Mapping[str, Any]) -> str:
    try:
        return msgspec.json.encode(event).decode().translate(_BREAKS)
    except (ValueError, TypeError, OverflowError):  # a lone surrogate, an integer of 80 digits
        return json.dumps(event, default=repr)


class _Console:
    """Lines for people; what a field contains can neither break a line nor speak to the terminal."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, event: Mapping[str, Any]) -> str:
        level = str(event["level"])
        name = _printable(str(event["event"]))
        fields = "  ".join(
            f"{_printable(key)}={_printable(_word(value))}"
            for key, value in event.items()
            if key not in {*_FIRST, "exception", "room"}
        )
        line = f"{str(event['timestamp'])[11:23]} {level:<8}{name:<28} {fields}".rstrip()
        if self._colour and level in _COLOURS:
            line = f"{_COLOURS[level]}{line}\x1b[0m"
        return line + _indented(event.get("exception"))


def _word(value: Any) -> str:
    return value if isinstance(value, str) else _json_line(value)


def _printable(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _indented(exception: Any) -> str:
    lines = str(exception).splitlines() if exception else []
    return "".join(f"\n    | {_printable(line)}" for line in lines)
