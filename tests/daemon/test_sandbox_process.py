"""The sandbox beside a daemon: started, restarted, stopped, and gone when its parent is gone."""

import os
import signal
import sys
import textwrap
from pathlib import Path

import anyio
import httpx2
import msgspec
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from actors.sandbox.options import Announcement
from actors.sandbox_process import Options, SandboxDied, sandbox_process
from tds_runtime import Context, Supervisor, run

pytestmark = pytest.mark.anyio

SMALL = Options(port=0, scale=0.02, limits=False)


class Announced:
    """What the sandboxes announced, newest last."""

    def __init__(self) -> None:
        self.all: list[Announcement] = []
        self.changed = anyio.Event()

    def __call__(self, announcement: Announcement) -> None:
        self.all.append(announcement)
        self.changed.set()
        self.changed = anyio.Event()

    async def wait(self, number: int) -> Announcement:
        with anyio.fail_after(20):
            while len(self.all) < number:
                await self.changed.wait()
        return self.all[number - 1]


def alive(pid: int) -> bool:
    """Whether that process runs; one that has ended and waits to be noticed does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def gone(pid: int) -> bool:
    """Whether the process ends within ten seconds."""
    with anyio.move_on_after(10):
        while alive(pid):  # noqa: ASYNC110 - another process's end is no event here
            await anyio.sleep(0.02)
        return True
    return False


async def counts(announcement: Announcement) -> dict[str, int]:
    async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
        return (await client.get(f"{announcement.control}/counts")).json()


async def test_runs_and_stops_with_the_tree() -> None:
    """The sandbox answers once the tree is up, and is gone when the tree has stopped."""
    announced = Announced()
    async with run(sandbox_process(options=SMALL, on_announced=announced)):
        announcement = await announced.wait(1)
        assert (await counts(announcement))["items"] == 26
        pid = announcement.pid
    assert await gone(pid)


async def test_killed_it_is_started_again() -> None:
    """A sandbox that dies is a crash of its actor, and the supervisor starts another."""
    announced = Announced()
    async with run(Supervisor("main", children=[sandbox_process(options=SMALL, on_announced=announced)])):
        first = await announced.wait(1)
        os.kill(first.pid, signal.SIGKILL)
        second = await announced.wait(2)
        assert (await counts(second))["users"] == 25


async def test_taken_port_is_a_failure() -> None:
    """A sandbox that cannot start ends its actor with a reason."""
    announced = Announced()
    async with run(sandbox_process(options=SMALL, on_announced=announced)):
        port = int((await announced.wait(1)).api.rsplit(":", 1)[1])
        with pytest.raises(SandboxDied, match="before it was ready"):
            await sandbox_process.function(Context(), options=msgspec.structs.replace(SMALL, port=port))


async def test_frozen_it_is_killed() -> None:
    """A sandbox that does not hear SIGTERM is killed after its grace."""
    announced = Announced()
    async with run(sandbox_process(options=SMALL, on_announced=announced)):
        pid = (await announced.wait(1)).pid
        os.kill(pid, signal.SIGSTOP)
    assert await gone(pid)


async def test_dies_with_its_parent(tmp_path: Path) -> None:
    """A parent that is killed takes the sandbox with it."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
            import anyio
            from actors.sandbox_process import Options, sandbox_process
            from tds_runtime import Context

            def announced(announcement):
                print(f"announced {announcement.pid}.", flush=True)

            options = Options(port=0, scale=0.02)
            anyio.run(lambda: sandbox_process.function(Context(), options=options, on_announced=announced))
        """)
    )
    async with await anyio.open_process([sys.executable, str(script)], stderr=None) as parent:
        assert parent.stdout is not None
        output = BufferedByteReceiveStream(parent.stdout)
        try:
            with anyio.fail_after(20):
                await output.receive_until(b"announced ", 4096)
                pid = int(await output.receive_until(b".", 4096))
        finally:
            parent.kill()
    assert await gone(pid)


async def test_delivers_to_the_daemon() -> None:
    """With an address to deliver to, every change made in the sandbox is sent there."""
    announced = Announced()
    options = msgspec.structs.replace(SMALL, deliver_to="http://127.0.0.1:9/hook")
    async with run(sandbox_process(options=options, on_announced=announced)):
        control = (await announced.wait(1)).control
        async with httpx2.AsyncClient(trust_env=False, timeout=10) as client:
            await client.post(f"{control}/edit", json={"entity": "product", "count": 2})
            statistics = (await client.post(f"{control}/webhooks/drain", json={"timeout": 10})).json()
    assert statistics["queued"] == 2
