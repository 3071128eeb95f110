"""The source for everybody else: its connections, its breakers as they were left, and what other nodes ordered."""

from __future__ import annotations

from collections.abc import Mapping

import anyio

from actors.zoho.client import ORGANIZATION, Client
from tds_runtime import Context, actor, logs, ride_out
from tds_runtime.breaker import Breaker
from tds_runtime.limiter import Budget
from tds_runtime.upstreams import Shared, Upstream

LOOK, REST = 5.0, 60.0
"""Seconds between two looks at what other nodes and people changed: while something is going on, and else."""

log = logs.get("source")


@actor(watchdog=None, stop=10)
async def source(ctx: Context, *, client: Client, shared: Shared) -> None:
    """Keep the client open; with the database away calls go on, with what this process knows."""
    async with client.opened():
        ctx.ready()
        await Keeper(ctx, client, shared).keep()


class Keeper:
    """Keeps what must survive a restart: breakers and budgets; applies what other nodes learned of them, and pauses."""

    def __init__(self, ctx: Context, client: Client, shared: Shared) -> None:
        self._ctx = ctx
        self._client = client
        self._shared = shared
        self._changed = anyio.Event()
        self._unsaved: set[str] = set()
        self._saved_at: dict[str, float] = {}
        self._reset_at: dict[str, float] = {}

    async def keep(self) -> None:
        """Until the actor is to stop."""
        for breaker in self._client.breakers.values():
            breaker.on_change = self._note
        self._restore(await ride_out(self._ctx, "database", self._read))
        while not self._ctx.stopping.is_set():
            async with self._ctx.waiting("change"):
                with anyio.move_on_after(LOOK if self._is_busy else REST):
                    await self._wait()
            await ride_out(self._ctx, "database", self._exchange)

    @property
    def _is_busy(self) -> bool:
        """Whether calls were made, or something is closed that another node or a person could open."""
        closed = any(breaker.state.phase != "closed" for breaker in self._client.breakers.values())
        return closed or self._client.limiter.paused > 0 or bool(self._unsaved_budgets())

    def _unsaved_budgets(self) -> dict[str, Budget]:
        budgets = self._client.caller.budgets
        return {name: one for name, one in budgets.items() if one.observed_at > self._saved_at.get(name, 0.0)}

    async def _wait(self) -> None:
        async with anyio.create_task_group() as group:

            async def stop() -> None:
                await self._ctx.stopping.wait()
                group.cancel_scope.cancel()

            group.start_soon(stop)
            await self._changed.wait()
            group.cancel_scope.cancel()

    def _note(self, breaker: Breaker) -> None:
        state = breaker.state
        log.warning("breaker.changed", upstream=breaker.name, phase=state.phase, reason=state.reason)
        self._unsaved.add(breaker.name)
        self._changed.set()

    async def _read(self) -> dict[str, Upstream]:
        await self._shared.ensure([ORGANIZATION, *self._client.breakers])
        return await self._shared.read()

    def _restore(self, found: Mapping[str, Upstream]) -> None:
        for name, breaker in self._client.breakers.items():
            if name not in self._unsaved:  # what happened since the start is newer
                breaker.restore(found[name].breaker)
                self._reset_at[name] = found[name].reset_requested_at
        self._take_budgets(found)

    def _take_budgets(self, found: Mapping[str, Upstream]) -> None:
        """What another node was told later is newer than what was told here."""
        for name, budget in self._client.caller.budgets.items():
            if budget.observed_at < found[name].budget.observed_at:
                self._client.caller.budgets[name] = found[name].budget
                self._saved_at[name] = found[name].budget.observed_at

    async def _exchange(self) -> None:
        """Save what changed here, apply what changed there, and see to the connections."""
        await self._client.mend()
        self._changed = anyio.Event()
        for name in sorted(self._unsaved):
            await self._shared.save_breaker(name, self._client.breakers[name].state)
            self._unsaved.discard(name)
        for name, budget in self._unsaved_budgets().items():
            await self._shared.save_budget(name, budget)
            self._saved_at[name] = budget.observed_at
        await self._apply(await self._shared.read())

    async def _apply(self, found: Mapping[str, Upstream]) -> None:
        for name, breaker in self._client.breakers.items():
            if found[name].reset_requested_at > self._reset_at.get(name, 0.0):
                self._reset_at[name] = found[name].reset_requested_at
                breaker.reset()
        self._take_budgets(found)
        ordered = found[ORGANIZATION]
        self._client.limiter.note_pause(ordered.paused, ordered.pause_reason)
        self._client.limiter.share(ordered.nodes)
