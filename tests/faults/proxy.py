"""A Postgres-aware wire proxy: counts the round trips of its clients, and does to the n-th of them what was planted.

It runs in a thread with a loop of its own, so that it works while daemons die and loops are blocked. A round trip is
what a client sends up to its next wait, and the answer. A fault strikes *before* (the server never hears of it), when
*sent* (the server has done it, and its answer is kept back) or when *replied* (the answer has arrived).
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import anyio
from anyio import CancelScope
from anyio.from_thread import BlockingPortal, start_blocking_portal
from anyio.lowlevel import checkpoint
from faults import frames
from faults.frames import Cutter, Dialogue, Frame
from faults.planting import NOTHING, Fault, Plan, Planted, Point, Trip
from faults.wire import Address, Gate, Wire, address_of, connect
from msgspec import Struct

__all__ = ["Fault", "Plan", "Proxy", "Statistics", "Trip", "proxy"]

READ_FIRST = 0.01  # seconds in which a client takes an answer from its socket before the reset overtakes it


class Statistics(Struct, frozen=True, kw_only=True):
    """Connections so far and now open, round trips so far, cancel requests, and how often each fault has struck."""

    connections: int
    open: int
    trips: int
    cancels: int
    fired: tuple[int, ...]


class Link:
    """A client, its connection to the server, and what is known of them."""

    def __init__(self, number: int, client: Wire, server: Wire, names: Mapping[str, str]) -> None:
        self.number = number
        self.client = client
        self.server = server
        self.gate = Gate()
        self.scope = CancelScope()
        self.role = ""
        self.dialogue = Dialogue(names)
        self.pending = deque[tuple[str, Planted | None]]()

    async def end(self, *, reset: bool = False) -> None:
        """Close both sides; the caller, a pump of this link, ends here."""
        if reset:
            self.client.resets()
        self.scope.cancel()
        await checkpoint()


class Proxy:
    """Listens on `port`; all methods may be called from any thread but its own."""

    def __init__(self, upstream: Address, names: Mapping[str, str], portal: BlockingPortal) -> None:
        self._upstream = upstream
        self._names = names
        self._portal = portal
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._gate = Gate()
        self._trickle = False
        self._links: dict[int, Link] = {}
        self._connections = self._cancels = self._count = 0
        self._planted: list[Planted] = []
        self._call: Callable[[], object] = lambda: None
        self._trips: list[Trip] | None = None

    # --- what the tests call

    def arm(self, plan: Plan = NOTHING, *, call: Callable[[], object] = lambda: None, record: bool = False) -> None:
        """Forget what was planted and counted, and begin to count for this plan; `record` keeps the round trips."""
        self._portal.call(self._arm, plan, call, record)

    def cut(self) -> None:
        """Let the link be a black hole: it takes connections and bytes and passes nothing on, until `mend`."""
        self._portal.call(self._gate.close)

    def mend(self) -> None:
        """Pass on what was held back by `cut` and by blackholes, late, as TCP would."""
        self._portal.call(self._mend)

    def trickle(self, on: bool) -> None:
        """Pass on one byte at a time, or no longer."""
        self._trickle = on

    def trips(self) -> list[Trip]:
        """The round trips since an arming with `record`."""
        return list(self._trips or ())

    def unfired(self) -> list[Fault]:
        """What was planted and has not struck as often as it should."""
        return [one.fault for one in self._planted if one.fired < one.fault.times]

    def statistics(self) -> Statistics:
        """Count."""
        return Statistics(
            connections=self._connections,
            open=len(self._links),
            trips=self._count,
            cancels=self._cancels,
            fired=tuple(one.fired for one in self._planted),
        )

    # --- what happens on its own loop

    def _arm(self, plan: Plan, call: Callable[[], object], record: bool) -> None:
        self._planted, self._call = [Planted(fault) for fault in plan.faults], call
        self._count, self._trips = 0, [] if record else None

    def _mend(self) -> None:
        self._gate.open()
        for link in self._links.values():
            link.gate.open()

    async def serve(self) -> None:
        """Take connections until cancelled."""
        with self._listener:
            async with anyio.create_task_group() as group:
                while True:
                    await anyio.wait_readable(self._listener)
                    client, _ = self._listener.accept()
                    group.start_soon(self._talk, Wire(client))

    async def _talk(self, client: Wire) -> None:
        self._connections += 1
        number = self._connections
        with client.socket:
            await self._gate.wait()
            server = connect(self._upstream)
            if server is None:
                return
            link = self._links[number] = Link(number, client, server, self._names)
            with server.socket:
                try:
                    with link.scope:
                        await self._pump(link)
                finally:
                    del self._links[number]

    async def _pump(self, link: Link) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._upward, link)
            await self._downward(link)
            group.cancel_scope.cancel()

    async def _upward(self, link: Link) -> None:
        cutter, flight = Cutter(untyped=True), list[Frame]()
        while data := await link.client.receive():
            for frame in cutter.feed(data):
                await self._pass(link)
                if frame.kind == "encryption":
                    await link.client.send(b"N")
                    continue
                flight.append(frame)
                if await self._spoken(link, frame, flight):
                    flight = []
        await self._pass(link)
        await link.end()

    async def _spoken(self, link: Link, frame: Frame, flight: Sequence[Frame]) -> bool:
        """Take one message of the client; True when all that waited was passed on."""
        link.dialogue.hear(frame)
        if frame.kind == "startup":
            link.role = frames.parameters(frame).get("application_name", "")
        if frame.kind in frames.ENDS:
            await self._round_trip(link, flight)
            return True
        if frame.kind in frames.AT_ONCE:
            self._cancels += frame.kind == "cancel"
            await self._send(link, link.server, frames.joined(flight))
            return True
        return False

    async def _round_trip(self, link: Link, flight: Sequence[Frame]) -> None:
        due = self._due(self._trip(link))
        await self._strike(link, due, "before")
        link.pending.append((flight[-1].kind, due))
        await self._send(link, link.server, frames.joined(flight))

    def _trip(self, link: Link) -> Trip:
        self._count += 1
        operation = link.dialogue.finish()
        trip = Trip(
            ordinal=self._count,
            connection=link.number,
            role=link.role,
            operation=operation,
            within=tuple(link.dialogue.within),
        )
        if self._trips is not None:
            self._trips.append(trip)
        return trip

    def _due(self, trip: Trip) -> Planted | None:
        suitable = [one for one in self._planted if one.fault.suits(trip)]
        for one in suitable:
            one.seen += 1
        return next((one for one in suitable if one.fault.strikes(one.seen)), None)

    async def _downward(self, link: Link) -> None:
        cutter, held = Cutter(untyped=False), list[Frame]()
        while data := await link.server.receive():
            await self._pass(link)
            for frame in cutter.feed(data):
                held.append(frame)
                if link.pending and frames.ends_answer(frame, link.pending[0][0]):
                    await self._answered(link, link.pending.popleft()[1], held)
                    held = []
            if held and not (link.pending and link.pending[0][1]):  # an answer that a fault is for is passed on whole
                await self._send(link, link.client, frames.joined(held))
                held = []
        await self._send(link, link.client, frames.joined(held))

    async def _answered(self, link: Link, due: Planted | None, answer: Sequence[Frame]) -> None:
        await self._strike(link, due, "sent")
        await self._send(link, link.client, frames.joined(answer))
        if due is not None and due.fault.action == "reset":
            await anyio.sleep(READ_FIRST)
        await self._strike(link, due, "replied")

    async def _strike(self, link: Link, due: Planted | None, point: Point) -> None:
        if due is None or due.fault.point != point:
            return
        due.fired += 1
        match due.fault.action:
            case "call":
                self._call()
                await link.end()
            case "delay":
                await anyio.sleep(due.fault.seconds)
            case "blackhole":
                link.gate.close()
                await self._pass(link)
            case "close" | "reset" as action:
                await link.end(reset=action == "reset")

    async def _pass(self, link: Link) -> None:
        await self._gate.wait()
        await link.gate.wait()

    async def _send(self, link: Link, wire: Wire, data: bytes) -> None:
        try:
            await wire.send(data, trickle=self._trickle)
        except OSError:
            await link.end()


@contextmanager
def proxy(dsn: str, names: Mapping[str, str] | None = None) -> Iterator[Proxy]:
    """Open a proxy in front of the server of a DSN.

    Args:
        dsn: of the server, directly.
        names: what statements are called, by their text; the others are called by how they begin.
    """
    with start_blocking_portal(name="proxy") as portal:
        opened = portal.call(Proxy, address_of(dsn), names or {}, portal)
        serving = portal.start_task_soon(opened.serve)
        try:
            yield opened
        finally:
            if not serving.cancel():
                serving.result()
