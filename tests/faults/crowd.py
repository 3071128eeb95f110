"""Processes that claim a batch each and settle it when they are thawed; what became of it goes to the standard output.

One process imports the daemon's rooms and forks the others before any event loop exists: python -m faults.crowd DSN
LEASE OWNERS BATCH. Each line is a msgspec-encoded `Held` or `Woken`.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

import anyio
import msgspec
from anyio.abc import TaskStatus
from fixtures.documents import shipped
from msgspec import Struct

from actors.settlement import Settlement
from tds_runtime.database import Database, Options
from tds_runtime.errors import LeaseLost
from tds_runtime.nodes import Node
from tds_runtime.queue import Failure, Queue, Task


class Held(Struct, frozen=True, tag=True):
    """An owner holds a batch and waits."""

    pid: int
    tasks: int


class Woken(Struct, frozen=True, tag=True):
    """An owner was thawed and tried everything that could end its tasks.

    Attributes:
        pid: Of the owner.
        trusted: Whether its own clock still told it that it held the lease.
        completed: Tasks that it could complete; 0 when it was told LeaseLost.
        moved: Tasks that any other ending (release, retry, bury, snooze, refetch) really changed.
    """

    pid: int
    trusted: bool
    completed: int
    moved: int


Line = Held | Woken


def say(line: Line) -> None:
    os.write(1, msgspec.json.encode(line) + b"\n")  # one write, so that lines of forked processes never mix


async def renewing(node: Node, *, task_status: TaskStatus[None]) -> None:
    """Keep the lease as a daemon does; frozen, this stops as well."""
    while True:
        await node.renew()
        task_status.started()
        task_status = anyio.TASK_STATUS_IGNORED
        await anyio.sleep(node.lease / 3)


async def own(dsn: str, lease: float, batch: int) -> None:
    """Claim, be frozen, wake up, try."""
    async with Database(Options(dsn=dsn, work_connections=2, ingest_connections=1)).opened() as database:
        node = Node(database, lease=lease)
        queue = Queue(database, boot_id=node.boot_id)
        async with anyio.create_task_group() as group:
            await group.start(partial(renewing, node))
            with anyio.open_signal_receiver(signal.SIGCONT) as thaws:
                tasks = await queue.claim(["product"], limit=batch)
                say(Held(os.getpid(), len(tasks)))
                async for _ in thaws:
                    break
            say(await woken(node, queue, tasks))
            group.cancel_scope.cancel()


async def woken(node: Node, queue: Queue, tasks: list[Task]) -> Woken:
    """Try to settle as the actor would, and then every other ending."""
    trusted = node.holds_lease()
    settlement = Settlement(shipped()["product"], queue.database, queue)
    completed = 0
    try:
        await settlement.settle(await settlement.prepare(tasks))
        completed = len(tasks)
    except LeaseLost:
        pass  # what is to be shown: a stale owner learns it
    return Woken(os.getpid(), trusted, completed, await moved(queue, tasks))


async def moved(queue: Queue, tasks: list[Task]) -> int:
    """Count what the other endings change."""
    leases = [(task.id, task.fence) for task in tasks]
    failures = [Failure(id=number, fence=fence, error_code="late", error_message="late") for number, fence in leases]
    endings = [
        await queue.release(leases),
        await queue.retry(failures),
        await queue.bury(failures),
        await queue.snooze(leases, None, "late"),
        await queue.refetch(None, leases, "late"),
    ]
    return sum(len(ending.ids) for ending in endings)


def main(dsn: str, lease: float, owners: int, batch: int) -> None:
    children = []
    for _ in range(owners):
        child = os.fork()
        if child == 0:
            anyio.run(own, dsn, lease, batch)
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
