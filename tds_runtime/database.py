"""Postgres through asyncpg: pools, transactions and the one translation of outages; the only room that speaks asyncio.

What it guarantees: every statement, acquire, COMMIT and release ends within a deadline of its own, also while its
caller is being cancelled; every outage surfaces as DatabaseGone and expires the connections that may have met it; a
statement that the server rejected stays asyncpg's PostgresError.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import asyncpg
from msgspec import Struct

from tds_runtime import embedded, replication, sqlstate
from tds_runtime.connection import Connection, commit, cut, roll_back, storable
from tds_runtime.errors import DatabaseGone
from tds_runtime.hosts import Hosts
from tds_runtime.values import Duration

__all__ = ["Connection", "Database", "Options", "PoolStatistics", "Statistics", "storable"]

Pool = Literal["work", "ingest"]
State = Literal["down", "starting", "up"]

QUOTED = str.maketrans({'"': '""'})


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Section [database]: where Postgres is, and how patient its clients are.

    `dsn` is a connection URL, or the word "embedded" for the Postgres from the wheel, kept in `data_directory`. With a
    standby it names both, `postgresql://user@one,two/erp?target_session_attrs=read-write`: after a fail-over the other
    one is found without a restart.
    """

    dsn: str
    schema: str = "public"
    data_directory: Path = Path("var/postgres")
    work_connections: int = 8
    ingest_connections: int = 2
    command_timeout: Duration = Duration("10s")
    acquire_timeout: Duration = Duration("5s")
    release_timeout: Duration = Duration("3s")

    @property
    def resolved(self) -> str:
        """The connection URL, also for "embedded"."""
        return embedded.data_source_name(self.data_directory) if self.dsn == "embedded" else self.dsn


class PoolStatistics(Struct, frozen=True):
    """Connections of one pool: open, idle, and the most there may be."""

    size: int
    idle: int
    maximum: int


class Statistics(Struct, frozen=True, kw_only=True):
    """The pools by name, how many outages were met, and the last one's message ("" while there was none)."""

    state: State
    pools: dict[str, PoolStatistics]
    outages: int
    last_outage: str


class Database:
    """Two pools on one Postgres: `work`, and `ingest` so that acknowledging never waits for work."""

    def __init__(self, options: Options, *, application_name: str = "tds-runtime") -> None:
        self.options = options
        self._application_name = application_name
        self._pools: dict[str, Any] = {}
        self._held = False
        self._state: State = "down"
        self._outages = 0
        self._last_outage = ""

    @property
    def state(self) -> State:
        """`starting` until the first answer (or until admitted), `up` after an answer, `down` after an outage."""
        return self._state

    @property
    def begins(self) -> bool:
        """Whether statements wait for the migrations of this start, and the server has not failed to answer."""
        return self._held and self._state == "starting"

    @asynccontextmanager
    async def opened(self, *, held: bool = False) -> AsyncIterator[Database]:
        """Make the pools, which connect when they are first used; returns at once, also with Postgres down.

        With `held` every statement outside `unguarded` raises DatabaseGone until `admit` is called: the migrations
        come first.
        """
        self._held = held
        self._state = "starting"
        self._pools = {
            "work": await self._pool(self.options.work_connections),
            "ingest": await self._pool(self.options.ingest_connections),
        }
        try:
            yield self
        finally:
            self._state = "down"
            pools, self._pools = self._pools, {}
            for pool in pools.values():
                await self._close(pool)

    def admit(self) -> None:
        """Let statements through: the schema is current."""
        self._held = False
        self._state = "up"

    @asynccontextmanager
    async def connection(self, pool: Pool = "work") -> AsyncIterator[Connection]:
        """Lend a connection outside any transaction: each statement commits by itself."""
        if self._held:
            raise DatabaseGone("the database is not migrated yet")
        async with self.unguarded(pool) as connection:
            yield connection

    @asynccontextmanager
    async def unguarded(self, pool: Pool = "work") -> AsyncIterator[Connection]:
        """Lend a connection even before `admit`: for migrations and checks."""
        wire = await self._acquire(pool)
        try:
            yield Connection(wire, self.outages)
        finally:
            await self._release(pool, wire)

    @asynccontextmanager
    async def transaction(self, pool: Pool = "work") -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction: committed when the body ends, rolled back when it raises.

        Raises:
            DatabaseGone: also when COMMIT got no answer; then the outcome is unknown.
        """
        async with self.connection(pool) as connection, self.transaction_on(connection):
            yield connection

    @asynccontextmanager
    async def transaction_on(self, connection: Connection) -> AsyncIterator[None]:
        """Make the body one transaction on a connection that is already lent."""
        await connection.execute("BEGIN")
        done = False
        try:
            yield
            done = True
        finally:
            # Shielded: a cancelled caller must not leave the outcome to chance; command_timeout bounds the wait.
            with anyio.CancelScope(shield=True):
                await (commit(connection) if done else roll_back(connection))

    async def fetch(self, statement: str, *arguments: Any, pool: Pool = "work") -> list[Any]:
        """Return all rows of one statement on a connection of its own."""
        async with self.connection(pool) as connection:
            return await connection.fetch(statement, *arguments)

    async def fetchrow(self, statement: str, *arguments: Any, pool: Pool = "work") -> Any | None:
        """Return the first row of one statement, or None."""
        async with self.connection(pool) as connection:
            return await connection.fetchrow(statement, *arguments)

    async def fetchval(self, statement: str, *arguments: Any, pool: Pool = "work") -> Any:
        """Return one value of one statement."""
        async with self.connection(pool) as connection:
            return await connection.fetchval(statement, *arguments)

    async def execute(self, statement: str, *arguments: Any, pool: Pool = "work") -> str:
        """Execute one statement and return its tag."""
        async with self.connection(pool) as connection:
            return await connection.execute(statement, *arguments)

    def statistics(self) -> Statistics:
        """Count connections and outages."""
        return Statistics(
            state=self._state,
            pools={
                name: PoolStatistics(pool.get_size(), pool.get_idle_size(), pool.get_max_size())
                for name, pool in self._pools.items()
            },
            outages=self._outages,
            last_outage=self._last_outage,
        )

    @contextmanager
    def outages(self, wire: Any = None) -> Iterator[None]:
        """Turn what asyncpg raises when the server is away into DatabaseGone.

        The connection that met it is cut at once: after a timeout nobody knows what it is still doing.
        """
        try:
            yield
        except sqlstate.FAILURES as error:
            reason = sqlstate.outage(error)
            if reason is None:
                self._answered()
                raise
            if wire is not None and not sqlstate.still_usable(error):
                cut(wire)
            self._gone(reason, error)
            raise DatabaseGone(reason) from error
        self._answered()
        if replication.is_in_doubt(wire):
            self._doubt(wire)

    def _doubt(self, wire: Any) -> None:
        """Make an outage of a commit that the server calls done and that is on no standby."""
        cut(wire)
        self._outages += 1
        self._last_outage = "the commit's wait for its standby was cancelled"
        raise DatabaseGone(self._last_outage)

    def _answered(self) -> None:
        if not self._held and self._pools:
            self._state = "up"

    def _gone(self, reason: str, error: Exception) -> None:
        self._outages += 1
        self._last_outage = reason
        if sqlstate.only_late(error):
            self._answered()
        else:
            self._state = "down"
        if sqlstate.expires(error):
            for pool in self._pools.values():
                pool._generation += 1  # noqa: SLF001 - expire_connections() is a coroutine that does just this

    async def _pool(self, size: int) -> Any:
        options = self.options
        pool = asyncpg.create_pool(
            options.resolved,
            connect=Hosts(options.resolved, options.acquire_timeout).connect,
            min_size=0,
            max_size=size,
            connection_class=replication.Wire,
            command_timeout=options.command_timeout,
            init=_durable,
            reset=_keep,
            server_settings=self._settings(),
        )
        await pool
        return pool

    def _settings(self) -> dict[str, str]:
        patience = int(self.options.command_timeout * 1000)
        return {
            "application_name": self._application_name,
            "search_path": f'"{self.options.schema.translate(QUOTED)}"',
            "timezone": "UTC",
            "jit": "off",
            "random_page_cost": "1.1",  # what is claimed and finished is small and in memory
            "statement_timeout": str(max(patience - 500, patience // 2)),
            "idle_in_transaction_session_timeout": str(max(6 * patience, 60_000)),
        }

    async def _acquire(self, name: Pool) -> Any:
        pool = self._pools.get(name)
        if pool is None:
            raise DatabaseGone("the pools are closed")
        try:
            return await pool.acquire(timeout=float(self.options.acquire_timeout))
        except sqlstate.FAILURES as error:
            if isinstance(error, TimeoutError) and pool.get_size() >= pool.get_max_size() and not pool.get_idle_size():
                raise DatabaseGone(f"no free connection in the pool {name}") from error  # the server itself may be well
            # Whatever keeps us from connecting is waited out, a refused password included: it may be set right.
            reason = f"cannot connect: {sqlstate.text(error)}"
            self._gone(reason, error)
            raise DatabaseGone(reason) from error

    async def _release(self, name: Pool, wire: Any) -> None:
        # A frozen server would answer neither the reset nor the cancel request: after the deadline the socket is cut.
        pool = self._pools.get(name)
        with anyio.move_on_after(self.options.release_timeout, shield=True) as scope:
            try:
                if pool is None:
                    cut(wire)
                else:
                    await pool.release(wire, timeout=float(self.options.release_timeout))
            except sqlstate.FAILURES:
                cut(wire)
        if scope.cancelled_caught:
            cut(wire)

    async def _close(self, pool: Any) -> None:
        with anyio.move_on_after(self.options.release_timeout, shield=True):
            await pool.close()
        pool.terminate()


async def _durable(wire: Any) -> None:
    """Commit to disk whatever the defaults of server, database and role; stricter settings than `on` stay."""
    await wire.execute(
        "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
    )


async def _keep(_wire: Any) -> None:
    """Skip asyncpg's reset query: nothing here changes a session outside its transaction, and it costs a round trip."""
