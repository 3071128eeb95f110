"""A million tasks through one daemon: whether memory, dead rows and the cost of a claim stay what they were."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import anyio
from msgspec import Struct

from actors.bench import load, place, workload
from actors.bench.report import Report, middle, report
from actors.processes import free_port, playground, process
from actors.stage import QUIET, wait_ready
from tds_runtime.database import Database, Options
from tds_runtime.queue import Change, Queue

TASKS = 1_000_000
RECORDS = 50_000  # so many products, changed again and again
SLICES = 10
WAVE = 2_000
DEPTH = 20_000  # tasks that wait at most, while there are tasks to come
OLD_DAYS = 5
HOT = ("tds_sync_queue_live", "tds_record_state", "products", "tds_last_deliveries", "tds_nodes")

CONFIGURATION = """\
[database]
dsn = "{dsn}"

[http]
bind = "127.0.0.1:{port}"

[webhooks]
secrets = ["{secret}"]

[zoho]
organization_id = "1"
client_id = "nobody"
client_secret = "nobodysClientSecret"
refresh_token = "nobodysRefreshToken"
accounts_url = "http://127.0.0.1:9"
api_url = "http://127.0.0.1:9"
calls_per_minute = 0

[entities]
directory = "{entities}"
create_tables = true

{schedules}

[log]
level = "warning"
format = "json"
"""
# A healer every ten seconds instead of every fifteen minutes: partitions and old rows go while the tasks come.
HEALING = '[schedule.auto_healing]\nevery = "10s"'

PAST = """
DO $$ DECLARE day date; leaf text; BEGIN
  FOR ago IN 16..15 + {days} LOOP
    day := (now() AT TIME ZONE 'UTC')::date - ago;
    leaf := 'tds_sync_queue_done_' || to_char(day, 'YYYYMMDD');
    EXECUTE format('CREATE TABLE %I (LIKE tds_sync_queue_done INCLUDING ALL)', leaf);
    EXECUTE format('ALTER TABLE tds_sync_queue_done ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        leaf, day::timestamp AT TIME ZONE 'UTC', (day + 1)::timestamp AT TIME ZONE 'UTC');
    EXECUTE format('INSERT INTO %I (entity_type, source_entity_id, status, outcome, completed_at)
        SELECT ''product'', n::text, ''completed'', ''applied'', %L::timestamp AT TIME ZONE ''UTC''
          FROM generate_series(1, 10000) AS n', leaf, day);
  END LOOP;
END $$
"""
OLD = """
SELECT count(*) FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
 WHERE i.inhparent = 'tds_sync_queue_done'::regclass AND c.relname ~ '_\\d{8}$'
   AND to_date(right(c.relname, 8), 'YYYYMMDD') < now() - interval '15 days'
"""
DEAD = "SELECT relname, n_dead_tup FROM pg_stat_user_tables WHERE relname = ANY ($1::text[])"
OUTCOMES = "SELECT count(*), sum(coalesced), count(*) FILTER (WHERE outcome = 'applied') FROM tds_sync_queue_done"
SIZE = "SELECT pg_database_size(current_database())"


class Moment(Struct, frozen=True):
    """The daemon after `done` tasks: seconds since the start, resident bytes."""

    done: int
    seconds: float
    resident: int


class Soak:
    """What is put in, and what is seen while it goes through."""

    def __init__(self, database: Database, tasks: int, pid: int) -> None:
        self.database, self.tasks, self.pid = database, tasks, pid
        self.queue = Queue(database, boot_id="soak")
        self.given = 0
        self.moments: list[Moment] = []
        self.claims: list[tuple[int, float]] = []
        self.dead = dict.fromkeys(HOT, 0)
        self.sizes: list[int] = []
        self.began = perf_counter()

    async def run(self) -> None:
        """Feed and watch until every task has ended."""
        async with anyio.create_task_group() as group:
            for watch, pause in ((self._look, 0.25), (self._claim, 0.1), (self._look_at_rows, 1.0)):
                group.start_soon(self._again, watch, pause)
            await self._feed()
            while self.moments[-1].done < self.tasks:  # noqa: ASYNC110 - Postgres sets no event
                await anyio.sleep(0.1)
            group.cancel_scope.cancel()

    async def _again(self, watch: Callable[[], Awaitable[None]], pause: float) -> None:
        while True:
            await watch()
            await anyio.sleep(pause)

    async def _feed(self) -> None:
        while self.given < self.tasks:
            if self.given - (self.moments[-1].done if self.moments else 0) > DEPTH - WAVE:
                await anyio.sleep(0.05)
                continue
            numbers = range(self.given, min(self.given + WAVE, self.tasks))
            async with self.database.transaction() as connection:
                await self.queue.enqueue(connection, [_change(number) for number in numbers])
            self.given = numbers.stop

    async def _look(self) -> None:
        given = self.given  # before the count: what is put in meanwhile must not look done
        waiting = await self.database.fetchval("SELECT count(*) FROM tds_sync_queue_live")
        done = max(given - waiting, self.moments[-1].done if self.moments else 0)
        self.moments.append(Moment(done, perf_counter() - self.began, _resident(self.pid)))

    async def _claim(self) -> None:
        """A claim like the daemon's own, given back at once."""
        began = perf_counter()
        tasks = await self.queue.claim(["product"], limit=100)
        if tasks:
            self.claims.append((self.moments[-1].done if self.moments else 0, perf_counter() - began))
            await self.queue.release((task.id, task.fence) for task in tasks)

    async def _look_at_rows(self) -> None:
        for table, dead in await self.database.fetch(DEAD, list(HOT)):
            self.dead[table] = max(self.dead[table], dead)
        self.sizes.append(await self.database.fetchval(SIZE))


async def measure(entities: Path, *, tasks: int = TASKS) -> Report:
    """`slope_bytes_per_100k` of memory after warm-up, dead rows at most, claims and tasks a second by tenths.

    Args:
        entities: the directory of the entity mappings.
        tasks: how many, mostly changes of the same records.
    """
    async with place.server() as dsn:
        version = await place.version(dsn)
        async with _daemon(dsn, entities) as pid, Database(Options(dsn=dsn)).opened() as database:
            await database.execute(PAST.format(days=OLD_DAYS))
            soak = Soak(database, tasks, pid)
            await soak.run()
            row = await database.fetchrow(OUTCOMES + " WHERE completed_at > now() - interval '14 days'")
            old = await database.fetchval(OLD)
    assert row is not None
    place.check("soak", row[0] + row[1], tasks)
    figures = {"tasks": float(tasks), "applied": float(row[2]), "coalesced": float(row[1]), "old_days_left": float(old)}
    return report("soak", figures | _memory(soak) | _speed(soak) | _claims(soak) | _rows(soak), postgres=version)


@asynccontextmanager
async def _daemon(dsn: str, entities: Path) -> AsyncIterator[int]:
    """The process id of a whole daemon whose source is nowhere."""
    port = free_port()
    with playground("tds-soak-") as directory:
        configuration = directory / "tds.toml"
        quiet = QUIET.replace("[schedule.auto_healing]\nenabled = false", HEALING)
        configuration.write_text(
            CONFIGURATION.format(dsn=dsn, port=port, secret=load.SECRET, entities=entities, schedules=quiet)
        )
        log = directory / "daemon.log"
        words = [sys.executable, "-m", "actors", "run", "--config", str(configuration)]
        async with process(words, log, {"PATH": "/usr/bin:/bin"}) as child:
            await wait_ready(f"http://127.0.0.1:{port}", child, log)
            yield child.pid


def _change(number: int) -> Change:
    version = number // RECORDS
    moment = workload.BEGAN + timedelta(seconds=version)
    return Change(
        entity_type="product",
        source_entity_id=workload.identity(number % RECORDS),
        payload=workload.document(number % RECORDS, version),
        source_modified_at=moment,
        observed_at=moment,
    )


def _resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _memory(soak: Soak) -> dict[str, float]:
    """Lines through the resident memory after the first fifth and in the second half, and its middle in each tenth."""
    warm = [(one.done, one.resident) for one in soak.moments if one.done >= soak.tasks / 5]
    late = [(done, resident) for done, resident in warm if done >= soak.tasks / 2]
    tenths: dict[int, list[int]] = {}
    for one in soak.moments:
        tenths.setdefault(min(one.done * SLICES // soak.tasks, SLICES - 1) + 1, []).append(one.resident)
    return {
        "slope_bytes_per_100k": _slope(warm) * 100_000,
        "slope_of_second_half": _slope(late) * 100_000,
        "resident_mb_most": max(one.resident for one in soak.moments) / 1e6,
        **{f"resident_mb_{number}": median(seen) / 1e6 for number, seen in sorted(tenths.items())},
    }


def _slope(points: list[tuple[int, int]]) -> float:
    """Least squares."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def _speed(soak: Soak) -> dict[str, float]:
    """Tasks a second of all, and of each tenth."""
    ends = [_reached(soak, soak.tasks * number // SLICES) for number in range(SLICES + 1)]
    figures = {
        f"tasks_per_s_{number + 1}": soak.tasks / SLICES / max(ends[number + 1] - ends[number], 1e-3)
        for number in range(SLICES)
    }
    return {"seconds": ends[-1], "tasks_per_s": soak.tasks / ends[-1], **figures}


def _reached(soak: Soak, done: int) -> float:
    return next((moment.seconds for moment in soak.moments if moment.done >= done), soak.moments[-1].seconds)


def _claims(soak: Soak) -> dict[str, float]:
    """What a claim of a hundred costs beside the daemon's own, in the first and in the last tenth."""
    first = [seconds for done, seconds in soak.claims if done <= soak.tasks / SLICES]
    last = [seconds for done, seconds in soak.claims if done >= soak.tasks * (SLICES - 1) / SLICES]
    figures: dict[str, float] = {"claims": float(len(soak.claims))}
    for name, seen in (("first", first), ("last", last)):
        figures[f"claim_ms_p50_{name}"] = load.percentile(seen, 0.5) * 1000
        figures[f"claim_ms_p99_{name}"] = load.percentile(seen, 0.99) * 1000
    return figures | {"claim_ratio": middle(last) / middle(first)}


def _rows(soak: Soak) -> dict[str, float]:
    """Dead rows at most, by table, and what the database takes on disk."""
    figures: dict[str, Any] = {f"dead_most_{table}": float(most) for table, most in soak.dead.items()}
    return figures | {"disk_mb_first": soak.sizes[0] / 1e6, "disk_mb_last": soak.sizes[-1] / 1e6}
