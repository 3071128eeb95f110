"""Senders that wait for room in a mailbox: a row, granted place by place, that loses nothing to a cancellation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from anyio import Event


class _Ticket:
    """One sender's place in the row."""

    __slots__ = ("granted", "turn")

    def __init__(self) -> None:
        self.turn = Event()
        self.granted = False


class Senders:
    """Who waits for room. A granted place stays `reserved` until its sender has woken up and used it."""

    __slots__ = ("_row", "reserved")

    def __init__(self) -> None:
        self._row: deque[_Ticket] = deque()
        self.reserved = 0

    async def turn(self, pass_on: Callable[[], None]) -> bool:
        """Wait for a place; False when there will be none.

        A sender that is cancelled between the grant and its next step has not sent; it gives its place back and
        calls `pass_on`, so that it goes to the next in the row.
        """
        ticket = _Ticket()
        self._row.append(ticket)
        try:
            await ticket.turn.wait()
        except BaseException:  # a cancellation, of whichever kind, goes on once the place is given back
            if ticket.granted:
                self.reserved -= 1
                pass_on()
            elif ticket in self._row:
                self._row.remove(ticket)
            raise
        if ticket.granted:
            self.reserved -= 1
        return ticket.granted

    def grant(self, room: int) -> None:
        """Give `room` places to the first in the row."""
        while self._row and room > 0:
            ticket = self._row.popleft()
            ticket.granted = True
            self.reserved += 1
            room -= 1
            ticket.turn.set()

    def dismiss(self) -> None:
        """There will be no room any more."""
        row, self._row = self._row, deque()
        for ticket in row:
            ticket.turn.set()

    def __len__(self) -> int:
        return len(self._row)
