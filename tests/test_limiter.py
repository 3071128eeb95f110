from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from tds_runtime import limiter
from tds_runtime.errors import RateLimited
from tds_runtime.limiter import PERIOD, VALIDITY, Budget, Limiter, Memory, Options, Window

NOON = 1_000_000_000.0


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def limited(options: Options, ledger: Memory | None = None) -> Limiter:
    return Limiter("zoho", options, ledger or Memory(anyio.current_time), clock=anyio.current_time, wall=lambda: NOON)


@given(st.integers(1, 20), st.lists(st.tuples(st.floats(0, 30), st.integers(1, 30)), max_size=60))
def test_no_minute_exceeds_the_limit(limit: int, asked: list[tuple[float, int]]) -> None:
    """Whatever is asked when, no window of a minute holds more grants than the limit, and a refusal's wait is exact."""
    now, window, grants = 0.0, Window(), []
    for passed, wanted in asked:
        now += passed
        window, grant = limiter.take(window, now, wanted, limit)
        grants += [now] * grant.permits
        assert grant.permits <= wanted
        if not grant.permits:
            assert limiter.take(window, now + grant.wait + 1e-6, 1, limit)[1].permits == 1
            assert limiter.take(window, now + grant.wait - 1e-3, 1, limit)[1].permits == 0
    for mark in grants:
        assert sum(mark <= other < mark + PERIOD for other in grants) <= limit


def test_a_clock_set_back_does_not_block() -> None:
    """Marks of a later clock are forgotten."""
    window, _ = limiter.take(Window(), 5_000.0, 10, 10)
    assert limiter.take(window, 10.0, 10, 10)[1].permits == 10


@pytest.mark.anyio
async def test_spends_the_whole_allowance() -> None:
    """Five callers in a loop make the permitted calls a minute, 97 % of them at least, and never more in one minute."""
    made: list[float] = []
    one = limited(Options(calls_per_minute=100))

    async def caller() -> None:
        while True:
            await one.acquire()
            made.append(anyio.current_time())
            await anyio.sleep(0.05)

    with anyio.move_on_after(601):
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(caller)
    assert len(made) >= 970
    for mark in made[::7]:
        assert sum(mark <= other < mark + PERIOD for other in made) <= 100


@pytest.mark.anyio
async def test_two_nodes_share_one_ledger() -> None:
    """Two limiters on one ledger stay under the limit together."""
    ledger, made = Memory(anyio.current_time), []

    async def node() -> None:
        one = limited(Options(calls_per_minute=10), ledger)
        while True:
            await one.acquire()
            made.append(anyio.current_time())

    with anyio.move_on_after(60.5):
        async with anyio.create_task_group() as group:
            group.start_soon(node)
            group.start_soon(node)
    assert len(made) == 10


@pytest.mark.anyio
async def test_impatience_is_told_the_time() -> None:
    """Who cannot wait long enough hears at once until when."""
    one = limited(Options(calls_per_minute=1))
    assert await one.acquire() == 1
    with pytest.raises(RateLimited, match="1 calls a minute") as caught:
        await one.acquire(patience=5)
    assert caught.value.until is not None
    assert caught.value.until.timestamp() == pytest.approx(NOON + PERIOD + VALIDITY)
    assert anyio.current_time() < PERIOD


@pytest.mark.anyio
async def test_a_pause_holds_everybody_and_is_never_shortened() -> None:
    """After an ordered pause the other node waits too, and a shorter pause changes nothing."""
    ledger = Memory(anyio.current_time)
    first, second = limited(Options(), ledger), limited(Options(), ledger)
    began = anyio.current_time()
    await first.pause(300, "code 43")
    await first.pause(3, "code 1070")
    with pytest.raises(RateLimited, match="code 43"):
        await second.acquire(patience=60)
    assert second.statistics().paused == pytest.approx(300, abs=1)
    await second.acquire()
    assert anyio.current_time() - began >= 300


@pytest.mark.anyio
async def test_no_limit_never_asks_the_ledger() -> None:
    """With 0 calls a minute everything asked is granted at once."""
    one = limited(Options(calls_per_minute=0))
    assert await one.acquire(50) == 50
    assert one.statistics().granted == 50


@pytest.mark.anyio
async def test_unused_permits_serve_the_next() -> None:
    """What is given back within the second is not lost, and after it it is."""
    one = limited(Options(calls_per_minute=5))
    granted = await one.acquire(5)
    one.give_back(granted)
    assert await one.acquire(5, patience=0) == 5
    one.give_back(5)
    await anyio.sleep(2)
    with pytest.raises(RateLimited):
        await one.acquire(patience=0)


def test_budget_takes_the_smallest_rest_of_a_day() -> None:
    """Answers overtake each other; a new day starts afresh."""
    one = limiter.observe(Budget(), 1000, 500, 3600, NOON)
    one = limiter.observe(one, 1000, 498, 3599, NOON + 1)
    one = limiter.observe(one, 1000, 499, 3599, NOON + 1)
    assert one.remaining == 498
    one = limiter.observe(one, 1000, 999, 86_390, NOON + 3610)
    assert one.remaining == 999


def test_budget_refuses_until_the_reset() -> None:
    """Bulk work stops at the reserve, everything at nothing left, and the next day's calls flow again."""
    one = limiter.observe(Budget(), 1000, 100, 3600, NOON)
    assert limiter.refusal(one, NOON, 0.0) is None
    assert limiter.refusal(one, NOON, 0.1) == NOON + 3600
    assert limiter.refusal(limiter.exhausted(one, NOON), NOON, 0.0) == NOON + 3600
    assert limiter.refusal(limiter.exhausted(one, NOON), NOON + 3600, 0.0) is None
    assert limiter.refusal(Budget(), NOON, 0.1) is None
    assert limiter.refusal(limiter.exhausted(Budget(), NOON), NOON + 5, 0.0) == NOON + 3600


def test_budget_says_how_long_it_lasts() -> None:
    """At 100 calls an hour 50 calls last half an hour; a slow day lasts to its reset."""
    one = limiter.observe(Budget(), 1000, 150, 36_000, NOON)
    assert limiter.lasts_until(one, NOON) is None
    one = limiter.observe(one, 1000, 50, 32_400, NOON + 3600)
    assert limiter.lasts_until(one, NOON + 3600) == pytest.approx(NOON + 3600 + 1800)
    slow = limiter.observe(limiter.observe(Budget(), 1000, 900, 7200, NOON), 1000, 899, 3600, NOON + 3600)
    assert limiter.lasts_until(slow, NOON + 3600) is None


@pytest.mark.anyio
async def test_nodes_share_the_calls_at_once() -> None:
    """Two nodes have two of five slots each, a hundred have one each, and alone one has all again."""
    one = limited(Options(concurrency=5))
    for nodes, slots in ((2, 2), (100, 1), (0, 5)):
        one.share(nodes)
        async with anyio.create_task_group() as group:

            async def hold() -> None:
                async with one.slot():
                    await anyio.sleep(1)

            for _ in range(10):
                group.start_soon(hold)
            await anyio.sleep(0.5)
            assert one.statistics().in_flight == slots
