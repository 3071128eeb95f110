"""Says what a refused statement means for its task: wait, try again, or be buried with a reason a person can act on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import asyncpg
from msgspec import Struct

from actors.effect import Work
from actors.zoho.entities import Entity
from tds_runtime.errors import Error

Fate = Literal["bury", "retry", "wait"]

_TRANSIENT = frozenset({"40001", "40P01", "55P03"})
_UNFIT = frozenset({"42P01", "42703", "42P10", "42501", "42804", "3F000"})
_PERMANENT = ("22", "23", "44", "54")
_FOREIGN_KEY = "23503"
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")
_QUOTED_VALUE = re.compile(r': ".*"$', re.DOTALL)
_LENGTH = re.compile(r"\((\d+)\)")

Refused = Exception
REFUSED = (asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a statement raises that the server, or the driver on its behalf, will not take."""


class TargetUnfit(Error):
    """The target table is not what the mapping says."""


class Refusal(Struct, frozen=True, kw_only=True):
    """What becomes of a task whose statement was refused, and why; `detail` is what the server said beside it."""

    work: Work
    fate: Fate
    code: str
    message: str
    detail: str = ""


def is_transient(error: Refused) -> bool:
    """Whether the same statement may pass a moment later: a deadlock, a conflict, a lock that was not to be had."""
    return _state(error) in _TRANSIENT


def is_of_the_queue(error: Refused) -> bool:
    """Whether it was not the target but the queue that refused, when another claimer was faster with a record."""
    return str(getattr(error, "table_name", None) or "").startswith("tds_sync_queue")


def is_unfit(error: Refused) -> bool:
    """Whether no record could ever be written: a table or column is missing, or may not be touched."""
    return _state(error) in _UNFIT


def judged(entity: Entity, work: Work, error: Refused) -> Refusal:
    """What becomes of this one task; the message names table, column or constraint, and never a value."""
    code, state = _WORDS.sub("_", type(error).__name__.removesuffix("Error")).lower(), _state(error)
    if state == _FOREIGN_KEY and work.mapped is not None:
        detail = getattr(error, "detail", None) or ""
        return Refusal(work=work, fate="wait", code=code, message=_message(entity, work, error), detail=detail)
    permanent = state.startswith(_PERMANENT) or not isinstance(error, asyncpg.PostgresError)
    return Refusal(work=work, fate="bury" if permanent else "retry", code=code, message=_message(entity, work, error))


def _state(error: Refused) -> str:
    return str(getattr(error, "sqlstate", None) or "")


def _message(entity: Entity, work: Work, error: Refused) -> str:
    table = getattr(error, "table_name", None) or entity.target.table
    place = getattr(error, "column_name", None) or getattr(error, "constraint_name", None) or ""
    place = place or ", ".join(_too_long(entity, work, error))
    reason = _QUOTED_VALUE.sub("", str(error).split("\n")[0])
    return f"{table}{'.' if place else ''}{place}: {reason}"


def _too_long(entity: Entity, work: Work, error: Refused) -> Iterator[str]:
    """Postgres says that a text is too long for its type, but not which."""
    length = _LENGTH.search(str(error))
    if isinstance(error, asyncpg.StringDataRightTruncationError) and length and work.mapped is not None:
        for field, value in zip(entity.target.fields, work.mapped.values, strict=True):
            if isinstance(value, str) and len(value) > int(length[1]):
                yield field.name
