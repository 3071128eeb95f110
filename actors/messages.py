"""What travels between actors: small frozen records, nothing that can do work."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from tds_runtime import Call


class Wake(Struct, frozen=True):
    """The queue holds work for this entity; look at it now instead of at the next poll."""

    entity: str


class RunWake(Struct, frozen=True):
    """A run row was written; look for pending runs now."""


class JobWake(Struct, frozen=True):
    """A job was asked for; look for those that wait now."""


class Healed(Struct, frozen=True, kw_only=True):
    """What one round of the healer put right."""

    stuck_tasks_recovered: int
    dlq_items_retried: int
    alerts_created: int
    timestamp: datetime


class Heal(Call[Healed], frozen=True):
    """Put right now what can be put right, and say what that was."""


class HealWake(Struct, frozen=True):
    """A round was asked for in a row; look for those that wait now."""


class Compare(Struct, frozen=True):
    """A report was asked for; look for those that wait now."""
