"""What a fault left behind, counted: in the database, in the daemon's process and log, in the answers that it gave."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import msgspec
from faults.checker import check
from faults.evidence import gather, sample
from faults.history import Line
from faults.place import execute
from faults.traffic import OK, REFUSED, UNREACHABLE, Traffic
from faults.warm import Warm

# The engine's lines about children that did not live on.
TROUBLE = frozenset(
    {"actor.crashed", "actor.restarting", "actor.quarantined", "actor.hung", "actor.unstopped", "supervisor.exhausted",
     "message.dead_lettered", "loop.blocked"}
)  # fmt: skip
WAITING = "SELECT count(*) FROM tds_sync_queue WHERE status IN ('pending', 'processing', 'failed')"
# A daemon that works is between two statements at any moment; what it has left open stays so.
CONNECTIONS = """
SELECT count(*), count(*) FILTER (WHERE state LIKE 'idle in transaction%'
                                    AND state_change <= clock_timestamp() - interval '1 second')
  FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tds-runtime'
"""


async def settled(dsn: str, within: float = 150.0) -> float:
    """Wait until nothing waits any more; returns the seconds that it took.

    A server that hung may carry a claim out that its daemon has given up; the look for those, once a minute, gives it
    back.
    """
    began = time.monotonic()
    with anyio.fail_after(within):
        while (await execute(dsn, WAITING))[0][0]:  # noqa: ASYNC110 - another process works
            await anyio.sleep(0.1)
    return time.monotonic() - began


async def violations(dsn: str, history: Sequence[Line], *daemons: Warm) -> dict[str, int | str]:
    """Let the checker judge, once nothing waits: how many violations there are, and the first of them."""
    samples = [sample(daemon.pid, 0) for daemon in daemons if daemon.returncode is None]
    evidence = await gather(dsn, history, logs=[daemon.log for daemon in daemons], samples=samples)
    found = check(evidence)
    return {"violations": len(found), **({"first_violation": str(found[0])} if found else {})}


async def connections(dsn: str) -> dict[str, int]:
    """Count the daemons' connections, and those that sit in a transaction."""
    [(count, stuck)] = await execute(dsn, CONNECTIONS)
    return {"connections": count, "idle_in_transaction": stuck}


def troubles(daemon: Warm) -> int:
    """Count the lines that say that a child crashed, hung or was started again."""
    rows = [msgspec.json.decode(row) for row in daemon.log.read_bytes().splitlines() if row.startswith(b"{")]
    return sum(row.get("event") in TROUBLE for row in rows)


def descriptors(daemon: Warm) -> int:
    """Count its open files and sockets."""
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def answered(flow: Traffic, begin: float, end: float) -> dict[str, int | float]:
    """Sum up what senders and probes were told between two moments."""
    seen = [one for one in flow.answers if begin <= one.at < end]
    refused = [one for one in seen if one.status == REFUSED]
    lives = [one for one in flow.lives if begin <= one.at < end]
    return {
        "refused_503": len(refused),
        "without_retry_after": sum(not one.patient for one in refused),
        "unreachable": sum(one.status == UNREACHABLE for one in seen),
        "other_statuses": sum(one.status not in {OK, UNREACHABLE, REFUSED} for one in seen),
        "slowest_answer_s": round(max((one.took for one in seen), default=0.0), 2),
        "livez": len(lives),
        "livez_failed": sum(one.status != OK for one in lives),
        "livez_slowest_s": round(max((one.took for one in lives), default=0.0), 2),
    }
