"""Shows that owners who are frozen until another node has finished their work change nothing when they wake up."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
import anyio.abc
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream
from faults.crowd import Held, Line, Woken
from faults.fact import Fact
from faults.place import Place
from fixtures.documents import create_tables, product, put, shipped

from actors.settlement import Settlement
from tds_runtime.database import Database, Options
from tds_runtime.nodes import Node
from tds_runtime.queue import Queue, Task

TESTS = Path(__file__).parents[1]
WITHIN = 60.0
# Everything that a late owner might have touched.
STATE = """
SELECT (SELECT md5(string_agg(p::text, '|' ORDER BY p.zoho_item_id)) FROM products AS p) AS targets,
       (SELECT md5(string_agg(q::text, '|' ORDER BY q.id)) FROM tds_sync_queue AS q) AS queue,
       (SELECT md5(string_agg(a::text, '|' ORDER BY a.id)) FROM tds_audit_trail AS a) AS audit,
       (SELECT md5(string_agg(d::text, '|' ORDER BY d.id)) FROM tds_dead_letter_queue AS d) AS dead
"""
EFFECTS = "SELECT count(*), count(DISTINCT source_entity_id) FROM tds_audit_trail WHERE entity_type = 'product'"


async def frozen_owners(dsn: str, *, owners: int = 20, batch: int = 10, lease: float = 1.5) -> Fact:
    """`owners` processes hold a batch each and are stopped for two leases, while another node takes over.

    It finishes half of the tasks before they wake up and has the other half in hand at that moment.
    """
    began = time.monotonic()
    async with Database(Options(dsn=dsn)).opened() as database:
        await prepare(database, owners * batch)
        async with crowd(dsn, owners=owners, batch=batch, lease=lease) as lines:
            held = [await lines.held() for _ in range(owners)]
            signal_all(held, signal.SIGSTOP)
            frozen = time.monotonic()
            other = Other(database)
            await other.take_back(sum(owner.tasks for owner in held))
            await other.finish(owners * batch // 2)
            await other.claim()
            await anyio.sleep(max(0.0, frozen + 2 * lease - time.monotonic()))
            before = await database.fetchrow(STATE)
            away = time.monotonic() - frozen
            signal_all(held, signal.SIGCONT)
            woken = [await lines.woken() for _ in range(owners)]
        unchanged = await database.fetchrow(STATE) == before
        await other.finish(owners * batch)
        effects, records = await database.fetchrow(EFFECTS) or (0, 0)
    figures = {
        "owners": owners,
        "held": sum(owner.tasks for owner in held),
        "frozen_s": round(away, 1),
        "finished_by_the_other": other.finished,
        "fenced": sum(owner.completed == 0 for owner in woken),
        "trusted_their_lease": sum(owner.trusted for owner in woken),
        "rows_changed": sum(owner.completed + owner.moved for owner in woken) + (not unchanged),
        "duplicate_effects": effects - records,
    }
    passed = (
        figures["held"] == other.finished == records == owners * batch
        and figures["fenced"] == owners
        and not figures["trusted_their_lease"]
        and not figures["rows_changed"]
        and not figures["duplicate_effects"]
    )
    return Fact(fact="frozen owners", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


async def owners_of(place: Place) -> Fact:
    """Twenty of them, on a place of the campaign."""
    return await frozen_owners(await place.database())


async def prepare(database: Database, tasks: int) -> None:
    """Make the tables of the products, and one task for each of `tasks` products."""
    await create_tables(database, shipped())
    await put(Queue(database, boot_id="before"), *(product(str(number)) for number in range(tasks)))


class Other:
    """The node that takes over."""

    def __init__(self, database: Database) -> None:
        self._node = Node(database)
        self._queue = Queue(database, boot_id=self._node.boot_id)
        self._settlement = Settlement(shipped()["product"], database, self._queue)
        self._held: list[Task] = []
        self.finished = 0

    async def take_back(self, tasks: int) -> None:
        """Wait until the leases of the others are over and `tasks` are back in the queue."""
        await self._node.renew()
        with anyio.fail_after(WITHIN):
            while tasks > 0:
                tasks -= len((await self._queue.return_expired()).ids)
                await anyio.sleep(0.05)

    async def claim(self) -> None:
        """Take in hand all that waits."""
        while claimed := await self._queue.claim(["product"]):
            self._held += claimed

    async def finish(self, goal: int) -> None:
        """Settle until `goal` tasks are finished: first what is in hand, then what waits."""
        while self.finished < goal and (tasks := self._held or await self._queue.claim(["product"], limit=goal)):
            await self._settlement.settle(await self._settlement.prepare(tasks))
            self.finished += len(tasks)
            self._held = []


class Lines:
    """What the crowd says, line by line."""

    def __init__(self, stream: anyio.abc.ByteReceiveStream) -> None:
        self._buffered = BufferedByteReceiveStream(stream)

    async def held(self) -> Held:
        line = await self._next()
        assert isinstance(line, Held), line
        return line

    async def woken(self) -> Woken:
        line = await self._next()
        assert isinstance(line, Woken), line
        return line

    async def _next(self) -> Line:
        with anyio.fail_after(WITHIN):
            return msgspec.json.decode(await self._buffered.receive_until(b"\n", 1 << 16), type=Line)


@asynccontextmanager
async def crowd(dsn: str, *, owners: int, batch: int, lease: float) -> AsyncIterator[Lines]:
    """Start the owners; whatever happens, none of them stays behind, frozen or not."""
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    words = [sys.executable, "-m", "faults.crowd", dsn, str(lease), str(owners), str(batch)]
    process = await anyio.open_process(words, stderr=None, env=environment, cwd=TESTS.parent, start_new_session=True)
    assert process.stdout is not None
    try:
        yield Lines(process.stdout)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with anyio.CancelScope(shield=True):
            await process.wait()
        await process.aclose()


def signal_all(owners: list[Held], number: signal.Signals) -> None:
    """Send a signal to every owner."""
    for owner in owners:
        os.kill(owner.pid, number)
