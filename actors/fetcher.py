"""Makes the detail calls: takes fetch tasks of all entities, asks the source, and hands the documents to the queue.

Nothing is claimed that cannot be asked for now: while a budget, a pause or a breaker keeps an API closed, its tasks
wait in the queue, without a lease and without spending attempts.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Annotated, TypeVar

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from msgspec import Meta, Struct

from actors.fetching.asking import Asker, Finding, Untried
from actors.fetching.settling import settle
from actors.messages import Wake
from actors.pulling.backlog import LOOK, Backlog
from actors.pulling.sift import IMAGE
from actors.zoho.client import Client
from actors.zoho.entities import Entities
from actors.zoho.images import Pictures
from actors.zoho.metering import metered
from tds_runtime import Context, Inbox, Mailbox, actor, logs, ride_out
from tds_runtime.clock import DatabaseClock
from tds_runtime.config import Duration
from tds_runtime.database import Database
from tds_runtime.errors import DatabaseGone, LeaseLost
from tds_runtime.queue import Queue, Task
from tds_runtime.running import Cost

T = TypeVar("T")

log = logs.get("fetcher")

LINGER = 0.1
"""Seconds that an answer waits for others that are under way, to be settled with them."""


FINISH = 3.0
"""Seconds that calls under way may still take when the actor is to stop."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The section [fetcher]."""

    batch: int = 100
    """Tasks claimed and answers settled at once."""
    poll: Duration = Duration("30s")
    """A task whose wake-up was lost is found this late at most."""
    pause: Duration = Duration("5s")
    """How long an API is left alone when it fails without saying for how long."""
    backlog: Annotated[int, Meta(ge=1)] = 2000
    """Changes that may wait for one entity; with more of them nothing is fetched for it until it has written some."""


def _nobody(_: Iterable[tuple[str, str]]) -> None:
    return None


@actor(mailbox=Mailbox(4, overflow="conflate"), watchdog=180, stop=20)
async def fetcher(
    ctx: Context,
    inbox: Inbox[Wake],
    *,
    database: Database,
    queue: Queue,
    client: Client,
    entities: Entities,
    options: Options | None = None,
    due: Callable[[Iterable[tuple[str, str]]], object] = _nobody,
    pictures: Pictures | None = None,
) -> None:
    """Fetch what waits, as many records at once as the source allows; `due` is told whose documents came."""
    await Desk(ctx, inbox, database, queue, client, entities, options or Options(), due, pictures).open()


class Desk:
    """The fetches of one incarnation: claimed, asked for by several at once, settled together."""

    def __init__(  # noqa: PLR0917 - what one incarnation works with, passed once
        self,
        ctx: Context,
        inbox: Inbox[Wake],
        database: Database,
        queue: Queue,
        client: Client,
        entities: Entities,
        options: Options,
        due: Callable[[Iterable[tuple[str, str]]], object],
        pictures: Pictures | None,
    ) -> None:
        self._ctx = ctx
        self._inbox = inbox
        self._database = database
        self._queue = queue
        self._client = client
        self._options = options
        self._due = due
        self._apis = {entity.name: {source.api for source in entity.sources} for entity in entities}
        if pictures is not None:
            self._apis[IMAGE] = {"inventory"}
        self._clock = DatabaseClock()
        self._asker = Asker(client, entities, self._clock, pictures)
        self._woken = anyio.Event()
        self._finished = anyio.Event()
        self._claiming = anyio.CancelScope()
        self._held: dict[int, Task] = {}
        self._costs: dict[int, Cost] = {}
        self._in_doubt = False
        self._closed: dict[str, float] = {}
        self._backlogs = {entity.name: Backlog(entity.name, self._options.backlog, self._count) for entity in entities}
        self._behind = False

    async def open(self) -> None:
        """Work until the actor is to stop; tasks in hand then go back untouched."""
        self._ctx.ready()  # with the database away the daemon starts all the same
        await self._return_own()
        sender, tasks = anyio.create_memory_object_stream[Task](self._ahead)
        answers, findings = anyio.create_memory_object_stream[Finding](self._options.batch)
        try:
            async with anyio.create_task_group() as group, tasks, findings:
                group.start_soon(self._listen)
                group.start_soon(self._settle, findings)
                for _ in range(self._client.options.concurrency):
                    group.start_soon(self._ask, tasks, answers.clone())
                answers.close()
                async with sender:
                    with self._claiming:
                        await self._claim(sender)
                with anyio.move_on_after(FINISH):
                    await self._finished.wait()
                group.cancel_scope.cancel()
        finally:
            if self._ctx.stopping.is_set():
                await self._give_back()

    @property
    def _ahead(self) -> int:
        """Tasks that lie ready while the next are claimed; none where a permit may run out meanwhile."""
        options = self._client.options
        return 0 if options.calls_per_minute else options.concurrency

    async def _listen(self) -> None:
        async for _ in self._inbox:
            self._woken.set()
        self._claiming.cancel()

    async def _return_own(self) -> None:
        """Put back what is ours by the queue: an earlier life held it, or the answer to a claim was lost."""
        self._in_doubt = False
        await self._ride_out(lambda: self._queue.return_own(list(self._apis), ("fetch",)))

    async def _give_back(self) -> None:
        leases = [(task.id, task.fence) for task in self._held.values()]
        with anyio.CancelScope(shield=True), anyio.move_on_after(5):
            try:
                await self._queue.release(leases)
            except DatabaseGone as error:
                log.warning("tasks.kept", reason=str(error), tasks=len(leases))  # they come back by their lease

    # --- claiming

    async def _claim(self, sender: MemoryObjectSendStream[Task]) -> None:
        """Claim what can be asked for now; permits come first, so that nobody waits with a lease in hand."""
        while not self._ctx.stopping.is_set():
            self._woken = anyio.Event()
            if self._forgotten():
                await self._return_own()
            names = [] if self._in_doubt else await self._ready_entities()
            tasks = await self._take(names) if names else []
            for task in tasks:
                await sender.send(task)
            if not tasks and not self._forgotten():
                await self._idle()

    async def _take(self, names: Sequence[str]) -> list[Task]:
        limiter, unlimited = self._client.limiter, not self._client.options.calls_per_minute
        wanted = self._options.batch if unlimited else self._client.options.concurrency
        async with self._ctx.waiting("permits"):
            permits = await self._ride_out(lambda: limiter.acquire(wanted))
        await self._ride_out(lambda: self._clock.set(self._database))
        with anyio.CancelScope(shield=True):  # what was claimed must be known, or it waits for its lease to end
            tasks = await self._claimed(names, permits)
        self._held.update((task.id, task) for task in tasks)
        limiter.give_back(permits - len(tasks))
        return tasks

    def _forgotten(self) -> bool:
        """Whether all that is ours by the queue is what a lost answer was about."""
        return self._in_doubt and not self._held

    async def _claimed(self, names: Sequence[str], permits: int) -> list[Task]:
        tries = 0

        async def claim() -> list[Task]:
            nonlocal tries
            tries += 1
            return await self._queue.claim(names, ("fetch",), permits)

        try:
            return await self._ride_out(claim)
        finally:
            self._in_doubt = tries > 1

    def _closed_apis(self) -> dict[str, float]:
        """APIs that take no calls, and until when (seconds since the epoch)."""
        known = {api for apis in self._apis.values() for api in apis}
        until = {api: max(self._client.closed_until(api) or 0.0, self._closed.get(api, 0.0)) for api in known}
        return {api: moment for api, moment in until.items() if moment > time.time()}

    def _open_entities(self) -> list[str]:
        """Entities all of whose APIs take calls."""
        closed = self._closed_apis().keys()
        return [name for name, apis in self._apis.items() if not apis & closed]

    async def _ready_entities(self) -> list[str]:
        """Those of them that keep up with what is fetched for them."""
        names = self._open_entities()
        behind = {name for name in names if name in self._backlogs and await self._backlogs[name].is_long()}
        self._behind = bool(behind)
        return [name for name in names if name not in behind]

    async def _count(self, entity: str, most: int) -> int:
        return await self._ride_out(lambda: self._queue.backlog(entity, most))

    async def _idle(self) -> None:
        """Wait for a wake-up, the next poll, an API to open, or an entity to write what was fetched for it."""
        waits = [max(until - time.time(), 0.05) for until in self._closed_apis().values()]
        waits += [LOOK] if self._behind else []
        with anyio.move_on_after(min([self._options.poll, *waits])):
            await self._woken.wait()

    # --- asking

    async def _ask(self, tasks: MemoryObjectReceiveStream[Task], answers: MemoryObjectSendStream[Finding]) -> None:
        async with answers:
            async for task in tasks:
                with metered() as meter:
                    finding = await self._asker.ask(task)
                self._costs[task.id] = meter.take()
                if isinstance(finding, Untried):
                    self._close(finding)
                await answers.send(finding)

    def _close(self, untried: Untried) -> None:
        """Claim nothing for this API for a moment, where the client itself knows no time.

        When only the reserve of the day's calls is left, the tasks of full runs come back again and again; changes,
        which are claimed first, pass between two of those.
        """
        for api in self._apis[untried.task.entity_type]:
            if self._client.closed_until(api) is None:
                self._closed[api] = time.time() + self._options.pause

    # --- settling

    async def _settle(self, findings: MemoryObjectReceiveStream[Finding]) -> None:
        async for first in findings:
            await self._settle_batch([first, *await self._others(findings)])
        self._finished.set()

    async def _others(self, findings: MemoryObjectReceiveStream[Finding]) -> list[Finding]:
        """What comes shortly after, while there is anything more to come."""
        batch: list[Finding] = []
        with anyio.move_on_after(LINGER), suppress(anyio.EndOfStream):
            while len(batch) < min(self._options.batch, len(self._held)) - 1:
                batch.append(await findings.receive())
        return batch

    async def _settle_batch(self, batch: list[Finding]) -> None:
        try:
            costs = self._by_run(batch)
            settled = await self._ride_out(lambda: settle(self._database, self._queue, batch, costs))
        except LeaseLost as error:
            log.warning("tasks.lost", reason=str(error), tasks=len(batch))
            return
        finally:
            for finding in batch:
                self._held.pop(finding.task.id, None)
            if self._forgotten():
                self._woken.set()
        self._ctx.beat()
        for name, documents in settled.waiting.items():
            self._backlogs[name].add(documents)
        log.debug("details.settled", **settled.outcomes)
        if settled.entities:
            self._due([(name, "upsert") for name in settled.entities])

    def _by_run(self, batch: Iterable[Finding]) -> dict[int, Cost]:
        """What the calls of these cost the runs that they belong to."""
        costs: dict[int, Cost] = {}
        for task in (finding.task for finding in batch):
            cost = self._costs.pop(task.id, Cost())
            if task.run_id is not None:
                costs[task.run_id] = costs.get(task.run_id, Cost()) + cost
        return costs

    async def _ride_out(self, operation: Callable[[], Awaitable[T]]) -> T:
        return await ride_out(self._ctx, "database", operation, outages=(DatabaseGone,))
