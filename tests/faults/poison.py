"""Shows that what cannot be processed is parked with its reason and harms nobody, and that fifty repeats are one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import msgspec
from faults.checker import Expected, Violation, check
from faults.evidence import Evidence, gather
from faults.fact import Fact
from faults.history import Client, Delivery, Event, History
from faults.killings import drained
from faults.place import ROOT, Place, execute
from faults.warm import Warm

from actors.zoho.entities import Entity
from tds_runtime.database import Database, Options
from tds_runtime.queue import Change, Queue
from tds_runtime.queue import Options as Limits
from tds_runtime.task import digest

KILLER = " kills the process"
ENDLESS = " never ends"
REFUSED = " is always refused"
POISON = 800_000
INVOICES = 6
SAMPLE = msgspec.json.decode((ROOT / "tests" / "samples" / "webhook_invoice_default.json").read_bytes())
QUICK = """
[queue]
poll = "200ms"
first_delay = "100ms"
longest_delay = "200ms"
"""
CONSTRAINT = f"ALTER TABLE products ADD CONSTRAINT planted CHECK (name NOT LIKE '%{REFUSED}') NOT VALID"
SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE INSERT ON invoices FOR EACH ROW EXECUTE FUNCTION slow();
"""
"""Neighbours of another entity that are always in work when the process dies."""
OTHERS = """
SELECT (SELECT count(*) FROM invoices), max(attempt_count) FROM tds_sync_queue WHERE entity_type = 'invoice'
"""
UNANSWERED = 2.0
"""Seconds without an answer after which whoever watches the daemon kills it, as systemd's watchdog would."""


class Raw(Delivery, frozen=True, kw_only=True, dict=True):
    """A delivery whose bytes are given; without a name it belongs to nobody."""

    raw: bytes
    named: bool = True
    segment: str = "products"

    @property
    def path(self) -> str:
        """Where it is delivered to."""
        return f"/api/tds/webhooks/{self.segment}"

    @property
    def record_id(self) -> str:
        """What its task is called."""
        return super().record_id if self.named else f"body:{digest(self.raw).hex()}"

    @property
    def body(self) -> bytes:  # type: ignore[override] # a property of what is given instead of a cached one
        """The bytes."""
        return self.raw


def touchy() -> None:
    """Patch the mapping in a daemon: one content kills the process, another one never lets go of it."""
    honest = Entity.map

    def map_or_die(self: Any, payload: bytes, *words: Any, **more: Any) -> Any:
        if KILLER.encode() in payload:
            os.kill(os.getpid(), signal.SIGKILL)
        while ENDLESS.encode() in payload:
            time.sleep(1)  # blocks the loop for ever, as the poison is to; no test waits for it
        return honest(self, payload, *words, **more)

    Entity.map = map_or_die  # type: ignore[method-assign] # the patch


def planted() -> dict[str, tuple[Delivery, str]]:
    """Each poison by its kind, with the code that its dead letter must bear."""
    records = iter(range(POISON, POISON + 100))

    def item(more: str, **words: Any) -> Raw:
        delivery = Delivery(record=next(records), version=1, **words)
        return Raw(record=delivery.record, version=1, raw=delivery.body[:-2] + more.encode() + b"}}")

    def unnamed(body: bytes) -> Raw:
        return Raw(record=0, version=-1, raw=body, named=False)

    return {
        "always refused": (Delivery(record=next(records), version=1, twist=REFUSED), "check_violation"),
        "NUL": (item(',"name":"a\\u0000b"'), "invalid_record"),
        "lone surrogate": (unnamed(b'{"item":{"item_id":"77","name":"\\ud800"}}'), "invalid_record"),
        "NaN": (unnamed(b'{"item":{"item_id":"78","name":"n","rate":NaN}}'), "invalid_record"),
        "100,000 digits": (item(',"rate":' + "9" * 100_000), "invalid_record"),
        "depth 100,000": (unnamed(b'{"item":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "invalid_record"),
        "no number": (item(',"rate":"much"'), "invalid_record"),
        "no JSON": (unnamed(b"\xff\xfe nothing"), "invalid_record"),
        "kills the process": (Delivery(record=next(records), version=1, twist=KILLER), "node_lost"),
    }


async def poison(place: Place, *, neighbours: int = 60, endless: bool = True) -> Fact:
    """Poison of every kind among good deliveries: parked with its reason, and the neighbours are applied.

    Args:
        place: where.
        neighbours: good deliveries, half of them before and half of them behind the poison.
        endless: also one that never ends, which costs `UNANSWERED` an attempt.
    """
    began = time.monotonic()
    kinds = planted()
    if endless:
        delivery = Delivery(record=POISON + 99, version=1, twist=ENDLESS)
        kinds["never ends"] = (delivery, "node_lost")
    dsn = await place.database()
    await execute(dsn, CONSTRAINT + ";" + SLOW)
    good = [Delivery(record=record, version=1) for record in range(1, neighbours + 1)]
    bad = [one for one, _ in kinds.values()]
    configuration = place.configure(dsn, more=QUICK)
    async with nurse(place, configuration) as ward:
        with History(configuration.with_name("history.jsonl")) as history:
            await execute(dsn, "INSERT INTO tds_pauses (entity_type) VALUES ('product'), ('invoice')")
            half = neighbours // 2
            await deliver(ward.address, history, [*good[:half], *bad, *good[half:]])
            with History(configuration.with_name("invoices.jsonl")) as aside:
                await deliver(ward.address, aside, invoices())
            pulled = await pull(dsn)
            await execute(dsn, "DELETE FROM tds_pauses")
            await drained(dsn)
            found = await gather(dsn, history.lines, logs=[ward.log])
            [[others, most]] = await execute(dsn, OTHERS)
        codes = {one.record_id: code for one, code in kinds.values()} | {pulled: "invalid_record"}
        violations = check(found, Expected(buried=codes, pulled=frozenset({pulled})))
        figures = _figures(found, violations, codes, good)
        figures |= {"invoices_applied": others, "invoice_attempts": most, "starts": ward.starts}
        exact = figures["precision"] == figures["recall"] == 1.0
        spared = others == INVOICES and most < Limits().max_attempts
        passed = not violations and exact and spared and ward.starts > 1
        return Fact(fact="poison", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


def invoices() -> list[Delivery]:
    """Good deliveries of another entity."""
    numbered = ({**SAMPLE["invoice"], "invoice_id": str(900 + number)} for number in range(INVOICES))
    bodies = (msgspec.json.encode({"invoice": one}) for one in numbered)
    return [Raw(record=0, version=1, raw=body, segment="invoices") for body in bodies]


async def pull(dsn: str) -> str:
    """Enqueue a record of 10 MB as a pull would; returns its id."""
    record = str(POISON * 10)
    payload = b'{"item_id":"%s","name":"%s\\u0000"}' % (record.encode(), b"x" * (10 << 20))
    async with Database(Options(dsn=dsn)).opened() as database, database.transaction() as connection:
        change = Change(entity_type="product", source_entity_id=record, payload=payload, payload_kind="detail")
        await Queue(database, boot_id="a pull").enqueue(connection, [change])
    return record


def _figures(
    found: Evidence, violations: Sequence[Violation], codes: dict[str, str], good: Sequence[Delivery]
) -> dict[str, int | float | str]:
    buried = {record for record, _ in found.letters}
    right = len(buried & codes.keys())
    applied = {row.record for row in found.rows}
    return {
        "planted": len(codes),
        "buried": len(buried),
        "precision": round(right / max(1, len(buried)), 3),
        "recall": round(right / len(codes), 3),
        "neighbours": len(good),
        "neighbours_applied": sum(one.record_id in applied for one in good),
        "violations": len(violations),
        **{f"violation_{number}": str(one) for number, one in enumerate(violations[:5], 1)},
    }


# --- fifty at once


async def fifty_at_once(place: Place, *, rounds: int = 3, times: int = 50) -> Fact:
    """The same webhook delivered many times at once: one inbox row, one effect, and a 2xx for each."""
    began = time.monotonic()
    dsn = await place.database()
    configuration = place.configure(dsn, more=QUICK)
    daemon = await place.nursery.start(configuration)
    with History(configuration.with_name("history.jsonl")) as history:
        events: list[Event] = []
        for number in range(1, rounds + 1):
            events += await at_once(daemon.address, history, Delivery(record=number, version=1), times)
        await drained(dsn)
        found = await gather(dsn, history.lines, logs=[daemon.log])
    await daemon.kill()
    violations = check(found)
    effects = sum(one.kind == "row" for one in found.effects)
    return Fact(
        fact="fifty_at_once",
        passed=not violations and events.count("ok") == rounds * times and len(found.inbox) == effects == rounds,
        figures={
            "deliveries": len(events),
            "acknowledged": events.count("ok"),
            "inbox_rows": len(found.inbox),
            "effects": effects,
            "rounds": rounds,
            **{f"violation_{number}": str(one) for number, one in enumerate(violations[:5], 1)},
        },
        seconds=round(time.monotonic() - began, 1),
    )


async def at_once(address: str, history: History, delivery: Delivery, times: int) -> list[Event]:
    """Deliver the same on so many connections at once."""
    events: list[Event] = []

    async def one() -> None:
        client = Client(address, history)
        events.append(await client.deliver(delivery))
        await client.aclose()

    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(one)
    return events


# --- whoever starts it again


class Ward:
    """A daemon that is started again whenever it has died, and killed when it does not answer."""

    def __init__(self, place: Place, configuration: Path) -> None:
        self.starts = 0
        self._place, self._configuration = place, configuration
        self._daemon: Warm | None = None

    @property
    def daemon(self) -> Warm:
        """The present one."""
        assert self._daemon is not None
        return self._daemon

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.daemon.address

    @property
    def log(self) -> Path:
        """What all of them wrote."""
        return self.daemon.log

    async def start(self) -> None:
        """Start one."""
        self._daemon = await self._place.nursery.start(self._configuration, mutant="faults.poison:touchy", ready=False)
        self.starts += 1

    async def watch(self) -> None:
        """Start it whenever it has ended; kill it when it gives no answer."""
        while True:
            with anyio.move_on_after(UNANSWERED) as answered:
                while not await self.daemon.is_ready() and self.daemon.returncode is None:  # noqa: ASYNC110 - a process
                    await anyio.sleep(0.02)
            if answered.cancelled_caught and self.daemon.returncode is None:
                await self.daemon.kill()
            if self.daemon.returncode is not None:
                await self.start()
            await anyio.sleep(0.1)


@asynccontextmanager
async def nurse(place: Place, configuration: Path) -> AsyncIterator[Ward]:
    """A daemon that is looked after as long as the body lasts."""
    ward = Ward(place, configuration)
    await ward.start()
    await ward.daemon.ready()
    async with anyio.create_task_group() as group:
        group.start_soon(ward.watch)
        try:
            yield ward
        finally:
            group.cancel_scope.cancel()
    await ward.daemon.kill()


async def deliver(address: str, history: History, deliveries: Sequence[Delivery]) -> None:
    """Deliver each until it is acknowledged."""
    client = Client(address, history)
    for delivery in deliveries:
        while await client.deliver(delivery) == "info":  # noqa: ASYNC110 - another process sets no event here
            await anyio.sleep(0.02)
    await client.aclose()
