"""Dead letters that are worth another attempt: a day later, or at once when what they failed on has changed."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from importlib import metadata
from typing import Any

import msgspec

from actors.zoho.entities import Entities
from tds_runtime import sql
from tds_runtime.database import Database
from tds_runtime.queue import Queue, Selection


def fingerprints(entities: Entities, settings: object) -> dict[str, str]:
    """What decides how a task of each entity ends: its mapping, these settings (plain data), and this version."""
    said = msgspec.json.encode((metadata.version("tds-runtime"), settings), order="sorted")
    return {entity.name: blake2b(said + entity.fingerprint.encode(), digest_size=16).hexdigest() for entity in entities}


async def retry(queue: Queue, known: Mapping[str, str], *, after: float, times: int, limit: int) -> int:
    """Give letters one attempt each: those older than `after` seconds, and those of entities that changed since.

    At most `limit` of them, none more than `times`; returns how many.
    """
    if not times:
        return 0
    due = Selection(older_than=after, retried_at_most=times - 1)
    retried = await queue.retry_dead(due, by="healer", once=True, limit=limit)
    for row in await _changed(queue.database, known):
        if retried >= limit:
            break
        mended = Selection(entity_type=row["entity_type"], older_than=row["age"], retried_at_most=times - 1)
        retried += await queue.retry_dead(mended, by="healer", once=True, limit=limit - retried)
    return retried


async def _changed(database: Database, known: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """When each entity's fingerprint became what it is, in seconds ago; of those that have older letters."""
    await database.execute(sql.load("healer/note_fingerprints", package="actors"), list(known), list(known.values()))
    return list(await database.fetch(sql.load("healer/mended", package="actors"), list(known)))
