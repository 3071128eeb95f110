"""Leases of processes and of leaders, and what a node does for all."""

import errno
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from fixtures.daemon import until

from tds_runtime import Context, runs
from tds_runtime.database import Database
from tds_runtime.errors import LeaseLost
from tds_runtime.leader import Leader
from tds_runtime.nodes import Keeper, Node, node
from tds_runtime.queue import Change, Options, Queue

pytestmark = pytest.mark.anyio


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def enqueue(database: Database, *records: str) -> None:
    async with database.transaction() as connection:
        changes = [Change(entity_type="product", source_entity_id=record, payload=b"{}") for record in records]
        await Queue(database, boot_id="x").enqueue(connection, changes)


async def test_the_lease_ends_by_our_own_clock(database: Database) -> None:
    """A node that cannot renew stops working before others may take its tasks."""
    clock = Clock()
    me = Node(database, lease=60, clock=clock)
    assert not me.holds_lease()
    await me.renew()
    clock.now = 53.9
    assert me.holds_lease()
    clock.now = 54.0
    assert not me.holds_lease()


async def test_tasks_of_a_killed_process_return_at_once(database: Database) -> None:
    """The successor on the same machine sees that the process is gone and does not wait for the lease."""
    async with await anyio.open_process([sys.executable, "-c", "input()"]) as process:
        dead = Node(database, boot_id="dead")
        await dead.renew()
        stat = (await anyio.Path(f"/proc/{process.pid}/stat").read_text()).rpartition(")")[2].split()[19]
        await database.execute("UPDATE tds_nodes SET pid = $1, process = $2", process.pid, f"{process.pid}:{stat}")
        await enqueue(database, "1")
        await Queue(database, boot_id="dead").claim(["product"])
        alive = Node(database)
        assert await alive.declare_dead() == 0
        process.kill()
    assert await alive.declare_dead() == 1
    assert len((await Queue(database, boot_id=alive.boot_id).return_expired()).returned) == 1


async def test_a_neighbour_that_cannot_be_looked_at_is_not_declared_dead(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of descriptors nobody can say whether a process lives: only its lease may end it."""
    await Node(database, boot_id="neighbour").renew()
    me = Node(database)

    read = Path.read_text

    def refuse(path: Path, **options: Any) -> str:
        if path.is_relative_to("/proc"):
            raise OSError(errno.EMFILE, "Too many open files")
        return read(path, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    await me.renew()
    assert await me.declare_dead() == 0


async def test_a_node_wakes_whoever_has_work(database: Database) -> None:
    """What is enqueued or becomes due is told within a turn; at the end the lease is given up."""
    told: list[Any] = []
    ctx = Context()
    me = Node(database)
    queue = Queue(database, boot_id=me.boot_id, options=Options(poll=0.01))
    await enqueue(database, "1")
    await database.execute("UPDATE tds_sync_queue SET status = 'failed', available_at = now()")

    def on_due(found: Any) -> None:
        told.append(set(found))
        if found:
            ctx.stopping.set()

    with anyio.fail_after(10):
        await node.function(ctx, database=database, node=me, queue=queue, on_due=on_due)
    assert told[-1] == {("product", "upsert")}
    assert await database.fetchval("SELECT stopped_at IS NOT NULL FROM tds_nodes WHERE pid = $1", os.getpid())
    assert not me.holds_lease()


async def test_a_node_at_rest_notices_what_others_put_there(database: Database) -> None:
    """Nobody tells it: a task of another process and a wish for a run are found by the next poll."""
    told: list[set[tuple[str, str]]] = []
    ctx, me = Context(), Node(database)
    queue = Queue(database, boot_id=me.boot_id, options=Options(poll=0.01))

    async def tells(*expected: tuple[str, str]) -> None:
        async def has_told() -> bool:
            return bool(told) and told[-1] == set(expected)

        await until(has_told, within=10)

    async with anyio.create_task_group() as group:
        on_due = lambda found: told.append(set(found))  # noqa: E731 - what it is told, it keeps
        group.start_soon(partial(node.function, ctx, database=database, node=me, queue=queue, on_due=on_due))
        await tells()
        await enqueue(database, "1")
        await tells(("product", "upsert"))
        async with database.transaction() as connection:
            await runs.request(connection, "product", "full", "somebody")
        await tells(("product", "upsert"), ("all", "run"))
        ctx.stopping.set()


async def test_a_leader_is_replaced_when_its_lease_is_over(database: Database) -> None:
    """One leads at a time, a successor has a higher epoch, and the old one's writes are refused."""
    one, two = (Leader(database, name="ticks", boot_id=boot_id) for boot_id in ("1", "2"))
    assert await one.campaign()
    assert await one.campaign()
    assert not await two.campaign()
    async with database.transaction() as connection:
        await one.confirm(connection)
    await database.execute("UPDATE tds_leaders SET renewed_at = now() - interval '61 s'")
    assert await two.campaign()
    assert (one.statistics().epoch, two.statistics().epoch) == (1, 2)
    with pytest.raises(LeaseLost):
        async with database.transaction() as connection:
            await one.confirm(connection)
    assert not one.leads()
    await two.resign()
    assert await one.campaign()


async def test_a_turn_renews_and_keeps_house_when_it_is_time(database: Database) -> None:
    """A third of a lease later it is renewed and dead nodes' tasks come back; each hour old nodes are forgotten."""
    clock = Clock()
    me = Node(database, lease=60, clock=clock)
    keeper = Keeper(database, me, Queue(database, boot_id=me.boot_id), clock)
    await me.renew()
    await enqueue(database, "1")
    await Queue(database, boot_id="dead").claim(["product"])
    await database.execute("UPDATE tds_nodes SET renewed_at = now() - interval '30 s'")
    await database.execute(
        "INSERT INTO tds_nodes (boot_id, name, host, pid, process, version, lease, renewed_at)"
        " VALUES ('old', '', '', 1, '', '', '60 s', now() - interval '2 days')"
    )
    assert await keeper.turn() == set()
    assert [row[0] for row in await database.fetch("SELECT boot_id FROM tds_nodes")] == [me.boot_id]
    clock.now = 20
    assert await keeper.turn() == {("product", "upsert")}
    assert await database.fetchval("SELECT now() - renewed_at < '5 s' FROM tds_nodes")


async def test_a_turn_sums_up_what_was_finished_each_minute(database: Database) -> None:
    """In the first turn, and then once a minute."""
    clock = Clock()
    me = Node(database, clock=clock)
    keeper = Keeper(database, me, Queue(database, boot_id=me.boot_id), clock)
    summed = "SELECT COALESCE(sum(completed), 0) FROM tds_finished_minutes"
    await database.execute("SELECT tds_sum_up_finished()")  # yesterday: it sums up a day at a time
    for seconds, ago, expected in ((0, 4, 1), (59, 3, 1), (60, 2, 3)):  # each in a minute of its own
        await database.execute(
            "INSERT INTO tds_sync_queue_done (entity_type, source_entity_id, status, completed_at)"
            " VALUES ('product', '1', 'completed', date_trunc('minute', now()) - $1 * interval '1 minute')", ago
        )  # fmt: skip
        clock.now = seconds
        await keeper.turn()
        assert await database.fetchval(summed) == expected
