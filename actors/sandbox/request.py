"""A call as the API understands it: product, path, parameters, and a body in any of the accepted forms."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Struct

from actors.sandbox.answers import Refused, failure, invalid

LONGEST = 9  # digits of a page number
PREFIXES = (
    ("/books/v3/", "books"), ("/inventory/v1/", "inventory"), ("/api/v3/", "books"), ("/api/v1/", "inventory"),
)  # fmt: skip


class Call(Struct, kw_only=True):
    """One request below a product's prefix; `parts` are the path's segments after it."""

    method: str
    api: str
    parts: tuple[str, ...]
    query: dict[str, str]
    headers: dict[bytes, bytes]
    body: bytes = b""

    @property
    def organization(self) -> str:
        """The organisation that a call names, in the query or in the header of its product."""
        header = b"x-com-zoho-%b-organizationid" % self.api.encode()
        return self.query.get("organization_id") or self.headers.get(header, b"").decode("latin-1")

    @property
    def endpoint(self) -> str:
        """`GET /books/v3/items/{id}`: what calls are counted under."""
        prefix = "/books/v3" if self.api == "books" else "/inventory/v1"
        shown = ("{id}" if part.isdigit() else part for part in self.parts)
        return f"{self.method} {prefix}/{'/'.join(shown)}"

    def document(self) -> dict[str, Any]:
        """The written document: raw JSON, or JSON in a form field, a multipart part or a parameter named JSONString."""
        kind = self.headers.get(b"content-type", b"").decode("latin-1")
        text: bytes | str = self.body
        if kind.startswith("application/x-www-form-urlencoded"):
            text = dict(parse_qsl(self.body.decode("utf-8", "replace"))).get("JSONString", "")
        elif kind.startswith("multipart/"):
            part = multipart_part(kind, self.body, "JSONString")
            text = part.body if part else ""
        text = text or self.query.get("JSONString", "")
        try:
            found = msgspec.json.decode(text or b"{}")
        except (msgspec.DecodeError, RecursionError):
            raise Refused(failure(400, 4, "Invalid JSON passed")) from None
        if not isinstance(found, dict):
            raise Refused(failure(400, 4, "Invalid JSON passed"))
        return found


class Part(Struct, frozen=True):
    """One part of a multipart body."""

    file_name: str
    content_type: bytes
    body: bytes


def multipart_part(kind: str, body: bytes, name: str) -> Part | None:
    """The part of that name; None when there is none or the body is not multipart."""
    return _first_part(kind, body, f'name="{name}"'.encode())


def any_part(kind: str, body: bytes) -> Part | None:
    """The first file of a multipart body, whatever the client calls it."""
    return _first_part(kind, body, b"filename=")


def multipart_fields(kind: str, body: bytes) -> dict[str, str]:
    """The plain fields of a multipart form."""
    names = re.findall(rb'name="([^"]*)"(?!;)', body)
    parts = ((name.decode("latin-1"), multipart_part(kind, body, name.decode("latin-1"))) for name in names)
    return {name: part.body.decode("utf-8", "replace") for name, part in parts if part is not None}


def _first_part(kind: str, body: bytes, wanted: bytes) -> Part | None:
    header = Message()
    header["content-type"] = kind
    boundary = header.get_param("boundary")
    if not boundary:
        return None
    for part in body.split(b"--" + str(boundary).encode()):
        head, found, value = part.partition(b"\r\n\r\n")
        if found and wanted in head:
            described = message_from_bytes(head.strip() + b"\r\n\r\n")
            return Part(
                described.get_filename() or "", described.get_content_type().encode(), value.removesuffix(b"\r\n")
            )
    return None


def split_path(path: str) -> tuple[str, tuple[str, ...]] | None:
    """Product and segments of a path; double slashes collapse and a trailing one is tolerated. None for other paths."""
    if "//" in path:
        path = "/" + "/".join(part for part in path.split("/") if part)
    for prefix, api in PREFIXES:
        if path.startswith(prefix):
            return api, tuple(part for part in path[len(prefix) :].split("/") if part)
    return None


def parse_query(raw: bytes) -> dict[str, str]:
    """Parameters by name, the last of a repeated one; quick for the plain ones."""
    if not raw:
        return {}
    found = {}
    for pair in raw.decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if "%" in pair or "+" in pair:
            name, value = unquote(name.replace("+", " ")), unquote(value.replace("+", " "))
        found[name] = value
    return found


def whole_number(query: dict[str, str], name: str, default: int) -> int:
    """A parameter that must be a whole number above 0; refuses others with code 2."""
    text = query.get(name)
    if not text:
        return default
    if not text.isdecimal() or len(text) > LONGEST or not int(text):
        raise invalid(name)
    return int(text)
