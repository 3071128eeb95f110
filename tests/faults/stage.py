"""A daemon behind a proxy, a sender that insists, and a look at the queue: what a planted fault is played on."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import asyncpg
from faults.history import Client, Delivery, History
from faults.place import Place
from faults.planting import operations
from faults.proxy import Proxy, proxy
from faults.warm import Warm
from faults.wire import through

WITHIN = 30.0
PATIENCE = 2  # seconds: command_timeout and acquire_timeout of the daemon
PATIENT = f'command_timeout = "{PATIENCE}s"\nacquire_timeout = "{PATIENCE}s"'
ENVIRONMENT = {"TDS_WEBHOOKS__TIMEOUT": f"{PATIENCE}s"}
DARK = PATIENCE + 0.2  # seconds that a black hole lasts: nobody waits any more for what fell into it
LATE = 0.5  # seconds in which a fault that is planted after the last answer strikes
WAITING = "SELECT count(*) FROM tds_sync_queue_live WHERE status IN ('pending', 'processing', 'failed')"


class Stage:
    """A daemon behind a proxy that is started again when it was killed, a sender, and a look at the queue."""

    def __init__(
        self, place: Place, dsn: str, configuration: Path, wire: Proxy, history: History, *, mutant: str = ""
    ) -> None:
        self.wire, self.dsn = wire, dsn
        self.starts = 0
        self._killed = 0
        self.deliveries = 0
        self.history = history
        self._place, self._configuration, self._mutant = place, configuration, mutant
        self._daemon: Warm | None = None
        self._direct: asyncpg.Connection | None = None

    @property
    def daemon(self) -> Warm:
        """The present one."""
        assert self._daemon is not None
        return self._daemon

    def kill(self) -> None:
        """SIGKILL, from any thread."""
        self._killed = self.starts
        os.kill(self.daemon.pid, signal.SIGKILL)

    async def start(self) -> bool:
        """Start a daemon unless one lives; True when there is a new one."""
        if self._daemon is not None and self._daemon.returncode is None:
            return False
        with anyio.CancelScope(shield=True):  # one that was begun and not kept would keep its port
            self._daemon = await self._place.nursery.start(
                self._configuration, mutant=self._mutant, environment=ENVIRONMENT
            )
        self.starts += 1
        return True

    async def replaced(self) -> None:
        """Return when the daemon that was killed is known to be dead, and another one is there."""
        while self.starts == self._killed:
            await self.daemon.wait()
            await self.start()

    async def perform(self, deliveries: Sequence[Delivery]) -> None:
        """Deliver one after the other, each until it is acknowledged and nothing waits any more."""
        for delivery in deliveries:
            async with anyio.create_task_group() as group:
                group.start_soon(self._restart)
                group.start_soon(self._mend)
                with anyio.fail_after(WITHIN):
                    await self._deliver(delivery)
                    await self.quiet()
                group.cancel_scope.cancel()

    async def _restart(self) -> None:
        while True:
            await self.daemon.wait()
            await self.start()

    async def _mend(self) -> None:
        """End a black hole when the daemon has given it up."""
        while not sum(self.wire.statistics().fired):  # noqa: ASYNC110 - the proxy lives in another thread
            await anyio.sleep(0.02)
        await anyio.sleep(DARK)
        self.wire.mend()

    async def _deliver(self, delivery: Delivery) -> None:
        client = Client(self.daemon.address, self.history)
        self.deliveries += 1
        while await client.deliver(delivery) != "ok":
            self.deliveries += 1
            await anyio.sleep(0.01)
        await client.aclose()

    async def quiet(self) -> None:
        """Return when nothing waits in the queue."""
        if self._direct is None:
            self._direct = await asyncpg.connect(self.dsn, timeout=10, command_timeout=10)
        while await self._direct.fetchval(WAITING):  # noqa: ASYNC110 - another process works
            await anyio.sleep(0.005)

    async def fired(self) -> bool:
        """Whether what was planted has struck; after the last answer it may still be about to."""
        with anyio.move_on_after(LATE):
            while self.wire.unfired():  # noqa: ASYNC110 - the proxy lives in another thread
                await anyio.sleep(0.005)
        return not self.wire.unfired()

    async def aclose(self) -> None:
        """Let go of everything."""
        if self._direct is not None:
            self._direct.terminate()
            self._direct = None
        if self._daemon is not None:
            await self._daemon.kill()


@asynccontextmanager
async def staged(place: Place, *, connections: int = 1, mutant: str = "") -> AsyncIterator[Stage]:
    """A stage on a fresh database; with one connection for work, beside the deliveries' own, each run is alike."""
    dsn = await place.database()
    with (
        proxy(dsn, operations()) as wire,
        History(place.directory / f"{Path(urlsplit(dsn).path).name}.jsonl") as history,
    ):
        pools = f"work_connections = {connections}\ningest_connections = {connections + 1}\n"
        configuration = place.configure(through(dsn, wire.port), database=pools + PATIENT)
        stage = Stage(place, dsn, configuration, wire, history, mutant=mutant)
        try:
            yield stage
        finally:
            with anyio.CancelScope(shield=True):
                await stage.aclose()
