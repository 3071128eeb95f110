"""One of many nodes does what must be done once: a lease with an epoch, checked in every write of the leader.

The lease only saves work. What makes a second leader harmless is `confirm` in the same transaction, or a unique row.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from tds_runtime import sql
from tds_runtime.database import Connection, Database
from tds_runtime.errors import LeaseLost


class Statistics(Struct, frozen=True):
    """Whether this node leads, and in which epoch it last did."""

    leads: bool
    epoch: int


class Leader:
    """A candidate for one office, `name`."""

    def __init__(
        self,
        database: Database,
        *,
        name: str,
        boot_id: str,
        lease: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._name = name
        self._boot_id = boot_id
        self._lease = float(lease)
        self._clock = clock
        self._until = -1.0
        self._epoch = 0

    def leads(self) -> bool:
        """Whether this node leads by its own clock, with a tenth of the lease to spare."""
        return self._clock() < self._until

    async def campaign(self) -> bool:
        """Take or extend the lead; call it every third of the lease."""
        return await self.hold(self._database) is not None

    async def hold(self, where: Connection | Database) -> int | None:
        """Take or extend the lead, by itself or in the transaction of a write.

        Returns the epoch, None while another node leads or is in the middle of such a transaction: the row is locked
        until that ends, so nobody takes over in its middle.
        """
        asked = self._clock()
        values = (self._name, self._boot_id, self._lease)
        epoch: int | None = await where.fetchval(sql.load("leader/hold"), *values)
        self._until = -1.0 if epoch is None else asked + 0.9 * self._lease
        self._epoch = epoch or self._epoch
        return epoch

    async def confirm(self, connection: Connection) -> None:
        """Make sure, in the transaction of a write, that nobody took over; raises LeaseLost."""
        if not await connection.fetchval(sql.load("leader/confirm"), self._name, self._boot_id, self._epoch):
            self._until = -1.0
            raise LeaseLost(f"another node leads {self._name}")

    async def resign(self) -> None:
        """Let another node lead at once."""
        self._until = -1.0
        await self._database.execute(sql.load("leader/resign"), self._name, self._boot_id)

    def statistics(self) -> Statistics:
        """Say whether this node leads."""
        return Statistics(self.leads(), self._epoch)
