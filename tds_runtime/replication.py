"""Notices a commit that the server calls done although it is on no standby, because its wait was cancelled."""

from __future__ import annotations

from typing import Any

import asyncpg

WAIT = "SyncRepWaitForLSN"  # the function that warns: unlike the warning's text, its name is not translated


class Wire(asyncpg.Connection):  # type: ignore[misc] # asyncpg ships no types
    """asyncpg's connection, which remembers that warning; it comes before the answer that says success."""

    __slots__ = ("unreplicated",)

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.unreplicated = False

    def _process_log_message(self, fields: dict[str, str], last_query: str) -> None:
        if fields.get("R") == WAIT:
            self.unreplicated = True
        super()._process_log_message(fields, last_query)


def is_in_doubt(wire: Any) -> bool:
    """Whether a commit on this connection may be on no standby, whatever its answer was."""
    return bool(getattr(wire, "unreplicated", False))
