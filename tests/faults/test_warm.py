"""Daemons forked from a process that has imported everything."""

import os
import signal

import pytest
from faults.place import Place, execute

pytestmark = pytest.mark.anyio


async def test_a_forked_daemon_is_a_daemon(ground: Place) -> None:
    """It becomes ready, stops on SIGTERM with status 0, and has written its log beside its configuration."""
    daemon = await ground.nursery.start(ground.configure(await ground.database()))
    assert await daemon.stop() == 0
    assert '"event":"process.stopped"' in daemon.tail()


async def test_it_is_really_killed_and_starts_again(ground: Place) -> None:
    """SIGKILL ends the process at once, and another one takes its place at the same address."""
    configuration = ground.configure(await ground.database())
    first = await ground.nursery.start(configuration)
    await first.kill()
    assert first.returncode == -signal.SIGKILL
    with pytest.raises(ProcessLookupError):
        os.kill(first.pid, 0)
    second = await ground.nursery.start(configuration)
    assert (second.address, second.returncode) == (first.address, None)


async def test_a_daemon_that_cannot_start_says_why(ground: Place) -> None:
    """A start that fails is an error with the end of the log, and its exit status is the command line's."""
    configuration = ground.configure(await ground.database(), more="[nonsense]\nx = 1")
    with pytest.raises(AssertionError, match="nonsense"):
        await ground.nursery.start(configuration)


async def test_the_effects_are_written_down(ground: Place) -> None:
    """Each database has the table of effects, empty, and the triggers that fill it."""
    dsn = await ground.database()
    await execute(dsn, "INSERT INTO products (zoho_item_id, name, price, is_active) VALUES ('7', 'seven', 3, true)")
    await execute(dsn, "UPDATE products SET is_active = false")
    found = await execute(dsn, "SELECT kind, record, version, action, content FROM effects ORDER BY id")
    assert [tuple(row) for row in found] == [("row", "7", 3, "write", "seven"), ("row", "7", 0, "delete", "seven")]
