"""A thread that notices when the event loop does not turn, and shows who holds it."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress

from anyio import RunFinishedError
from anyio.lowlevel import EventLoopToken


class LoopWatch:
    """Asks the loop for a sign of life again and again; reports once per silence.

    `report(seconds, stack)` is called in the watching thread with the stack of the loop's thread; times are real
    seconds. `clock` must tick while the loop is blocked, so it is never the loop's own.
    """

    def __init__(
        self,
        token: EventLoopToken,
        report: Callable[[float, str], None],
        *,
        after: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token
        self._report = report
        self._after = after
        self._clock = clock
        self._loop_thread = threading.get_ident()
        self._sign = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="loop-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch the loop of the calling thread."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._done.set()
        self._sign.set()
        self._thread.join(timeout=1.0)

    def tell_loop(self, callback: Callable[[], object]) -> None:
        """Let the loop call this when it turns again."""
        with suppress(RunFinishedError):
            self._token.backend_class.run_sync_soon(callback, (), self._token.native_token)

    def _watch(self) -> None:
        while not self._done.is_set():
            self._sign.clear()
            asked = self._clock()
            if not self._ask():
                return
            if not self._sign.wait(self._after) and not self._done.is_set():
                self._report(self._clock() - asked, self._stack())
                self._sign.wait()
            self._done.wait(self._after)

    def _ask(self) -> bool:
        try:
            self._token.backend_class.run_sync_soon(self._sign.set, (), self._token.native_token)
        except RunFinishedError:
            return False
        return True

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 # the documented way to see another thread
        return "".join(traceback.format_stack(frame)) if frame is not None else ""
