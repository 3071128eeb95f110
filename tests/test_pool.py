from __future__ import annotations

import anyio
import pytest
from fixtures.trees import next_event, seen
from msgspec import Struct

from tds_runtime import Backoff, Budget, Call, Context, Inbox, Pool, Supervisor, actor, partitions, run
from tds_runtime.errors import (
    AlreadyRunning,
    NoSuchChild,
    NotRunning,
    PoolFull,
    SpecError,
    StartFailed,
    Stopped,
)
from tds_runtime.events import ChildEnded, ChildQuarantined


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


class Put(Struct, frozen=True):
    key: str
    value: int


class Total(Call[int], frozen=True):
    key: str = ""


class Leave(Struct, frozen=True):
    crash: bool = False


@actor(backoff=Backoff(0), restart="transient")
async def counter(ctx: Context, inbox: Inbox[Put | Total | Leave], start: int = 0, *, stop_seconds: float = 0) -> None:
    if start < 0:
        raise LookupError("no such start")
    total = start
    async for message in inbox:
        match message:
            case Put():
                total += message.value
            case Total():
                inbox.reply(message, total)
            case Leave(crash):
                if crash:
                    raise ValueError
                return
    await anyio.sleep(stop_seconds)


@pytest.mark.anyio
async def test_children_come_and_go():
    """Start waits until the child is ready and gives its reference; stop_child waits until it is gone."""
    pool = Pool("pool", template=counter)
    async with run(Supervisor("tree", children=[pool])) as runtime:
        ref = await pool.start("a", 5)
        assert (ref.path, await ref.ask(Total())) == ("tree/pool/a", 5)
        assert pool.ref("a") == ref
        with pytest.raises(AlreadyRunning):
            await pool.start("a")
        assert runtime.count().specs == 2
        await pool.stop_child("a")
        assert runtime.count().specs == 1
        with pytest.raises(Stopped):
            await ref.tell(Put("", 1))
        with pytest.raises(NoSuchChild):
            await pool.stop_child("a")
        await pool.start("a", 7)
        assert await pool.ref("a").ask(Total()) == 7
    with pytest.raises(NotRunning):
        await pool.start("b")


@pytest.mark.anyio
async def test_a_child_that_does_not_start_leaves_nothing():
    """The error names it, the pool goes on, and the name is free again."""
    pool = Pool("pool", template=counter)
    async with run(Supervisor("tree", children=[pool])) as runtime:
        with pytest.raises(StartFailed, match="tree/pool/a did not start: LookupError"):
            await pool.start("a", -1)
        assert runtime.count("tree/pool").specs == 0
        await pool.start("a")


@pytest.mark.anyio
async def test_finished_children_are_forgotten_and_crashed_ones_come_back():
    """A transient child that returns is gone; one that crashes is restarted with its arguments."""
    pool = Pool("pool", template=counter, budget=Budget(100))
    async with run(Supervisor("tree", children=[pool])) as runtime:
        a, b = await pool.start("a", 1), await pool.start("b", 2)
        await a.tell(Leave())
        await b.tell(Put("", 10))
        await b.tell(Leave(crash=True))
        assert await b.ask(Total()) == 2
        assert [child.name for child in runtime.snapshot("tree/pool").children] == ["b"]


@pytest.mark.anyio
async def test_a_pool_is_bounded():
    """More children than the limit are refused."""
    pool = Pool("pool", template=counter, limit=2)
    async with run(Supervisor("tree", children=[pool])):
        await pool.start("a")
        await pool.start("b")
        with pytest.raises(PoolFull):
            await pool.start("c")


@pytest.mark.anyio
async def test_a_crash_looping_child_of_a_pool_is_quarantined():
    """Its siblings never notice, and it can still be stopped."""
    crasher = actor(budget=Budget(1), backoff=Backoff(0))(counter.function)
    pool = Pool("pool", template=crasher, budget=Budget(0))
    runtime = run(Supervisor("tree", children=[pool]))
    events = runtime.events()
    async with runtime:
        a, b = await pool.start("a"), await pool.start("b")
        for _ in range(2):
            await a.tell(Leave(crash=True))
        assert (await next_event(events, ChildQuarantined)).path == "tree/pool/a"
        assert await b.ask(Total()) == 0
        statistics = pool.statistics()
        assert (statistics.children, statistics.active, statistics.quarantined, statistics.restarts) == (2, 1, 1, 1)
        await pool.stop_child("a")
        assert runtime.count("tree/pool").specs == 1


@pytest.mark.anyio
async def test_a_restarted_pool_is_empty():
    """Children that were started by name belong to one life of their pool."""
    pool = Pool("pool", template=counter, backoff=Backoff(0))
    async with run(Supervisor("tree", children=[pool])) as runtime:
        await pool.start("a")
        await runtime.kill("tree/pool")
        await anyio.sleep(1)
        assert runtime.count("tree/pool").specs == 0
        await pool.start("a")


@pytest.mark.anyio
async def test_who_starts_children_of_a_stopping_pool_is_told():
    """Start and stop_child end when the pool does, whatever it was busy with."""
    pool = Pool("pool", template=counter)
    outcomes: list[str] = []

    async def start(name: str) -> None:
        try:
            await pool.start(name)
        except NotRunning:
            outcomes.append(name)

    async with run(Supervisor("tree", children=[pool])) as runtime, anyio.create_task_group() as group:
        await pool.start("slow", stop_seconds=5)
        runtime.stop()
        await anyio.sleep(1)
        group.start_soon(start, "while it stops")
        await runtime.wait()
        group.start_soon(start, "when it has stopped")
    assert outcomes == ["while it stops", "when it has stopped"]


@pytest.mark.anyio
async def test_partitions_keep_the_order_of_each_key():
    """Messages of one key go to one partition, in order; different keys run side by side."""
    heard: dict[str, list[int]] = {}
    busy = most = 0

    @actor()
    async def shard(ctx: Context, inbox: Inbox[Put | Total]) -> None:
        nonlocal busy, most
        async for message in inbox:
            busy += 1
            most = max(most, busy)
            await anyio.sleep(1)
            busy -= 1
            match message:
                case Put(key, value):
                    heard.setdefault(f"{ctx.path} {key}", []).append(value)
                case Total():
                    inbox.reply(message, 0)

    shards = partitions("shards", shard(), 4, key=lambda message: message.key, budget=Budget(7))
    runtime = run(Supervisor("tree", children=[shards]))
    events = runtime.events()
    async with runtime:
        for value in range(5):
            for key in "abcdefgh":
                await shards.ref.tell(Put(key, value))
        assert shards.ref.offer(Put("a", 5))
        await anyio.sleep(100)
        assert await shards.ref.ask(Total("a")) == 0
        assert shards.ref.statistics().handled + shards.ref.statistics().leased == 5 * 8 + 1 + 1
    assert len(heard) == 8
    assert all(values == list(range(len(values))) for values in heard.values())
    assert most == 4
    assert shards.ref.path == "tree/shards"
    assert len(seen(events, ChildEnded)) == 6


def test_partitions_and_pools_that_make_no_sense_are_refused():
    """At least one partition; no fixed children in a pool."""
    with pytest.raises(SpecError):
        partitions("p", counter(), 0, key=str)
    with pytest.raises(SpecError):
        Pool("pool", template=counter, children=[counter()])
    with pytest.raises(SpecError):
        Pool("pool", template=counter, strategy="one_for_all")
