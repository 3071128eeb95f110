"""Turns bytes from outside into a document, and documents into canonical text, without ever believing them.

Numbers stay decimal from the raw text on, a document that nests too deep or counts too high is refused like any other
malformed one, and there is one place that knows which exceptions that means.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from tds_runtime.errors import Error

T = TypeVar("T")
Document = dict[str, Any]

FORM = "application/x-www-form-urlencoded"
MALFORMED = (ValueError, ArithmeticError, RecursionError)
"""What decoding raises: msgspec's errors are ValueErrors, an exponent too great is an ArithmeticError."""

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
_canonical = msgspec.json.Encoder(order="sorted", decimal_format="number").encode
_compared = msgspec.json.Encoder(order="sorted", decimal_format="string").encode


class Malformed(Error):
    """The bytes are no document."""


def guarded(decode: Callable[[bytes], T], body: bytes) -> T:
    """Decode with any decoder of untrusted bytes; `Malformed` says why not, without quoting the bytes."""
    try:
        return decode(body)
    except MALFORMED as error:
        raise Malformed(_reason(error)) from error


def _reason(error: Exception) -> str:
    match error:
        case RecursionError():
            return "nested too deep"
        case ArithmeticError():
            return "a number is out of range"
        case UnicodeDecodeError():
            return "not UTF-8"
    return str(error)


def parse(body: bytes) -> Any:
    """JSON with every fraction as Decimal."""
    return guarded(_decode, body)


def is_form(content_type: str) -> bool:
    """Whether a body of this content type is made of form fields."""
    return content_type.partition(";")[0].strip().lower() == FORM


def form_fields(body: bytes) -> dict[str, str]:
    """The fields of a form body; `Malformed` when they are not UTF-8 or too many."""

    def fields(raw: bytes) -> dict[str, str]:
        return dict(parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=1000))

    return guarded(fields, body)


def delivered(body: bytes, content_type: str) -> Any:
    """What a webhook's body says: JSON, JSON in the form field `JSONString`, or plain form fields."""
    if not is_form(content_type):
        return parse(body)
    fields = form_fields(body)
    wrapped = fields.get("JSONString")
    return fields if wrapped is None else parse(wrapped.encode())


def canonical(value: object) -> str:
    """JSON text that is equal when the value is: keys sorted, no spaces; `Malformed` for what Postgres cannot keep."""
    try:
        text = _canonical(value).decode()
    except MALFORMED as error:
        raise Malformed(_reason(error)) from error
    if "\\u0000" in text and _NUL.search(text):
        raise Malformed("contains a NUL character")
    return text


def fingerprint(values: object) -> str:
    """A hash of values that have been mapped already, 32 hexadecimal digits, the same in every process."""
    return hashlib.blake2b(_compared(values), digest_size=16).hexdigest()
