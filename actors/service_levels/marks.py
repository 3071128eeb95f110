"""Marks the minutes in which deliveries are taken: the availability is told from these."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

from actors import readiness
from tds_runtime import sql
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone
from tds_runtime.intake import Store
from tds_runtime.ref import Ref


class Marks:
    """One statement a minute, as long as it works; which minute it is says the database, whatever our clock says."""

    def __init__(
        self,
        database: Database,
        writer: Ref[Store] | None,
        node: str,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._database, self._writer, self._node = database, writer, node
        self._clock, self._next = clock, -math.inf

    async def mark(self) -> None:
        """Mark this minute when that is not done, the writer takes deliveries, and a write works."""
        if self._clock() < self._next or self._writer is None or readiness.obstacle(self._writer):
            return
        statement = sql.load("service_levels/mark", package="actors")
        try:
            left = await self._database.fetchval(statement, self._node, pool="ingest")
        except DatabaseGone:
            return  # tried again in a moment; if that lasts, the minute stays without a mark
        self._next = self._clock() + max(float(left), 0.0)
