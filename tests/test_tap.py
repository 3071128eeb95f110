"""The second reader of the log."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from tds_runtime import logs
from tds_runtime.redaction import MASK
from tds_runtime.tap import Tap

CANARY = "canary-1f0b2c3d4e5f"


@pytest.fixture(autouse=True)
def _clean_logging() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@given(st.integers(1, 20), st.lists(st.integers(), max_size=60))
def test_the_newest_stay_and_the_rest_is_counted(capacity: int, numbers: list[int]) -> None:
    """However many come, so many are kept, in order, and taken = drained + dropped."""
    tap = Tap(capacity)
    for number in numbers:
        tap.observe({"event": "x.y", "number": number})
    seen = tap.statistics()
    drained = [event["number"] for event in tap.drain()]
    assert drained == numbers[-capacity:]
    assert (seen.taken, seen.waiting) == (len(numbers), len(drained))
    assert seen.taken == seen.dropped + len(drained)
    assert tap.statistics().waiting == 0


def test_a_drain_may_be_bounded() -> None:
    """The oldest first; the rest stays for the next time."""
    tap = Tap()
    for number in range(5):
        tap.observe({"event": "x.y", "number": number})
    assert [[event["number"] for event in tap.drain(3)] for _ in range(3)] == [[0, 1, 2], [3, 4], []]


def test_only_what_is_wanted_is_kept() -> None:
    """What no rule asks for costs no place."""
    tap = Tap()
    tap.want({"a.b"})
    for name in ("a.b", "c.d"):
        tap.observe({"event": name})
    assert [event["event"] for event in tap.drain()] == ["a.b"]
    tap.want(None)
    tap.observe({"event": "c.d"})
    assert [event["event"] for event in tap.drain()] == ["c.d"]


def test_many_threads_lose_nothing() -> None:
    """Libraries log from threads of their own."""
    tap = Tap(100_000)
    threads = [threading.Thread(target=lambda: [tap.observe({"event": "x.y"}) for _ in range(2_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tap.drain()) == 8_000


@pytest.fixture
def stream() -> Iterator[io.TextIOWrapper]:
    with open(os.devnull, "w") as sink:  # noqa: PTH123 - a path would be opened all the same
        yield sink


def test_what_the_tap_holds_is_redacted(stream: io.TextIOWrapper) -> None:
    """By value, by key and in the middle of a text, before anybody else sees it."""
    tap = Tap()
    made = logs.configure(logs.Options(format="json"), stream=stream, secrets=[CANARY], observers=[tap.observe])
    logs.get("room").warning("thing.broke", reason=f"password={CANARY}", token="x1y2z3", detail={"deep": CANARY})
    made.close()
    [event] = tap.drain()
    assert CANARY not in str(event)
    assert event["token"] == MASK


def test_a_quiet_log_leaves_the_tap_its_events(stream: io.TextIOWrapper) -> None:
    """`level = "error"` is about what is written: a breaker that closes must still end its alert."""
    tap = Tap()
    made = logs.configure(logs.Options(level="error", format="json"), stream=stream, observers=[tap.observe])
    logs.get("source").info("breaker.changed", phase="closed")
    logs.get("source").debug("too.fine")
    made.close()
    assert [event["event"] for event in tap.drain()] == ["breaker.changed"]
    assert made.sink.statistics().written == 0


def test_dropped_lines_reach_the_tap(stream: io.TextIOWrapper) -> None:
    """The one line that does not come by a logger is an event all the same."""
    tap = Tap()
    made = logs.configure(logs.Options(format="json"), stream=stream, observers=[tap.observe])
    made.sink._on_drop(7)
    made.close()
    [event] = tap.drain()
    assert (event["event"], event["lines"]) == ("logs.dropped", 7)
