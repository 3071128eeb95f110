"""Seals a short secret, so that nodes can share an access token through a table that shows it to nobody.

Encrypt-then-MAC with HMAC-SHA256 in counter mode: the key comes from credentials that every node has in its own config,
so a copy of the database is worth nothing without them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable

NONCE = 16
TAG = 32


class Seal:
    """Seals and opens with one key; a seal made with other credentials does not open."""

    def __init__(self, *credentials: str, random: Callable[[int], bytes] = os.urandom) -> None:
        secret = b"\0".join(credential.encode() for credential in credentials)
        self._cipher_key = hmac.digest(secret, b"access token: cipher", hashlib.sha256)
        self._tag_key = hmac.digest(secret, b"access token: tag", hashlib.sha256)
        self._random = random

    def close(self, text: str) -> bytes:
        """Nonce, ciphertext and tag of this text."""
        nonce = self._random(NONCE)
        sealed = nonce + self._mask(nonce, text.encode())
        return sealed + hmac.digest(self._tag_key, sealed, hashlib.sha256)

    def open(self, sealed: bytes) -> str | None:
        """The text, or None when it was not sealed with these credentials."""
        body, tag = sealed[:-TAG], sealed[-TAG:]
        if len(body) < NONCE or not hmac.compare_digest(hmac.digest(self._tag_key, body, hashlib.sha256), tag):
            return None
        return self._mask(body[:NONCE], body[NONCE:]).decode()

    def _mask(self, nonce: bytes, data: bytes) -> bytes:
        blocks = range(-(-len(data) // TAG))
        stream = b"".join(
            hmac.digest(self._cipher_key, nonce + block.to_bytes(4, "big"), hashlib.sha256) for block in blocks
        )
        return bytes(one ^ other for one, other in zip(data, stream, strict=False))
