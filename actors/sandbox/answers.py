"""Answers as the API words them: status, body and the recorded headers, errors included."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from actors.sandbox.shapes import Document

JSON = b"application/json;charset=UTF-8"
RECORDED = (
    (b"server", b"ZGS"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store, no-cache, must-revalidate, max-age=0, post-check=0, pre-check=0"),
    (b"pragma", b"no-cache"),
    (b"expires", b"Thu, 01 Jan 1970 00:00:00 GMT"),
    (b"x-frame-options", b"DENY"),
    (b"content-disposition", b"attachment;"),
    (b"allow", b"OPTIONS, DELETE, POST, GET, PUT"),
    (b"vary", b"accept-encoding"),
    (b"strict-transport-security", b"max-age=64072000; includeSubDomains; preload"),
)
MINUTE = (
    "For security reasons your organization has been blocked as it have exceeded the maximum number of requests per "
    "minute that can originate from an organization."
)
BLOCKED = (
    "For security reasons you have been blocked for some time as you have exceeded the maximum number of requests "
    "per minute."
)
DAY = "The API call for this organization has exceeded the maximum call rate limit of {limit}."
BUSY = "You have reached the maximum number of in process requests allowed. Kindly try again after some time."
UNAUTHORIZED = "You are not authorized to perform this operation"
NO_RESOURCE = "We couldnt find any resource for the given ID. Please verify the ID and try again."


class Answer(Struct, frozen=True):
    """A response before it is sent; `headers` come on top of the recorded ones."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    content_type: bytes = JSON


class Refused(Exception):
    """The request ends here, with this answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def json_answer(document: Any, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Any document as an answer."""
    return Answer(status, msgspec.json.encode(document), headers)


def success(documents: Document, message: str = "success", status: int = 200) -> Answer:
    """The usual envelope: code 0, a message, and what was asked for."""
    return json_answer({"code": 0, "message": message, **documents}, status)


def failure(status: int, code: int, message: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """The envelope of an error."""
    document: Document = {"code": code, "message": message}
    return json_answer(document, status, headers)


def invalid(name: str) -> Refused:
    """400 code 2: the value of that parameter is not acceptable."""
    return Refused(failure(400, 2, f"Invalid value passed for {name}"))


def missing(label: str = "Resource") -> Refused:
    """404 code 1002: no such record."""
    return Refused(failure(404, 1002, f"{label} does not exist."))


def unknown_path() -> Refused:
    """404 code 5: no such resource."""
    return Refused(failure(404, 5, NO_RESOURCE))
