"""A call as the API understands it: product, path, parameters, and a body in any of the accepted forms."""

from __future__ import annotations

from email import message_from_bytes
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
from msgspec import Struct

from actors.sandbox.answers import Refused, failure

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
    header = Message()
    header["content-type"] = kind
    boundary = header.get_param("boundary")
    if not boundary:
        return None
    for part in body.split(b"--" + str(boundary).encode()):
        head, found, value = part.partition(b"\r\n\r\n")
        if found and f'name="{name}"'.encode() in head:
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
