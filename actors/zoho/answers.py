"""What an answer of the source means, whatever status it came with: pure, one verdict per answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

Kind: TypeAlias = Literal[
    "ok", "unauthorized", "missing", "rejected", "down", "invalid", "minute", "blocked", "day", "busy"
]
"""minute, blocked, day and busy are the four ways of "too many": a minute's, an ordered hour, the day's, at once."""

PAUSES: dict[int, Kind] = {44: "minute", 43: "blocked", 45: "day", 1070: "busy"}
UNAUTHORIZED = frozenset({57, 14})
MISSING = 1002
INTERNAL = 1000

MINUTE = 60.0
LONGEST = 3600.0

_CODE_FIRST = re.compile(rb'\s*\{\s*"code"\s*:\s*"?(-?\d{1,9})"?\s*[,}]')


class Answer(Struct, frozen=True):
    """One whole answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Verdict(Struct, frozen=True, kw_only=True):
    """What an answer means; `seconds` is the pause it orders, where it orders one."""

    kind: Kind
    code: int = 0
    message: str = ""
    seconds: float = 0.0


class Envelope(Struct):
    """What every JSON answer has around its content; a code may be text (old behaviour)."""

    code: int | str = 0
    message: str = ""


class Quota(Struct, frozen=True):
    """The daily quota as the headers tell it; `resets_in` is seconds to midnight in the organisation's zone."""

    limit: int
    remaining: int
    resets_in: float


def judge(answer: Answer, now: datetime) -> Verdict:
    """One verdict for a JSON answer, by its code first and its status second: errors come with status 200 too."""
    envelope = _envelope(answer.body)
    if envelope is None:
        return _without_envelope(answer, now)
    code, message = _number(envelope.code), envelope.message[:300]
    return _by_code(answer, code, message, now) or _by_status(answer, code, message, now)


def judge_bytes(answer: Answer, now: datetime) -> Verdict:
    """One verdict for an answer that should be a file: any 2xx that is not JSON is one."""
    is_json = "json" in answer.headers.get("content-type", "")
    if answer.status < 300 and not is_json:  # noqa: PLR2004 - the class of statuses
        return Verdict(kind="ok")
    return judge(answer, now)


def _by_code(answer: Answer, code: int, message: str, now: datetime) -> Verdict | None:
    if code in PAUSES:
        kind = PAUSES[code]
        return Verdict(kind=kind, code=code, message=message, seconds=_pause(kind, answer.headers, now))
    if code in UNAUTHORIZED and answer.status in {200, 401}:
        return Verdict(kind="unauthorized", code=code, message=message)
    if code == MISSING and answer.status in {200, 404}:
        return Verdict(kind="missing", code=code, message=message)
    if code == INTERNAL:
        return Verdict(kind="down", code=code, message=message)
    return None


def _by_status(answer: Answer, code: int, message: str, now: datetime) -> Verdict:
    match answer.status // 100, answer.status:
        case 2, _:
            return Verdict(kind="rejected" if code else "ok", code=code, message=message)
        case _, 401:
            return Verdict(kind="unauthorized", code=code, message=message)
        case _, 429:
            return Verdict(kind="minute", code=code, message=message, seconds=_pause("minute", answer.headers, now))
        case 5, _:
            return Verdict(kind="down", code=code, message=f"status {answer.status} {message}".rstrip())
        case _:
            return Verdict(kind="rejected", code=code, message=message or f"status {answer.status}")


def _without_envelope(answer: Answer, now: datetime) -> Verdict:
    """Neither JSON nor ours: a proxy's or a maintenance page, or an answer cut off."""
    if answer.status // 100 == 2:  # noqa: PLR2004 - the class of statuses
        found = answer.headers.get("content-type", "no content type")[:80]
        return Verdict(kind="invalid", message=f"status {answer.status} without JSON ({found})")
    return _by_status(answer, 0, "", now)


def _envelope(body: bytes) -> Envelope | None:
    """The envelope; where the code stands first, as the source writes it, the rest is left to the one real decoding."""
    found = _CODE_FIRST.match(body)
    if found and int(found[1]) == 0:
        return Envelope()
    try:
        return msgspec.json.decode(body, type=Envelope)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _number(code: int | str) -> int:
    if isinstance(code, int):
        return code
    return int(code) if code.isdecimal() else -1


def _pause(kind: Kind, headers: Mapping[str, str], now: datetime) -> float:
    match kind:
        case "blocked":
            return retry_after(headers, now, LONGEST)
        case "minute":
            return retry_after(headers, now, MINUTE)
        case "day":
            told = quota(headers)
            return told.resets_in if told else retry_after(headers, now, LONGEST)
        case _:
            return retry_after(headers, now, 0.0)


def retry_after(headers: Mapping[str, str], now: datetime, default: float) -> float:
    """Seconds from a Retry-After of seconds or an HTTP date, held between one second and one hour."""
    text = headers.get("retry-after", "").strip()
    if not text:
        return default
    seconds = _seconds(text, now)
    return default if seconds is None else min(max(seconds, 1.0), LONGEST)


def _seconds(text: str, now: datetime) -> float | None:
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()


def quota(headers: Mapping[str, str]) -> Quota | None:
    """The daily quota, where the answer tells one."""
    try:
        return Quota(
            int(headers["x-rate-limit-limit"]),
            int(headers["x-rate-limit-remaining"]),
            float(headers["x-rate-limit-reset"]),
        )
    except (KeyError, ValueError):
        return None


def sent_at(headers: Mapping[str, str], now: datetime) -> datetime:
    """When the source says it answered; our own clock where it says nothing."""
    try:
        moment = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError, TypeError, IndexError, OverflowError):
        return now
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
