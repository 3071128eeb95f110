"""A synchronous standby that goes, comes back and takes over: nothing is acknowledged that is on no standby."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import anyio
from anyio import to_thread
from faults import aftermath
from faults.fact import Fact
from faults.history import Client, Delivery, Event, History
from faults.place import SETTINGS, Place, execute
from faults.servers import BACK_WITHIN, DATABASE, ENVIRONMENT, restart
from faults.traffic import OK, Traffic, traffic

from tds_runtime import premises
from tds_runtime.embedded import Server
from tds_runtime.errors import DatabaseRefused

REPLICATING = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')"
# Cancelled, the wait of a commit for its standby ends with a warning and with a success that is none.
CANCEL = """
SELECT pg_cancel_backend(pid) FROM pg_stat_activity
 WHERE datname = current_database() AND application_name = 'tds-runtime' AND wait_event = 'SyncRep'
"""


def obstacle() -> str:
    """Say why no standby can be made here, or ""."""
    try:
        programs = premises.reachable_programs()
    except DatabaseRefused as error:
        return str(error)
    return "" if (programs / "pg_basebackup").exists() else f"there is no pg_basebackup in {programs}"


@asynccontextmanager
async def standby(place: Place) -> AsyncIterator[Server]:
    """A copy of the place's server that follows it; the primary waits for it with every commit."""
    copy = Server(place.directory / f"standby-{next(place._serial)}", settings=SETTINGS)
    copy.data_directory.mkdir(parents=True, exist_ok=True)
    await to_thread.run_sync(clone, place, copy)
    await copy.start()
    try:
        await require(place, "*")
        await until_replicating(place)
        yield copy
    finally:
        await restart(place)
        await require(place, "")
        await copy.stop()


def clone(place: Place, copy: Server) -> None:
    """Take a base backup that knows whom to follow."""
    target = copy.data_directory / "data"
    target.mkdir(mode=0o700)
    premises.give(target)
    copy._run(
        "pg_basebackup", f"--pgdata={target}", f"--host={place.socket.parent}", f"--port={premises.PORT}",
        f"--username={premises.USER}", "--write-recovery-conf", "--checkpoint=fast", "--wal-method=stream", "--no-sync",
    )  # fmt: skip
    (target / f"{premises.SOCKET_NAME}.lock").unlink()  # the primary's, whose socket is in its data directory


async def require(place: Place, names: str) -> None:
    """Make commits wait for these standbys."""
    await execute(place.dsn("postgres"), f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
    await execute(place.dsn("postgres"), "SELECT pg_reload_conf()")


async def until_replicating(place: Place) -> None:
    """Wait until the standby keeps up."""
    with anyio.fail_after(30):
        while not (await execute(place.dsn("postgres"), REPLICATING))[0][0]:  # noqa: ASYNC110 - two servers talk
            await anyio.sleep(0.05)


def either(dsn: str, copy: Server) -> str:
    """A DSN that names both servers and wants the one that takes writes."""
    primary = dsn.partition("host=")[2].partition("&")[0]
    second = copy.dsn.partition("host=")[2].partition("&")[0]
    ports = f"{premises.PORT},{premises.PORT}"
    return (
        f"postgresql://{premises.USER}@{urlsplit(dsn).path}?host={primary},{second}&port={ports}"
        "&target_session_attrs=read-write"
    )


# --- gone and back


async def standby_gone(place: Place, *, seconds: float = 20.0) -> Fact:
    """The standby goes under traffic: no 2xx for anything, repeats included, until it is back."""
    began = time.monotonic()
    async with standby(place) as copy:
        dsn = await place.database()
        daemon = await place.nursery.start(place.configure(dsn, database=DATABASE), environment=ENVIRONMENT)
        repeats = Repeats(daemon.address, daemon.log.with_name("repeats.jsonl"))
        async with traffic(daemon.log.parent, daemon.address) as flow:
            await flow.more(50)
            await repeats.deliver()
            await copy.stop()
            gone = time.monotonic()
            await insist(dsn, repeats, gone + seconds)
            back = time.monotonic()
            await copy.start()
            await until_replicating(place)
            healed = time.monotonic()
            await flow.more(50)
            await anyio.sleep(1)
        await repeats.aclose()
        figures: dict[str, int | float | str] = {
            "seconds": seconds,
            "acknowledged": flow.acknowledged,
            "refused": sum(one.status != OK for one in flow.answers),
            "repeats_refused": repeats.refused,
            "waits_cancelled": repeats.cancelled,
            "false_acks": false_acks(flow, gone, back) + repeats.false_acks,
            "acks_back_s": round(flow.first_ack(healed), 2),
            **aftermath.answered(flow, gone, back),
            "drained_s": round(await aftermath.settled(dsn), 2),
            "restarts": aftermath.troubles(daemon),
            **await aftermath.violations(dsn, [*repeats.history.lines, *flow.history.lines], daemon),
        }
        assert await daemon.stop() == 0
    passed = (
        not any(figures[name] for name in ("false_acks", "livez_failed", "restarts", "violations", "other_statuses"))
        and bool(figures["refused"] and figures["repeats_refused"] and figures["waits_cancelled"])
        and float(figures["acks_back_s"]) <= BACK_WITHIN
    )
    return Fact(fact="standby gone", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))


def false_acks(flow: Traffic, gone: float, back: float) -> int:
    """Count acknowledgements of what was sent after the standby had gone, before it was told to come back."""
    return sum(one.status == OK and one.at - one.took > gone and one.at < back for one in flow.answers)


class Repeats:
    """Deliveries that were acknowledged with the standby there, and are repeated with it gone."""

    def __init__(self, address: str, path: Path) -> None:
        self.history = History(path)
        self.false_acks = 0
        self.refused = 0
        self.cancelled = 0
        self._clients = [Client(address, self.history) for _ in range(3)]

    async def deliver(self) -> list[Event]:
        """Deliver the same once more, all at once."""
        answers: list[Event] = []

        async def one(record: int, client: Client) -> None:
            answers.append(await client.deliver(Delivery(record=900_000 + record, version=1)))

        async with anyio.create_task_group() as group:
            for record, client in enumerate(self._clients):
                group.start_soon(one, record, client)
        return answers

    async def repeat(self) -> None:
        """Deliver again and count what is acknowledged, which must not be."""
        answers = await self.deliver()
        self.false_acks += answers.count("ok")
        self.refused += answers.count("info")

    async def aclose(self) -> None:
        """Leave the connections and the history."""
        for client in self._clients:
            await client.aclose()
        self.history.__exit__(None, None, None)


async def insist(dsn: str, repeats: Repeats, until: float) -> None:
    """Repeat deliveries until a moment, while an operator cancels the commits that wait."""
    async with anyio.create_task_group() as group:
        group.start_soon(cancel_waits, dsn, repeats, until)
        while time.monotonic() < until - 3.5:  # the last one is answered before the standby is back
            await repeats.repeat()


async def cancel_waits(dsn: str, repeats: Repeats, until: float) -> None:
    while time.monotonic() < until:
        repeats.cancelled += len(await execute(dsn, CANCEL))
        await anyio.sleep(0.5)


# --- taking over


async def standby_takes_over(place: Place) -> Fact:
    """The primary dies under traffic and the standby is promoted: what was acknowledged is there, and all goes on."""
    began = time.monotonic()
    async with standby(place) as copy:
        dsn = await place.database()
        configuration = place.configure(either(dsn, copy), database=DATABASE)
        daemon = await place.nursery.start(configuration, environment=ENVIRONMENT)
        async with traffic(daemon.log.parent, daemon.address) as flow:
            await flow.more(300)
            os.kill(place.postmaster_pid, signal.SIGKILL)
            await anyio.sleep(1)
            await to_thread.run_sync(copy._run, "pg_ctl", "promote", f"--pgdata={copy.data_directory / 'data'}")
            promoted = time.monotonic()
            await flow.more(300)
        survivor = copy.dsn.replace("/tds?", f"{urlsplit(dsn).path}?")
        figures: dict[str, int | float | str] = {
            "acknowledged": flow.acknowledged,
            "acks_back_s": round(flow.first_ack(promoted), 2),
            "drained_s": round(await aftermath.settled(survivor), 2),
            "livez_failed": sum(one.status != OK for one in flow.lives),
            "restarts": aftermath.troubles(daemon),
            **await aftermath.violations(survivor, flow.history.lines, daemon),
        }
        assert await daemon.stop() == 0
    passed = not any(figures[name] for name in ("livez_failed", "restarts", "violations")) and (
        float(figures["acks_back_s"]) <= BACK_WITHIN
    )
    return Fact(fact="standby takes over", passed=passed, figures=figures, seconds=round(time.monotonic() - began, 1))
