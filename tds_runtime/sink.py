"""Where log lines leave the process: a bounded queue and a thread, so that a slow or closed pipe blocks nobody."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable

from msgspec import Struct


class Statistics(Struct, frozen=True, kw_only=True):
    """What became of the lines given to a sink."""

    written: int
    dropped: int
    waiting: int
    capacity: int


class Sink:
    """Writes lines to a file descriptor from its own thread; drops and counts what does not fit."""

    def __init__(
        self,
        descriptor: int,
        *,
        capacity: int = 10_000,
        on_drop: Callable[[int], str] = lambda count: f"{count} log lines were dropped\n",
    ) -> None:
        self._descriptor = descriptor
        self._capacity = capacity
        self._on_drop = on_drop
        self._lines: deque[str] = deque()
        self._changed = threading.Condition()
        self._written = self._dropped = self._unreported = 0
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="log-sink", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line, without its newline; never blocks."""
        with self._changed:
            if self._closing or len(self._lines) >= self._capacity:
                self._drop(1)
                return
            self._lines.append(line)
            self._changed.notify()

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for at most `timeout` seconds; a pipe that nobody reads keeps nobody from leaving."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout)

    def statistics(self) -> Statistics:
        """Counts since the start."""
        with self._changed:
            return Statistics(
                written=self._written, dropped=self._dropped, waiting=len(self._lines), capacity=self._capacity
            )

    def _drop(self, count: int) -> None:
        self._dropped += count
        self._unreported += count

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closing)
                lines = list(self._lines)
                self._lines.clear()
                unreported, self._unreported = self._unreported, 0
                if not lines:
                    return
            report = self._on_drop(unreported) if unreported else ""
            self._send(report + "".join(f"{line}\n" for line in lines), len(lines), unreported)

    def _send(self, text: str, lines: int, reported: int) -> None:
        left = memoryview(text.encode(errors="backslashreplace"))
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
        except OSError:
            # The reader is gone or the disk is full: these lines are lost and counted, the next ones are tried again.
            with self._changed:
                self._drop(lines)
                self._unreported += reported
            return
        with self._changed:
            self._written += lines
