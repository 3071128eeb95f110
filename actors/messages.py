"""What travels between actors: small frozen records, nothing that can do work."""

from __future__ import annotations

from msgspec import Struct


class Wake(Struct, frozen=True):
    """The queue holds work for this entity; look at it now instead of at the next poll."""

    entity: str


class RunWake(Struct, frozen=True):
    """A run row was written; look for pending runs now."""
