"""This process among others: its lease on what it claims, and the housekeeping that any node does for all.

Start it before the actors that claim, so that it ends after them.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import asyncpg
from anyio import move_on_after

from tds_runtime import migrate, sql
from tds_runtime.context import Context
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.outage import ride_out
from tds_runtime.queue import Queue
from tds_runtime.spec import actor

Clock = Callable[[], float]
OnDue = Callable[[Iterable[tuple[str, str]]], None]

HOUSEKEEPING = 3600.0  # seconds between looks at partitions and old nodes
SUMMING = 60.0  # seconds between sums of what was finished


class Node:
    """One process; `boot_id` is new with each start, so what an earlier life claimed is never taken for ours."""

    def __init__(
        self,
        database: Database,
        *,
        name: str = "",
        lease: float = 60.0,
        boot_id: str | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.database = database
        self.host = _host()
        self.name = name or socket.gethostname()
        self.lease = float(lease)
        self.boot_id = boot_id or secrets.token_hex(8)
        self._clock = clock
        self._held_until = -1.0
        # Read once: a heartbeat opens no file, so it goes on when the process has no descriptors left.
        self._process = _process(os.getpid()) or ""
        self._release = migrate.release()

    def holds_lease(self) -> bool:
        """Whether this process may still work on what it claimed, by its own clock and with a tenth to spare."""
        return self._clock() < self._held_until

    async def renew(self) -> None:
        """Extend the lease, counted from before the request: an answer that took long has used some of it up."""
        asked = self._clock()
        await self.database.execute(
            sql.load("nodes/renew"),
            self.boot_id, self.name, self.host, os.getpid(), self._process, self._release, self.lease,
            pool="ingest",
        )  # fmt: skip
        self._held_until = asked + 0.9 * self.lease

    async def leave(self) -> None:
        """Give the lease up: others may take at once what is left."""
        self._held_until = -1.0
        await self.database.execute(sql.load("nodes/leave"), self.boot_id)

    async def declare_dead(self) -> int:
        """Mark nodes of this machine whose processes are gone, instead of waiting for their leases to end."""
        rows = await self.database.fetch(sql.load("nodes/neighbours"), self.host, self.boot_id)
        dead = [boot_id for boot_id, pid, process in rows if _process(pid) not in {process, None}]
        for boot_id in dead:
            await self.database.execute(sql.load("nodes/lost"), boot_id, self.name)
        return len(dead)


@actor(stop=5)
async def node(ctx: Context, *, database: Database, node: Node, queue: Queue, on_due: OnDue) -> None:
    """Renew the lease, put back what dead nodes held, promote what is due, and wake the actors that have work."""
    ctx.ready()
    with suppress(DatabaseGone):  # only raised when we are to stop: then the lease runs out by itself
        await ride_out(ctx, "database", lambda: _arrive(node, queue))
        keeper = Keeper(database, node, queue)
        while not ctx.stopping.is_set():
            on_due(await ride_out(ctx, "database", keeper.turn))
            with move_on_after(float(queue.options.poll)):
                await ctx.stopping.wait()
        await node.leave()


class Keeper:
    """What a node does each second, each third of a lease, each minute and each hour."""

    def __init__(self, database: Database, node: Node, queue: Queue, clock: Clock = time.monotonic) -> None:
        self._database = database
        self._node = node
        self._queue = queue
        self._clock = clock
        self._renewed = clock()
        self._kept = -HOUSEKEEPING
        self._summed = -SUMMING

    async def turn(self) -> set[tuple[str, str]]:
        now = self._clock()
        if now - self._renewed >= self._node.lease / 3:
            await self._node.renew()
            self._renewed = now
            await self._queue.return_expired()
        if now - self._kept >= HOUSEKEEPING:
            self._kept = now  # before it: what takes too long is for the next time
            await self._keep_house()
        if now - self._summed >= SUMMING:
            self._summed = now
            await self._database.execute("SELECT tds_sum_up_finished()")
            await self._queue.return_forgotten()
        return await self._queue.tick()

    async def _keep_house(self) -> None:
        await self._database.execute(sql.load("nodes/forget"), self._node.boot_id)
        try:
            await self._database.execute("SELECT tds_create_partitions()")
        except asyncpg.LockNotAvailableError:
            return  # a long reader is in the way; there are partitions for two weeks


async def _arrive(node: Node, queue: Queue) -> None:
    await node.renew()
    await node.declare_dead()
    await queue.return_expired()


def _host() -> str:
    """Name the machine and the pid namespace, in which a pid and its start time mean one process."""
    facts = [socket.gethostname()]
    try:
        facts += [
            Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            str(Path("/proc/self/ns/pid").readlink()),
        ]
    except OSError:
        facts.append(secrets.token_hex(8))  # nothing to tell processes by: claim no neighbours
    return " ".join(facts)


def _process(pid: int) -> str | None:
    """Return pid and start time, "" when no such process lives (one that nobody reaped is dead), None if unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    except OSError:
        return None
    return "" if fields[0] in {"Z", "X"} else f"{pid}:{fields[19]}"
