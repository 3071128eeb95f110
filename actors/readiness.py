"""Whether deliveries are taken, as far as the writer goes: the one rule that /readyz and the availability share."""

from __future__ import annotations

from tds_runtime.errors import Undeliverable
from tds_runtime.intake import Store
from tds_runtime.mailbox import Statistics
from tds_runtime.ref import Ref


def mailbox(writer: Ref[Store]) -> Statistics | None:
    """The writer's mailbox; None while the writer is in no running tree."""
    try:
        return writer.statistics()
    except Undeliverable:
        return None


def obstacle(writer: Ref[Store]) -> str:
    """What keeps the writer from taking a delivery; "" when nothing does."""
    box = mailbox(writer)
    if box is None:
        return "nobody stores deliveries"
    return "the writer's memory mark is reached" if box.queued >= box.capacity else ""
