"""Sends signed webhooks over raw connections, so that the sender costs as little as possible beside the receiver."""

from __future__ import annotations

import hashlib
import hmac
import itertools
from collections.abc import Iterator
from time import perf_counter

import anyio
import anyio.abc

from actors.bench import workload

SECRET = "benchSecret2026"  # noqa: S105 - signs what the bench sends to itself
CONNECTIONS = 32
HEAD = (
    "POST /api/tds/webhooks/products HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
    "x-zoho-webhook-signature: {signature}\r\ncontent-length: {length}\r\n\r\n"
)


class Unacknowledged(AssertionError):
    """A webhook of the bench was not answered with a 2xx: the figure would mean nothing."""


def requests(first: int) -> Iterator[bytes]:
    """Distinct product webhooks, whole HTTP requests."""
    for number in itertools.count(first):
        body = b'{"item":%b}' % workload.document(number)
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        yield HEAD.format(signature=signature, length=len(body)).encode() + body


async def flat_out(port: int, prepared: list[bytes]) -> float:
    """Acknowledged webhooks per second with 32 connections, each sending its next as soon as it may."""
    waiting = iter(prepared)
    began = perf_counter()
    async with anyio.create_task_group() as tasks:
        for _ in range(CONNECTIONS):
            tasks.start_soon(_connection, port, waiting)
    return len(prepared) / (perf_counter() - began)


async def paced(port: int, prepared: list[bytes], rate: float) -> list[float]:
    """Latencies in seconds at `rate` a second, each counted from the moment it was due."""
    latencies: list[float] = []
    due, requests_due = anyio.create_memory_object_stream[tuple[float, bytes]](len(prepared))
    async with anyio.create_task_group() as tasks:
        for _ in range(CONNECTIONS):
            tasks.start_soon(_paced_connection, port, requests_due.clone(), latencies)
        requests_due.close()
        began = perf_counter()
        async with due:
            for number, request in enumerate(prepared):
                await anyio.sleep(max(0.0, began + number / rate - perf_counter()))
                due.send_nowait((began + number / rate, request))
    return latencies


async def _connection(port: int, waiting: Iterator[bytes]) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        for request in waiting:
            await _exchange(stream, request)


async def _paced_connection(
    port: int, due: anyio.abc.ObjectReceiveStream[tuple[float, bytes]], latencies: list[float]
) -> None:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream, due:
        async for moment, request in due:
            await _exchange(stream, request)
            latencies.append(perf_counter() - moment)


async def _exchange(stream: anyio.abc.SocketStream, request: bytes) -> None:
    await stream.send(request)
    answer = await stream.receive()
    while (end := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end + 4 + _length(answer[:end]):
        answer += await stream.receive()
    if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 202")):
        raise Unacknowledged(answer[:200].decode(errors="replace"))


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
