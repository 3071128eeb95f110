"""Buries tasks of entities that no mapping names: a delivery that nobody could place, a mapping that was removed."""

from __future__ import annotations

from functools import partial

from actors.messages import Wake
from tds_runtime import Context, Inbox, Mailbox, actor, logs, ride_out
from tds_runtime.queue import Failure, Queue, Task

log = logs.get("strays")


@actor(mailbox=Mailbox(64, overflow="conflate"), watchdog=60)
async def strays(ctx: Context, inbox: Inbox[Wake], *, queue: Queue) -> None:
    """Bury what waits for the entity of each wake-up; a retry by hand after the mapping came gives it back."""
    ctx.ready()
    async for message in inbox:
        await ride_out(ctx, "database", partial(bury, queue, message.entity))


async def bury(queue: Queue, entity: str) -> int:
    """Make dead letters of all waiting tasks of an entity; returns how many."""
    await queue.return_own([entity])
    buried = 0
    while tasks := await queue.claim([entity]):
        moved = await queue.bury([_failure(task) for task in tasks])
        buried += len(moved.ids)
    if buried:
        log.warning("strays.buried", entity=entity, tasks=buried)
    return buried


def _failure(task: Task) -> Failure:
    message = f'no mapping names the entity "{task.entity_type}"'
    return Failure(id=task.id, fence=task.fence, error_code="unknown_entity", error_message=message)
