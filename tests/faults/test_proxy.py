"""The proxy on the way to a real server, driven by asyncpg."""

import itertools
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import anyio
import asyncpg
import pytest
from faults.proxy import Fault, Plan, Proxy, proxy
from faults.wire import through
from fixtures.daemon import until

pytestmark = pytest.mark.anyio

INSERT = "INSERT INTO thing VALUES ($1)"
POINTS = ("before", "sent", "replied")
GONE = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, OSError)


@pytest.fixture
def wire(database_dsn: str) -> Iterator[Proxy]:
    with proxy(database_dsn, {INSERT: "insert"}) as opened:
        yield opened


@asynccontextmanager
async def client(dsn: str, wire: Proxy | None = None, *, patience: float = 10) -> AsyncIterator[asyncpg.Connection]:
    there = through(dsn, wire.port) if wire else dsn
    settings = {"application_name": "tester"}
    connection = await asyncpg.connect(there, timeout=patience, command_timeout=patience, server_settings=settings)
    try:
        yield connection
    finally:
        connection.terminate()


@pytest.fixture
async def direct(database_dsn: str, anyio_backend: str) -> AsyncIterator[asyncpg.Connection]:
    async with client(database_dsn) as connection:
        await connection.execute("CREATE TABLE thing (id integer)")
        yield connection


async def stored(direct: asyncpg.Connection) -> int:
    return int(await direct.fetchval("SELECT count(*) FROM thing"))


async def test_round_trips_are_named(wire: Proxy, database_dsn: str, direct: asyncpg.Connection) -> None:
    """Simple and extended protocol, prepared statements, transactions and COPY are counted under what they execute."""
    wire.arm(record=True)
    async with client(database_dsn, wire) as connection:
        await connection.execute(INSERT, 1)
        await connection.execute(INSERT, 2)
        async with connection.transaction():
            await connection.execute("DELETE FROM thing -- all\nWHERE true")
            await connection.executemany(INSERT, [(number,) for number in range(5000)])
        await connection.copy_records_to_table("thing", records=[(number,) for number in range(20_000)])
        assert len(await connection.fetch("SELECT id, repeat('x', 100) FROM thing")) == 25_000
    operations = [trip.operation for trip in wire.trips()]
    assert operations[:4] == ["connect", "prepare insert", "insert", "insert"]
    assert operations[4:8] == ["BEGIN", "DELETE FROM thing -- all WHERE true", "insert", "COMMIT"]
    copied = next(place for place, name in enumerate(operations) if name.startswith('COPY "thing" FROM STDIN'))
    read = "SELECT id, repeat('x', 100) FROM thing"
    assert operations[copied + 1 :] == [f"prepare {read}", read]
    assert {trip.role for trip in wire.trips()} == {"tester"}
    assert [trip.ordinal for trip in wire.trips()] == list(range(1, len(operations) + 1))
    assert await stored(direct) == 25_000


@pytest.mark.parametrize("fault", [*itertools.product(POINTS, ("close", "reset"))], ids="-".join)
async def test_the_planted_round_trip_is_struck(
    wire: Proxy, database_dsn: str, direct: asyncpg.Connection, fault: tuple[str, str]
) -> None:
    """Before: the server never hears of it. Sent: done, and its client learns only that the connection is lost."""
    point, action = fault
    wire.arm(Plan((Fault(operation="insert", ordinal=2, point=point, action=action),)))
    async with client(database_dsn, wire) as connection:
        await connection.execute(INSERT, 1)
        if point == "replied":
            await connection.execute(INSERT, 2)
            await until(lambda: closed(connection))
        else:
            with pytest.raises(GONE):
                await connection.execute(INSERT, 2)
    assert wire.unfired() == []
    assert await stored(direct) == (1 if point == "before" else 2)


async def closed(connection: asyncpg.Connection) -> bool:
    return connection.is_closed()


async def test_an_open_transaction_dies_with_its_connection(
    wire: Proxy, database_dsn: str, direct: asyncpg.Connection
) -> None:
    """A fault inside a transaction rolls it back; the fault is found by what came earlier in the transaction."""
    wire.arm(Plan((Fault(operation="COMMIT", within="insert", point="before", action="reset"),)))
    async with client(database_dsn, wire) as connection:
        for statement in ("BEGIN", "SELECT 1", "COMMIT", "BEGIN"):
            await connection.execute(statement)
        await connection.execute(INSERT, 1)
        with pytest.raises(GONE):
            await connection.execute("COMMIT")
    assert wire.unfired() == []
    assert await stored(direct) == 0


async def test_faults_repeat_and_are_counted(wire: Proxy, database_dsn: str, direct: asyncpg.Connection) -> None:
    """Every third of them is struck, as often as was said, and what has not struck so often is told."""
    wire.arm(Plan((Fault(operation="insert", ordinal=2, every=3, times=3, point="sent", action="close"),)))
    lost = 0
    for number in range(8):
        async with client(database_dsn, wire) as connection:
            try:
                await connection.execute(INSERT, number)
            except GONE:
                lost += 1
    assert lost == 3
    assert wire.statistics().fired == (3,)
    assert await stored(direct) == 8
    wire.arm(Plan((Fault(operation="never", point="sent", action="close"),)))
    assert [fault.operation for fault in wire.unfired()] == ["never"]


async def test_a_black_hole_holds_back(wire: Proxy, database_dsn: str, direct: asyncpg.Connection) -> None:
    """One connection hears nothing, the others work; when it is mended the server does, late, what it was sent."""
    wire.arm(Plan((Fault(operation="insert", point="before", action="blackhole"),)))
    async with client(database_dsn, wire) as dark, client(database_dsn, wire) as other:
        insert = await dark.prepare(INSERT)
        with pytest.raises(TimeoutError):
            await insert.fetch(1, timeout=0.3)
        assert await other.fetchval("SELECT count(*) FROM thing") == 0
        await until(lambda: cancelled(wire))  # a request to cancel that came after the mending would cancel the insert
        wire.mend()
        await until(lambda: arrived(direct, 1))


async def cancelled(wire: Proxy) -> bool:
    """The client's request to cancel was heard by the server, which had nothing to cancel."""
    return wire.statistics().cancels == 1 and wire.statistics().open == 2


async def arrived(direct: asyncpg.Connection, count: int) -> bool:
    return await stored(direct) == count


async def test_a_cut_link_passes_nothing(wire: Proxy, database_dsn: str, direct: asyncpg.Connection) -> None:
    """While it is cut nobody gets an answer or a connection; afterwards the same connection goes on."""
    async with client(database_dsn, wire) as connection:
        wire.cut()
        with anyio.move_on_after(0.3) as scope:
            await asyncpg.connect(through(database_dsn, wire.port), timeout=60)
        assert scope.cancelled_caught
        async with anyio.create_task_group() as group:
            group.start_soon(connection.execute, INSERT, 1)
            await anyio.wait_all_tasks_blocked()
            assert await stored(direct) == 0
            wire.mend()
        assert await stored(direct) == 1
    await until(lambda: gone(wire))


async def gone(wire: Proxy) -> bool:
    return wire.statistics().open == 0


async def test_bytes_one_by_one(wire: Proxy, database_dsn: str, direct: asyncpg.Connection) -> None:
    """A link that passes one byte at a time changes nothing but the pace."""
    wire.trickle(True)
    async with client(database_dsn, wire) as connection:
        await connection.executemany(INSERT, [(number,) for number in range(200)])
        assert len(await connection.fetch("SELECT id FROM thing")) == 200


async def test_a_call_is_made_at_its_round_trip(wire: Proxy, database_dsn: str, direct: asyncpg.Connection) -> None:
    """The call comes while the answer is kept back: whoever it kills has its statement executed and does not know."""
    async with await anyio.open_process(["sleep", "60"]) as victim:
        plan = Plan((Fault(operation="insert", point="sent", action="call"),))
        wire.arm(plan, call=lambda: victim.send_signal(signal.SIGKILL))
        async with client(database_dsn, wire) as connection:
            with pytest.raises(GONE):
                await connection.execute(INSERT, 1)
        assert await victim.wait() == -signal.SIGKILL
    assert await stored(direct) == 1


async def test_cancel_requests_pass(wire: Proxy, database_dsn: str, direct: asyncpg.Connection) -> None:
    """A statement that takes too long is cancelled through the proxy, and the connection works on."""
    async with client(database_dsn, wire) as connection:
        with pytest.raises(TimeoutError):
            await connection.execute("SELECT pg_sleep(60)", timeout=0.2)
        assert await connection.fetchval("SELECT 1") == 1
    assert wire.statistics().cancels == 1


async def test_a_server_that_is_away_hangs_up(postgres_directory: str, anyio_backend: str) -> None:
    """With nobody behind the proxy its clients are hung up on, as by a server that is starting."""
    dsn = f"postgresql://somebody@/nothing?host={postgres_directory}&port=5432"
    with proxy(dsn) as wire, pytest.raises(GONE):
        async with client(dsn, wire):
            pass
