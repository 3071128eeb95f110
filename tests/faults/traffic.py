"""Senders that time each answer and keep a history of what they were told, and a watch on the daemons' liveness.

Each sender has records of its own and sends the versions of each in order; what was not acknowledged is sent again.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream
from faults.history import Delivery, Event, History
from msgspec import Struct

REPEAT = 0.05  # seconds until a refused delivery is sent again
OK = 200
REFUSED = 503
UNREACHABLE = 0
NEVER = 1e9


class Answer(Struct, frozen=True):
    """One answer: when it had come, after how many seconds, its status (0: none), and whether it said Retry-After."""

    at: float
    took: float
    status: int
    patient: bool = False


class Habit(Struct, frozen=True, kw_only=True):
    """How one sender sends: how many records are its own, and the seconds between deliveries and until it gives up."""

    records: int = 25
    pause: float = 0.02
    patience: float = 30.0


class Caller:
    """One connection to a daemon, made anew when it is gone."""

    def __init__(self, address: str) -> None:
        self.host = address.removeprefix("http://")
        self._name, _, port = self.host.rpartition(":")
        self._port = int(port)
        self._stream: anyio.abc.SocketStream | None = None
        self._buffered: BufferedByteReceiveStream | None = None

    async def get(self, path: str, *, patience: float) -> Answer:
        """Ask for a page; never raises for what the daemon does."""
        return await self.ask(f"GET {path} HTTP/1.1\r\nhost: {self.host}\r\n\r\n".encode(), patience=patience)

    async def ask(self, request: bytes, *, patience: float) -> Answer:
        """Send a request and return what became of it; never raises for what the daemon does."""
        began = time.monotonic()
        reused = self._stream is not None
        answer = await self._try(request, began, patience)
        if answer.status == UNREACHABLE and reused and answer.took < patience:
            answer = await self._try(request, began, patience)  # an idle connection may have been closed in good order
        return answer

    async def _try(self, request: bytes, began: float, patience: float) -> Answer:
        try:
            with anyio.fail_after(patience):
                status, said = await self._exchange(request)
        except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            await self.aclose()
            status, said = UNREACHABLE, b""
        now = time.monotonic()
        return Answer(now, now - began, status, b"\r\nretry-after:" in said)

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._stream is None or self._buffered is None:
            self._stream = await anyio.connect_tcp(self._name, self._port)
            self._buffered = BufferedByteReceiveStream(self._stream)
        await self._stream.send(request)
        said = (await self._buffered.receive_until(b"\r\n\r\n", 1 << 16)).lower() + b"\r\n"
        length = int(said.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        if length:
            await self._buffered.receive_exactly(length)
        if b"\r\nconnection: close" in said:
            await self.aclose()
        return int(said.split(b" ", 2)[1]), said

    async def aclose(self) -> None:
        """Close the connection, if there is one."""
        stream, self._stream, self._buffered = self._stream, None, None
        if stream is not None:
            await anyio.aclose_forcefully(stream)


class Traffic:
    """What was sent, what was answered, and how the daemons were while it was."""

    def __init__(self, addresses: Sequence[str], senders: int, habit: Habit, history: History) -> None:
        self.addresses = tuple(addresses)
        self.senders = senders
        self.habit = habit
        self.history = history
        self.answers: list[Answer] = []
        self.lives: list[Answer] = []
        self.acknowledged = 0
        self.stopping = False

    async def run(self) -> None:
        """Send and watch until `stopping`."""
        async with anyio.create_task_group() as group:
            for number in range(self.senders):
                group.start_soon(self._send, number)
            for address in self.addresses:
                group.start_soon(self._watch, address)

    async def _send(self, sender: int) -> None:
        callers = [Caller(address) for address in self.addresses]
        every = self.habit.records
        turns = itertools.islice(itertools.cycle(callers), sender, None)
        for number in itertools.count():
            delivery = Delivery(record=sender * 10_000 + number % every, version=1 + number // every)
            while not self.stopping:
                acknowledged = await self._deliver(next(turns), delivery)
                await anyio.sleep(self.habit.pause if acknowledged else REPEAT)
                if acknowledged:
                    break
            if self.stopping:
                break
        for caller in callers:
            await caller.aclose()

    async def _deliver(self, caller: Caller, delivery: Delivery) -> bool:
        serial = self.history.invoke(delivery)
        answer = await caller.ask(delivery.request(caller.host), patience=self.habit.patience)
        event: Event = "ok" if answer.status == OK else "fail" if answer.status // 100 == 4 else "info"
        self.history.end(serial, delivery, event, answer.status)
        self.answers.append(answer)
        self.acknowledged += event == "ok"
        return event == "ok"

    async def _watch(self, address: str) -> None:
        caller = Caller(address)
        while not self.stopping:
            self.lives.append(await caller.get("/livez", patience=5.0))
            await anyio.sleep(0.1)
        await caller.aclose()

    # --- what is asked of it

    def acks(self, begin: float, end: float) -> int:
        """Count acknowledgements between two moments."""
        return sum(answer.status == OK and begin <= answer.at < end for answer in self.answers)

    def rate(self, begin: float, end: float) -> float:
        """Acknowledgements a second, the median of the whole seconds between two moments."""
        seconds = [self.acks(begin + second, begin + second + 1) for second in range(int(end - begin))]
        return float(median(seconds))

    def first_ack(self, after: float) -> float:
        """Seconds from a moment to the first acknowledgement of a delivery that was sent after it."""
        return min(
            (one.at - after for one in self.answers if one.status == OK and one.at - one.took >= after),
            default=NEVER,
        )

    def back_to(self, rate: float, after: float) -> float:
        """Seconds from a moment until a second with that many acknowledgements begins; -1 when none was seen."""
        starts = sorted(one.at for one in self.answers if one.status == OK and one.at >= after)
        full = (start - after for start in starts if self.acks(start, start + 1) >= rate)
        return next(full, -1.0)

    async def until(self, condition: Callable[[], bool], within: float) -> None:
        """Wait until something holds of what was answered so far."""
        with anyio.fail_after(within):
            while not condition():  # noqa: ASYNC110 - every answer may change it
                await anyio.sleep(0.02)

    async def more(self, count: int, within: float = 30.0) -> None:
        """Wait for that many further acknowledgements."""
        goal = self.acknowledged + count
        await self.until(lambda: self.acknowledged >= goal, within)


USUAL = Habit()


@asynccontextmanager
async def traffic(directory: Path, *addresses: str, senders: int = 6, habit: Habit = USUAL) -> AsyncIterator[Traffic]:
    """Send to the daemons in turn while the body lasts, and until what is on its way is answered.

    Args:
        directory: where the history is kept.
        addresses: of the daemons.
        senders: how many there are.
        habit: of each of them.
    """
    with History(directory / "history.jsonl") as history:
        flow = Traffic(addresses, senders, habit, history)
        async with anyio.create_task_group() as group:
            group.start_soon(flow.run)
            try:
                yield flow
            finally:
                flow.stopping = True
