"""Tells a webhook of our own organisation from anybody's: HMAC-SHA256 as Zoho signs, or a static token.

What is signed is every parameter of the query and of a form body, decoded, sorted by name, name and value run together,
followed by the raw body when that is no form. Nothing of the body is parsed before this has said yes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal
from urllib.parse import unquote_to_bytes

Headers = Iterable[tuple[bytes, bytes]]
Pairs = tuple[tuple[bytes, bytes], ...]
Encoding = Literal["any", "hex", "base64"]

FORM = b"application/x-www-form-urlencoded"
MOST_PARAMETERS = 2000

_DIGEST_SIZE = hashlib.sha256().digest_size
_NO_DIGEST = bytes(_DIGEST_SIZE)


class Verifier:
    """Knows the live secrets; two of them are live while one replaces the other.

    A request that bears a signature, in its header or where `parameter` names one in that parameter of the query, is
    judged by it alone; one without it by its static token, in a header or in a query parameter. Everything is compared
    in constant time, and with every secret.
    """

    def __init__(
        self,
        *,
        secrets: Sequence[str],
        tokens: Sequence[str] = (),
        header: str = "X-Zoho-Webhook-Signature",
        parameter: str = "",
        encoding: Encoding = "any",
        token_header: str = "X-Webhook-Token",  # noqa: S107 - the header's name
        token_parameter: str = "token",  # noqa: S107 - the parameter's name
    ) -> None:
        self._keys = [hmac.new(secret.encode(), digestmod="sha256") for secret in secrets]
        self._tokens = [_hash(token.encode()) for token in tokens]
        self._header, self._parameter, self._encoding = header.lower().encode(), parameter.encode(), encoding
        self._token_header, self._token_parameter = token_header.lower().encode(), token_parameter.encode()

    def verify(self, headers: Headers, query: bytes, content_type: bytes, body: bytes) -> bool:
        """Whether the request is genuine; a missing header, a wrong one and no live secret are the same no."""
        signatures = [value for name, value in headers if name == self._header]
        if self._parameter and query:
            signatures += [value for name, value in pairs(query) or () if name == self._parameter]
            query = _without(query, {self._parameter})
        if signatures:
            return len(signatures) == 1 and self._is_signed(signatures[0], query, content_type, body)
        return self._bears_token(headers, query)

    def public_query(self, query: bytes) -> str:
        """The query as it may be stored and logged: without static token and signature."""
        return _without(query, {self._token_parameter, self._parameter} - {b""}).decode("latin-1")

    def _is_signed(self, signature: bytes, query: bytes, content_type: bytes, body: bytes) -> bool:
        presented = read_digest(signature, self._encoding)
        message = signed_text(query, content_type, body)
        if message is None:
            return False
        genuine = False
        for key in self._keys:
            expected = key.copy()
            expected.update(message)
            genuine |= hmac.compare_digest(expected.digest(), presented)
        return genuine

    def _bears_token(self, headers: Headers, query: bytes) -> bool:
        tokens = [value for name, value in headers if name == self._token_header]
        if not tokens and self._token_parameter in query:
            tokens = [value for name, value in pairs(query) or () if name == self._token_parameter]
        presented = _hash(tokens[0] if len(tokens) == 1 else b"")
        genuine = False
        for token in self._tokens:
            genuine |= hmac.compare_digest(token, presented)
        return genuine


def sign(secret: str, *, query: bytes = b"", content_type: bytes = b"", body: bytes = b"") -> str:
    """The signature in lower-case hexadecimal, as the source would send it."""
    message = signed_text(query, content_type, body)
    if message is None:
        raise ValueError(f"more than {MOST_PARAMETERS} parameters")
    return hmac.digest(secret.encode(), message, "sha256").hex()


def signed_text(query: bytes, content_type: bytes, body: bytes) -> bytes | None:
    """The bytes that the signature is made over; None when there are too many parameters to be a webhook."""
    form = is_form(content_type)
    if not query and not form:
        return body
    given, fields = pairs(query), pairs(body if form else b"")
    if given is None or fields is None:
        return None
    ordered = sorted(given + fields, key=lambda pair: pair[0])
    return b"".join(name + value for name, value in ordered) + (b"" if form else body)


def is_form(content_type: bytes) -> bool:
    """Whether a body of this content type is made of form fields."""
    return content_type.partition(b";")[0].strip().lower() == FORM


def pairs(encoded: bytes) -> Pairs | None:
    """The decoded parameters in their order, blank ones included; None when there are more than is sensible."""
    if not encoded:
        return ()
    if encoded.count(b"&") >= MOST_PARAMETERS:
        return None
    return tuple(_pair(part) for part in encoded.split(b"&") if part)


def read_digest(signature: bytes, encoding: Encoding = "any") -> bytes:
    """The digest a header holds, in hexadecimal or base64, with or without `sha256=`; zeros when it holds none."""
    text = signature.strip().removeprefix(b"sha256=")
    try:
        if len(text) == 2 * _DIGEST_SIZE and encoding != "base64":
            return bytes.fromhex(text.decode("ascii"))
        if encoding != "hex":
            digest = base64.b64decode(text, validate=True)
            return digest if len(digest) == _DIGEST_SIZE else _NO_DIGEST
    except (binascii.Error, ValueError):
        pass  # not a digest in either spelling
    return _NO_DIGEST


def _pair(part: bytes) -> tuple[bytes, bytes]:
    name, _, value = part.replace(b"+", b" ").partition(b"=")
    return unquote_to_bytes(name), unquote_to_bytes(value)


def _without(query: bytes, names: AbstractSet[bytes]) -> bytes:
    """The query without these parameters, and otherwise as it came."""
    if not any(name in query for name in names) and b"%" not in query:
        return query
    return b"&".join(part for part in query.split(b"&") if _pair(part)[0] not in names)


def _hash(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
