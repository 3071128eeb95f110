"""Writes what the engine says happened into the log."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import Any

import msgspec

from tds_runtime import events, logs
from tds_runtime.events import ChildEnded, Event, Lagged
from tds_runtime.failure import Failure

_NAMES: dict[type[Event], tuple[str, str]] = {
    events.ChildStarting: ("debug", "actor.starting"),
    events.ChildReady: ("debug", "actor.ready"),
    events.ChildEnded: ("debug", "actor.ended"),
    events.RestartScheduled: ("info", "actor.restarting"),
    events.ChildFinished: ("info", "actor.finished"),
    events.ChildQuarantined: ("error", "actor.quarantined"),
    events.ChildReleased: ("info", "actor.released"),
    events.ChildHung: ("error", "actor.hung"),
    events.StopRequested: ("debug", "actor.stopping"),
    events.ChildCancelled: ("warning", "actor.cancelled"),
    events.ChildUnstopped: ("error", "actor.unstopped"),
    events.SupervisorExhausted: ("error", "supervisor.exhausted"),
    events.StartRefused: ("error", "start.refused"),
    events.DeadLettered: ("error", "message.dead_lettered"),
    events.Undelivered: ("warning", "messages.undelivered"),
    events.LoopBlocked: ("error", "loop.blocked"),
    events.TreeReady: ("info", "tree.ready"),
    events.TreeStopping: ("info", "tree.stopping"),
    events.TreeStopped: ("info", "tree.stopped"),
}
_ENDINGS = {"crash": ("warning", "actor.crashed"), "killed": ("warning", "actor.killed")}


async def follow(happened: AsyncIterable[Event | Lagged]) -> None:
    """Log each event until there are no more."""
    logger = logs.get("engine")
    async for event in happened:
        level, name, fields = line(event)
        getattr(logger, level)(name, **fields)


def line(event: Event | Lagged) -> tuple[str, str, dict[str, Any]]:
    """Level, event name and fields of the line about an engine event."""
    if isinstance(event, Lagged):
        return "warning", "journal.lagged", {"missed": event.missed}
    level, name = _NAMES.get(type(event), ("info", "engine.reported"))
    if isinstance(event, ChildEnded):
        level, name = _ENDINGS.get(event.ending, (level, name))
    fields = {key: value for key, value in msgspec.structs.asdict(event).items() if key not in {"path", "at"}}
    return level, name, {"actor": event.path} | _plain(fields)


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """The same fields, a failure as its sentence and its trace, a message as its type: its content is not for logs."""
    plain: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, Failure):
            plain |= {key: str(value), "exception": value.text}
        elif key == "message":
            plain[key] = type(value).__name__
        elif value is not None:
            plain[key] = round(value, 3) if isinstance(value, float) else value
    return plain
