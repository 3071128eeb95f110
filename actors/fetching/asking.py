"""Asks the source for one record or picture; whatever happens is a finding, never an exception."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import anyio
from msgspec import Struct

from actors.pulling.sift import IMAGE
from actors.zoho.client import Client
from actors.zoho.entities import Entities, Entity, Source
from actors.zoho.images import Pictures
from actors.zoho.picking import Detail, pickers
from tds_runtime.clock import DatabaseClock
from tds_runtime.errors import (
    BreakerOpen,
    DatabaseGone,
    Error,
    Outage,
    RateLimited,
    RecordMissing,
    SourceAnswerInvalid,
    SourceDown,
    SourceRefused,
    SourceRejected,
    code_of,
)
from tds_runtime.task import FULL, Task

REFUSED = timedelta(minutes=10)
"""A record whose call is refused for lack of scope is asked for again this much later."""


class Found(Struct, frozen=True):
    """The record's document."""

    task: Task
    detail: Detail
    source: Source
    observed_at: datetime


class Gone(Struct, frozen=True):
    """The source has no such record."""

    task: Task
    observed_at: datetime
    reason: str


class Failed(Struct, frozen=True, kw_only=True):
    """No document, and the call itself is to blame: tried again later, or `final`."""

    task: Task
    code: str
    message: str
    final: bool


class Untried(Struct, frozen=True):
    """The source takes no calls now: the task goes back as it was."""

    task: Task
    error: Outage


class Refused(Struct, frozen=True):
    """The source takes calls, but not this kind from us: the task is put off, its neighbours are not."""

    task: Task
    until: datetime
    reason: str


class Pictured(Struct, frozen=True):
    """The picture lies in the directory; without a path the item has none."""

    task: Task
    path: str = ""
    content_type: str = ""
    size: int = 0


Finding: TypeAlias = Found | Gone | Failed | Untried | Refused | Pictured


class Asker:
    """Makes one task's calls, with a permit that the caller holds."""

    def __init__(
        self,
        client: Client,
        entities: Entities,
        clock: DatabaseClock,
        pictures: Pictures | None = None,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._entities = entities
        self._clock = clock
        self._pictures = pictures
        self._pickers = pickers(entities)
        self._wall = wall

    async def ask(self, task: Task) -> Finding:
        """What became of this task's call."""
        observed_at = self._clock.at(anyio.current_time())
        try:
            if task.entity_type == IMAGE:
                return await self._picture(task)
            return await self._record(task, self._entities[task.entity_type], observed_at)
        except Error as error:
            return self._finding(task, observed_at, error)

    def _finding(self, task: Task, observed_at: datetime, error: Error) -> Finding:
        match error:
            case RecordMissing():
                return Gone(task, observed_at, str(error))
            case SourceRejected():
                code = f"source_rejected_{error.code or error.status}"
                return Failed(task=task, code=code, message=str(error), final=True)
            case SourceRefused():
                return self._refused(task, error)
            case BreakerOpen() | RateLimited() | DatabaseGone():
                return Untried(task, error)
            case SourceDown() if self._is_down(task):
                return Untried(task, error)
            case _:  # the source failed at this very record, or answered what cannot be read
                return Failed(task=task, code=code_of(error), message=str(error), final=False)

    def _is_down(self, task: Task) -> bool:
        """Whether so much failed that it cannot be this record: a breaker opened, or its probe has failed."""
        entity = self._entities.get(task.entity_type)
        apis = {source.api for source in entity.sources} if entity else {"inventory"}
        return any(self._client.breakers[api].state.phase != "closed" for api in apis)

    async def _record(self, task: Task, entity: Entity, observed_at: datetime) -> Finding:
        """The document, from whichever endpoint has it when the task does not name one."""
        sources = [entity.source(task.variant)] if task.variant or len(entity.sources) == 1 else entity.sources
        missing: RecordMissing | None = None
        for place, source in enumerate(sources):
            if source.detail_path is None:
                return Failed(task=task, code="no_detail_call", message=f"{entity.name} has none", final=True)
            try:
                body = await self._client.detail(
                    source, task.source_entity_id, permitted=place == 0, bulk=task.priority >= FULL
                )
            except RecordMissing as error:
                missing = error
                continue
            detail = self._pickers[entity.name].detail(source, body)
            if detail.id != task.source_entity_id:
                raise SourceAnswerInvalid(f"asked for {task.source_entity_id}, got {detail.id}")
            return Found(task, detail, source, observed_at)
        assert missing is not None
        raise missing

    async def _picture(self, task: Task) -> Finding:
        if self._pictures is None:
            return Failed(task=task, code="no_directory", message="[images] directory is not set", final=True)
        if not task.variant:
            await self._pictures.remove(task.source_entity_id)
            return Pictured(task)
        try:
            image = await self._client.image(task.source_entity_id, permitted=True)
        except RecordMissing:
            await self._pictures.remove(task.source_entity_id)
            return Pictured(task)
        path = await self._pictures.save(task.source_entity_id, image)
        return Pictured(task, str(path), image.content_type, len(image.body))

    def _refused(self, task: Task, error: SourceRefused) -> Finding:
        """Parked credentials close everything; a missing scope only puts this task off."""
        if self._client.oauth.closed_until():
            return Untried(task, error)
        until = datetime.fromtimestamp(self._wall(), UTC) + REFUSED
        return Refused(task, until, str(error))
