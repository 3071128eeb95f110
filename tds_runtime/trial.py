"""One suspect at a time in a process: what may kill it again must find nobody else's suspect in work.

A task whose owners died with it in work is a suspect, and so are the innocent ones that were in work beside it. Each is
tried alone; whoever finds another trial on gives its own suspects back, the attempt refunded, and waits.
"""

from __future__ import annotations

import anyio


class Trial:
    """Shared by all who claim in this process."""

    def __init__(self, pause: float = 1.0) -> None:
        self._pause = pause
        self._ended: anyio.Event | None = None

    def begin(self) -> bool:
        """Begin a trial; False while another one is on."""
        if self._ended is not None:
            return False
        self._ended = anyio.Event()
        return True

    async def settle_down(self) -> None:
        """Wait before the first trial of a process: those who claim at its start must see that one is on."""
        pause, self._pause = self._pause, 0.0
        await anyio.sleep(pause)

    def end(self) -> None:
        """End the trial that `begin` began."""
        if self._ended is not None:
            self._ended.set()
        self._ended = None

    async def wait(self) -> None:
        """Return when the trial that is on has ended."""
        if self._ended is not None:
            await self._ended.wait()
