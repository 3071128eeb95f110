"""The demo from curtain to curtain: stage, full sync, webhooks, comparison, verdict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic

import httpx2

from actors.demo.compare import compare
from actors.demo.play import CONFIGURATION, Player
from actors.demo.verdict import Verdict, judge
from actors.processes import playground
from actors.stage import open_stage
from actors.zoho import entities
from tds_runtime.database import Database, Options

WEBHOOK_OUTCOMES = """
SELECT outcome, count(*) FROM tds_sync_queue WHERE status = 'completed' AND last_inbox_id IS NOT NULL GROUP BY outcome
"""
DEAD = "SELECT count(*) FROM tds_sync_queue WHERE status = 'dead_letter'"


async def perform(mappings: Path, *, seed: int, progress: Callable[[str], None]) -> Verdict:
    """Play everything in a temporary directory and return what came of it.

    Args:
        mappings: the directory of the entity mappings, an absolute path.
        seed: of the sandbox's data.
        progress: told, in a few words, what happens now.

    Raises:
        StageFailed, PlayFailed: it did not come to a verdict; the message ends with the log of who failed.
    """
    began = monotonic()
    compiled = entities.load(mappings)
    with playground("tds-demo-") as directory:
        progress("starting the sandbox, Postgres and the daemon")
        async with (
            open_stage(directory, mappings, seed=seed, more=CONFIGURATION) as stage,
            httpx2.AsyncClient(trust_env=False, timeout=60) as http,
            Database(Options(dsn="embedded", data_directory=directory / "postgres")).opened() as database,
        ):
            player = Player(stage, http, progress=progress)
            await player.full_sync()
            sent = await player.webhooks()
            await player.settle()
            await player.acknowledge()
            progress("comparing every record with the source")
            matches = await compare(player, database, compiled)
            outcomes = dict(await database.fetch(WEBHOOK_OUTCOMES))
            webhooks = {
                "sent": sent.sent,
                "acknowledged": sent.acknowledged,
                "refused": sent.refused,
                "applied": outcomes.get("applied", 0),
                "duplicate": sent.duplicate,
                "superseded": outcomes.get("superseded", 0),
                "dead_lettered": await database.fetchval(DEAD),
            }
            progress("telling the service levels")
            levels = await player.levels()
            restarts = await player.restarts()
    return judge(matches, webhooks, levels, restarts, monotonic() - began)
