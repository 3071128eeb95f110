"""One suspect at a time in a process: what may kill it again must find nobody else's suspect in work.

A task whose owners died with it in work is a suspect, and so are the innocent ones that were in work beside it. Each is
claimed and tried alone. Whoever claims has the trial first, so that no suspect is charged with an attempt while another
one's trial is on, or while anybody has still to decide what to do with it.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

Suspects: TypeAlias = Literal["alone", "skip"]
"""What a claim does with a suspect that is the first in line: take it, without company, or take others."""

SUSPECT = 3
"""From this attempt on a task is tried alone: what it does, it does to itself. `queue/pick.sql` says it too."""


class Trial:
    """Shared by all who claim in this process."""

    def __init__(self) -> None:
        self._on = False

    def begin(self) -> bool:
        """Take the right to claim suspects; False while somebody has it."""
        if self._on:
            return False
        self._on = True
        return True

    def end(self) -> None:
        """Give up what `begin` gave."""
        self._on = False
