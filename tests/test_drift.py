from __future__ import annotations

import pytest

from actors.drift import EVERY, Drift
from tds_runtime.database import Database

pytestmark = pytest.mark.anyio


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_keys_are_counted_and_kept(database: Database) -> None:
    """What is new is written at once, what is known once a minute; counts add up over lives and hold odd names."""
    clock = Clock()
    for _life in range(2):
        drift = Drift("product", clock)
        assert not drift.is_due
        assert drift.add([frozenset({"a", "b"}), frozenset({"a"})]) == ("a", "b")
        assert drift.is_due
        await drift.write(database)
        assert drift.add([frozenset({"a"}), frozenset()]) == ()
        assert not drift.is_due
        clock.now += EVERY
        assert drift.is_due
        await drift.write(database)
    assert drift.add([frozenset({"nul\0", "x" * 500})]) != ()
    await drift.write(database)
    rows = await database.fetch("SELECT key, seen FROM tds_source_drift WHERE entity_type = 'product' ORDER BY key")
    assert [(row["key"], row["seen"]) for row in rows if len(row["key"]) == 1] == [("a", 6), ("b", 2)]
    assert max(len(row["key"]) for row in rows) == 200


async def test_a_flood_of_keys_is_bounded() -> None:
    """Documents whose keys are data do not fill the memory or the table."""
    drift = Drift("product", Clock())
    told = drift.add([frozenset(f"key {number}" for number in range(1000))])
    assert len(told) == 200
    assert drift.add([frozenset({"one more"})]) == ()
