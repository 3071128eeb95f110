"""Senders that keep their own history: what they asked for, and what they were told, on disk before they go on.

A line says that a delivery was begun (invoke) and how it ended: ok (a 2xx was seen), fail (a 4xx: not stored) or info
(anything else: nobody knows). What is unknown is delivered again, as a sender would. The daemon is asked over plain
sockets: a client library would cost more than the daemon.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Literal, Self

import anyio
import anyio.abc
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream
from faults.place import SECRET
from msgspec import Struct

Operation = Literal["upsert", "delete"]
Event = Literal["invoke", "ok", "fail", "info"]

FIRST_ID = 5_260_000_000_000_000_000
FORGED = 50_000
"""Versions from here on are only ever sent with a wrong signature."""
PATIENCE = 15.0
PAUSE = 0.02  # seconds until what is unknown is delivered again
HEADER = 1 << 14


class Delivery(Struct, frozen=True, kw_only=True, dict=True):
    """One version of one product, as a webhook would bring it.

    Attributes:
        record: its number; `record_id` is what the source calls it.
        version: from 1; it is the price, and the seconds of the stamp.
        twist: tells two contents of one version apart.
        forged: signed with a secret that is not ours.
        more: JSON members that are added to the item.
    """

    record: int
    version: int
    operation: Operation = "upsert"
    twist: str = ""
    forged: bool = False
    more: str = ""

    @property
    def record_id(self) -> str:
        """The id of the source."""
        return str(FIRST_ID + self.record)

    @property
    def content(self) -> str:
        """The name that the product has in this version."""
        return f"Item {self.record} version {self.version}{self.twist}"

    @cached_property
    def body(self) -> bytes:
        """The bytes that are signed and sent."""
        hours, minutes, seconds = self.version // 3600, self.version // 60 % 60, self.version % 60
        stamp = f"2026-01-02T{hours:02}:{minutes:02}:{seconds:02}+0300"
        return (
            f'{{"item":{{"item_id":"{self.record_id}","name":"{self.content}","sku":"SKU-{self.record}",'
            f'"rate":{self.version},"status":"active","last_modified_time":"{stamp}"{self.more}}}}}'
        ).encode()

    @property
    def path(self) -> str:
        """Where it is delivered to."""
        return "/api/tds/webhooks/products" + ("?event=item_deleted" if self.operation == "delete" else "")

    @property
    def signed(self) -> bytes:
        """What the source signs: the query's names and values, then the body."""
        return (b"eventitem_deleted" if self.operation == "delete" else b"") + self.body

    def request(self, host: str) -> bytes:
        """The whole request."""
        secret = "somebodyElsesSecret" if self.forged else SECRET
        signature = hmac.new(secret.encode(), self.signed, hashlib.sha256).hexdigest()
        head = (
            f"POST {self.path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
            f"x-zoho-webhook-signature: {signature}\r\ncontent-length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a history; those of one delivery share its serial number, `at` is monotonic."""

    serial: int
    event: Event
    record: str
    version: int
    digest: str
    content: str = ""
    operation: Operation = "upsert"
    forged: bool = False
    status: int = 0
    at: float = 0.0


class History:
    """Lines in a file, each of them on disk before anything else happens."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.lines: list[Line] = []
        self._clock = clock
        self._serial = 0
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._file)

    def invoke(self, delivery: Delivery) -> int:
        """Note that a delivery begins; returns its serial number."""
        self._serial += 1
        self._write(self._serial, "invoke", delivery, 0)
        return self._serial

    def end(self, serial: int, delivery: Delivery, event: Event, status: int) -> None:
        """Note how it ended."""
        self._write(serial, event, delivery, status)

    def _write(self, serial: int, event: Event, delivery: Delivery, status: int) -> None:
        line = Line(
            serial=serial,
            event=event,
            record=delivery.record_id,
            version=delivery.version,
            digest=hashlib.sha256(delivery.body).hexdigest()[:16],
            content=delivery.content,
            operation=delivery.operation,
            forged=delivery.forged,
            status=status,
            at=self._clock(),
        )
        os.write(self._file, msgspec.json.encode(line) + b"\n")
        os.fsync(self._file)
        self.lines.append(line)


def read(path: Path) -> list[Line]:
    """The lines of a history file."""
    return msgspec.json.Decoder(list[Line]).decode(b"[" + b",".join(path.read_bytes().splitlines()) + b"]")


class Client:
    """One connection to a daemon, made again when it is lost."""

    def __init__(self, address: str, history: History) -> None:
        self._host, _, port = address.removeprefix("http://").rpartition(":")
        self._port = int(port)
        self._history = history
        self._stream: anyio.abc.SocketStream | None = None
        self._answers: BufferedByteReceiveStream | None = None

    async def deliver(self, delivery: Delivery, within: float = PATIENCE) -> Event:
        """Deliver once; "ok", "fail", or "info" where the outcome is unknown, also when nothing came `within`."""
        serial = self._history.invoke(delivery)
        status = 0
        try:
            with anyio.move_on_after(within):
                status = await self._ask(delivery.request(f"{self._host}:{self._port}"))
        except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            pass  # unknown: status 0
        if status == 0:
            await self.aclose()
        event: Event = "ok" if status // 100 == 2 else "fail" if status // 100 == 4 else "info"
        self._history.end(serial, delivery, event, status)
        return event

    async def _ask(self, request: bytes) -> int:
        if self._stream is None or self._answers is None:
            self._stream = await anyio.connect_tcp(self._host, self._port)
            self._answers = BufferedByteReceiveStream(self._stream)
        await self._stream.send(request)
        head = (await self._answers.receive_until(b"\r\n\r\n", HEADER)).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        if length:
            await self._answers.receive_exactly(length)
        if b"connection: close" in head:
            await self.aclose()
        return int(head.split(b" ", 2)[1])

    async def aclose(self) -> None:
        """Leave the connection."""
        if self._stream is not None:
            await anyio.aclose_forcefully(self._stream)
        self._stream = self._answers = None


class Senders:
    """Many senders that take deliveries from one plan and repeat what was not answered; `acknowledged` counts."""

    def __init__(self, address: str, history: History, plan: Iterator[Delivery], *, count: int = 16) -> None:
        self.acknowledged = 0
        self.repeated = 0
        self.refused = 0
        self.last_ok = 0.0
        self._address, self._history, self._plan, self._count = address, history, plan, count
        self._seen = anyio.Event()

    async def run(self) -> None:
        """Deliver the plan; returns when all of it was answered."""
        async with anyio.create_task_group() as group:
            for _ in range(self._count):
                group.start_soon(self._send)

    async def _send(self) -> None:
        client = Client(self._address, self._history)
        for delivery in self._plan:
            while (event := await client.deliver(delivery)) == "info":
                self.repeated += 1
                await anyio.sleep(PAUSE)
            self._count_in(event)
        await client.aclose()

    def _count_in(self, event: Event) -> None:
        if event == "fail":
            self.refused += 1
            return
        self.acknowledged += 1
        self.last_ok = time.monotonic()
        self._seen.set()
        self._seen = anyio.Event()

    async def until(self, count: int) -> None:
        """Return once so many were acknowledged."""
        while self.acknowledged < count:
            await self._seen.wait()


def plan(count: int, *, records: int, seed: int, hot: int = 5) -> Iterator[Delivery]:
    """So many genuine deliveries of `records` products in random order, versions counting up in each.

    One in five is about one of `hot` records. Beside them come, by chance: repeats of older versions, and forgeries. At
    the end one record in ten is deleted.
    """
    random = Random(seed)
    versions = dict.fromkeys(range(1, records + 1), 0)
    deleted = records // 10
    for _ in range(count - deleted):
        record = random.randint(1, hot) if random.random() < 0.2 else random.randint(1, records)
        versions[record] += 1
        yield Delivery(record=record, version=versions[record])
        if random.random() < 0.02:
            yield Delivery(record=record, version=random.randint(1, versions[record]))
        if random.random() < 0.02:
            yield Delivery(record=record, version=FORGED + versions[record], forged=True)
    for record in range(records, records - deleted, -1):
        yield Delivery(record=record, version=versions[record] + 1, operation="delete")
