"""Keeps Python's collector of cyclic garbage from searching again and again what is there to stay."""

from __future__ import annotations

import gc
from typing import Literal

Care = Literal["leave", "hold", "freeze"]

_PATIENCE = 1000
"""Middle collections between two searches of the whole heap: some 7,000,000 objects, where Python's own is 70,000."""


class Garbage:
    """What a tree does to the collector, which belongs to the whole process, and takes back.

    `hold` makes the collector search the whole heap a hundred times less often while a tree starts: each such search
    visits every object made so far, and nearly all of them stay. `freeze` also exempts from all searches what stands
    once the tree is up. `leave` does nothing. Of several trees in one process the first does it, for all.
    """

    __slots__ = ("_care", "_frozen", "_held", "_kept")

    def __init__(self, care: Care) -> None:
        self._care = care
        self._kept: tuple[int, int, int] | None = None
        self._held: tuple[int, int, int] | None = None
        self._frozen = False

    def hold(self) -> None:
        """The tree begins to start."""
        young, middle, whole = gc.get_threshold()
        if self._care != "leave" and whole < _PATIENCE:
            self._kept, self._held = (young, middle, whole), (young, middle, _PATIENCE)
            gc.set_threshold(*self._held)

    def freeze(self) -> None:
        """The tree is up."""
        self._let_go()
        if self._care == "freeze" and gc.get_freeze_count() == 0:
            gc.collect()  # what is garbage now would stay as long as what is not
            gc.freeze()
            self._frozen = True

    def release(self) -> None:
        """The tree has ended, wherever it had got to."""
        self._let_go()
        if self._frozen:
            self._frozen = False
            gc.unfreeze()

    def _let_go(self) -> None:
        if self._kept is not None and gc.get_threshold() == self._held:  # else somebody has set his own meanwhile
            gc.set_threshold(*self._kept)
        self._kept = None
