"""The webhook signature: HMAC-SHA256 over sorted parameters without separators, then the raw JSON body."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping


def text_to_sign(query: Mapping[str, str], form: Mapping[str, str], body: bytes) -> bytes:
    """All parameters, decoded and sorted by key, as `keyvalue`, then the body when it is JSON."""
    pairs = sorted({**query, **form}.items())
    return "".join(f"{key}{value}" for key, value in pairs).encode() + body


def sign(secret: str, query: Mapping[str, str], form: Mapping[str, str], body: bytes, *, encoding: str = "hex") -> str:
    """The value of the signature header, as lower-case hex or base64."""
    digest = hmac.digest(secret.encode(), text_to_sign(query, form, body), "sha256")
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
