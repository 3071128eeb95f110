"""The log's lines about what was stored."""

import pytest
from structlog.testing import capture_logs

from tds_runtime.account import Account
from tds_runtime.delivery import Delivery


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def delivery(number: int, entity: str = "product") -> Delivery:
    return Delivery(
        source="zoho", entity_type=entity, source_entity_id=str(number), operation="upsert", modified_at=None,
        body=b"{}", content_type="application/json", query="", correlation_id=f"c{number}",
    )  # fmt: skip


def test_the_first_commit_is_told_at_once_and_the_next_together() -> None:
    """A quiet daemon tells of each webhook, a busy one has a line a second that leaves no delivery out of its count."""
    clock = Clock()
    account = Account(clock)
    with capture_logs() as lines:
        account.add([(delivery(1), False)], 0)
        for number in range(2, 40):
            clock.now += 0.02
            account.add([(delivery(number, "customer"), number % 2 == 0)], 0)
        assert len(lines) == 1
        assert account.wait == pytest.approx(0.24)
        clock.now += 0.25
        account.add([], 1)
    first, second = lines
    assert (first["deliveries"], first["correlation_id"]) == (1, "c1")
    assert (second["deliveries"], second["duplicates"], second["refused"], second["entities"]) == (
        38,
        19,
        1,
        ["customer"],
    )
    assert len(second["correlation_ids"]) == 20


def test_there_is_nothing_to_wait_for_when_all_is_told() -> None:
    """An idle writer waits for deliveries alone, and says nothing of nothing."""
    account = Account(Clock())
    with capture_logs() as lines:
        account.add([], 0)
        account.say()
        assert account.wait == float("inf")
    assert lines == []
