"""Sends signed webhooks over raw sockets, so that the sender costs as little as possible beside the receiver."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import select
import socket
from collections import deque
from collections.abc import Iterable, Iterator
from random import Random
from time import perf_counter
from typing import Self

import anyio
import anyio.to_thread
from msgspec import Struct

from actors.bench import workload

SECRET = "benchSecret2026"  # noqa: S105 - signs what the bench sends to itself
CONNECTIONS = 32
READINESS = 900_000_000  # the first record of the webhooks that only ask whether anybody is there
PATIENCE = 60.0  # seconds without any answer until the bench gives up
HEAD = (
    "POST /api/tds/webhooks/products HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    "x-zoho-webhook-signature: {signature}\r\ncontent-length: {length}\r\n\r\n"
)
ACCEPTED = (b"HTTP/1.1 200", b"HTTP/1.1 202")


class Unacknowledged(AssertionError):
    """A webhook of the bench was not answered with a 2xx: the figure would mean nothing."""


class Sent(Struct, frozen=True, kw_only=True):
    """What a load saw: seconds from the first request to the last answer, and each answer's latency in seconds."""

    seconds: float
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Acknowledged webhooks a second."""
        return len(self.latencies) / self.seconds


def requests(numbers: Iterable[int], *, version: int = 0, secret: str = SECRET) -> Iterator[bytes]:
    """Product webhooks, one for each number, whole HTTP requests."""
    for number in numbers:
        body = b'{"item":%b}' % workload.document(number, version)
        signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        yield HEAD.format(signature=signature, length=len(body)).encode() + body


async def wait_ready(port: int, *, within: float = 60.0) -> None:
    """Return when a webhook is acknowledged: the port listens and what is behind it is up."""
    with anyio.fail_after(within):
        for request in requests(itertools.count(READINESS)):
            try:
                await anyio.to_thread.run_sync(flat_out, port, [request])
            except (OSError, Unacknowledged):
                await anyio.sleep(0.1)
            else:
                return


def flat_out(port: int, prepared: list[bytes]) -> Sent:
    """Send with 32 connections, each its next request as soon as it has its answer; blocks the calling thread."""
    with _Lines(port) as lines:
        return lines.send((None, request) for request in prepared)


def paced(port: int, prepared: list[bytes], rate: float, *, seed: int = 1) -> Sent:
    """Send at `rate` a second on the average, at random moments that no answer puts off; blocks the calling thread.

    A latency counts from the moment its request was due, so that a receiver that stands still is charged for all that
    came meanwhile.
    """
    between = Random(seed)  # noqa: S311 - arrivals, not secrets
    moments = itertools.accumulate(between.expovariate(rate) for _ in prepared)
    with _Lines(port) as lines:
        return lines.send(zip(moments, prepared, strict=True))


class _Lines:
    """Thirty-two connections: those that are free, and those that wait for an answer."""

    def __init__(self, port: int) -> None:
        self._poll = select.epoll()
        self._free = deque(_Line(port) for _ in range(CONNECTIONS))
        self._all = {line.number: line for line in self._free}
        for number in self._all:
            self._poll.register(number, select.EPOLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._poll.close()
        for line in self._all.values():
            line.close()

    def send(self, timetable: Iterable[tuple[float | None, bytes]]) -> Sent:
        """Send each request when it is due, in seconds from now, or (None) as soon as a connection is free."""
        latencies: list[float] = []
        waiting = iter(timetable)
        following = next(waiting, None)
        began = perf_counter()
        while following is not None or len(self._free) < len(self._all):
            while following is not None and self._free and (due := _due(following[0], began)) <= perf_counter():
                self._free.popleft().send(following[1], due)
                following = next(waiting, None)
            wanted = following is not None and self._free
            latencies += self._answers(due if wanted else None)
        return Sent(seconds=perf_counter() - began, latencies=latencies)

    def _answers(self, until: float | None) -> Iterator[float]:
        """The latencies of the requests that are answered until then, at least those of one look."""
        ready = self._poll.poll(PATIENCE if until is None else max(0.0, until - perf_counter()))
        if not ready and until is None:
            raise Unacknowledged(f"no answer within {PATIENCE:g} s")
        for number, _ in ready:
            line = self._all[number]
            if line.receive():
                self._free.append(line)
                yield perf_counter() - line.due


class _Line:
    """One connection, and the request that is on its way."""

    __slots__ = ("_answer", "_socket", "due", "number")

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.number = self._socket.fileno()
        self._answer = b""
        self.due = 0.0

    def send(self, request: bytes, due: float) -> None:
        """A request is smaller than the socket's buffer, so this does not wait."""
        self.due = due
        self._answer = b""
        self._socket.sendall(request)

    def receive(self) -> bool:
        """Take what has come; whether the answer is complete."""
        part = self._socket.recv(65536)
        self._answer += part
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if part and (not end or len(body) < _length(head)):
            return False
        if not head.startswith(ACCEPTED):
            raise Unacknowledged(self._answer[:200].decode(errors="replace"))
        return True

    def close(self) -> None:
        self._socket.close()


def _due(moment: float | None, began: float) -> float:
    return perf_counter() if moment is None else began + moment


def _length(head: bytes) -> int:
    return int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
