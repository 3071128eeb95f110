from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from tds_runtime import events, journal
from tds_runtime.events import Event, Lagged
from tds_runtime.failure import failure_of

ERROR = ValueError("no such column")
FAILURE = failure_of(ERROR)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (events.ChildReady(path="tds/pull", at=1.0, incarnation=2), ("debug", "actor.ready", {"incarnation": 2})),
        (
            events.ChildEnded(path="tds/pull", at=1.0, incarnation=2, ending="normal", ready_seconds=1.23456),
            ("debug", "actor.ended", {"incarnation": 2, "ending": "normal", "ready_seconds": 1.235}),
        ),
        (
            events.DeadLettered(path="tds/pull", at=1.0, message={"secret": 1}, correlation="c", attempts=2),
            ("error", "message.dead_lettered", {"message": "dict", "correlation": "c", "attempts": 2, "failures": ()}),
        ),
    ],
)
def test_each_event_has_a_level_a_name_and_its_fields(event: Event, expected: tuple[str, str, dict[str, Any]]) -> None:
    """A line names the actor and tells what the event holds, but not the content of messages."""
    level, name, fields = expected
    assert journal.line(event) == (level, name, {"actor": "tds/pull"} | fields)


def test_a_crash_is_told_with_its_trace() -> None:
    """A crash has its own name, the sentence of its failure and the whole stack."""
    ended = events.ChildEnded(
        path="tds/pull", at=1.0, incarnation=1, ending="crash", ready_seconds=0.0, failure=FAILURE
    )
    level, name, fields = journal.line(ended)
    assert (level, name, fields["failure"]) == ("warning", "actor.crashed", "ValueError: no such column")
    assert "ValueError: no such column" in fields["exception"]


def test_missed_events_are_told() -> None:
    """When the journal was too slow it says how much is missing."""
    assert journal.line(Lagged(3)) == ("warning", "journal.lagged", {"missed": 3})


def test_every_event_of_the_engine_has_a_name() -> None:
    """No event is logged as something unknown."""
    assert set(Event.__subclasses__()) == set(journal._NAMES)


@pytest.mark.anyio
async def test_events_are_followed_to_the_end() -> None:
    """The journal logs what comes and ends when the broadcast ends."""

    async def happened() -> AsyncIterator[Event | Lagged]:
        yield events.TreeReady(path="tds", at=1.0)
        yield Lagged(1)

    with capture_logs() as lines:
        await journal.follow(happened())
    assert [line["event"] for line in lines] == ["tree.ready", "journal.lagged"]
