"""Keeps secrets out of whatever is written: by a field's name, by its value in any spelling, by its shape in a text."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "********"

_SECRET_KEY = re.compile(r"token|secret|password|authorization|cookie|signature|api.?key", re.IGNORECASE)
_HARMLESS_KEY = re.compile(r"_(?:name|count|file|header|valid)$")
_SECRET_TEXT = re.compile(
    r"(?P<pair>(?:token|secret|password|signature|api.?key|code)[\"']?\s?[=:]\s?[\"']?)[^&\s\"',;)}\]]+"
    r"|(?P<scheme>\b(?:Zoho-oauthtoken|Bearer|Basic)\s+)[\w.~+/=-]{8,}"
    r"|(?P<url>\w://[^:@/\s]*:)[^@/\s]+(?=@)",
    re.IGNORECASE,
)
_TRACES = frozenset({"exception", "traceback", "stack"})  # their end says more than their beginning
_SHORTEST = 6  # a shorter value would blot out ordinary words
_DEEPEST = 6


class Redactor:
    """Masks what must not be shown; knows every secret of the configuration and how it looks when encoded."""

    def __init__(self, secrets: Iterable[str] = (), *, field_limit: int = 2_000) -> None:
        self._spellings: list[str] = []
        self._field_limit = field_limit
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Mask these too from now on; what was a secret once stays one."""
        found = {spelling for secret in secrets if len(secret) >= _SHORTEST for spelling in _spellings(secret)}
        self._spellings = sorted(found.union(self._spellings), key=len, reverse=True)

    def known(self, text: str) -> str:
        """The text with every known secret masked; what only looks like one stays, so that JSON stays what it is."""
        for spelling in self._spellings:
            if spelling in text:
                text = text.replace(spelling, MASK)
        return text

    def text(self, text: str) -> str:
        """The text with every known secret, and everything shaped like one, masked."""
        return _SECRET_TEXT.sub(_masked, self.known(text))

    def fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an event as plain data, masked by key and by value, long texts cut."""
        return {str(key): self._field(str(key), value, _DEEPEST) for key, value in fields.items()}

    def _field(self, key: str, value: Any, depth: int) -> Any:
        if not isinstance(value, int | float | None) and is_secret_key(key):
            return MASK
        if key in _TRACES and isinstance(value, str):
            return self.text(value)[-5 * self._field_limit :]
        return self._value(value, depth)

    def _value(self, value: Any, depth: int) -> Any:
        match value:
            case str():
                return self._cut(value)
            case None | bool() | int() | float():
                return value
            case Mapping() if depth:
                return {str(key): self._field(str(key), inner, depth - 1) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset() if depth:
                return [self._value(inner, depth - 1) for inner in value]
            case _:
                return self._cut(_shown(value))

    def _cut(self, text: str) -> str:
        # A secret that begins before the limit and ends after it would survive in part if the text were cut first.
        limit = self._field_limit
        if len(text) <= limit:
            return self.text(text)
        return f"{self.text(text[: 2 * limit])[:limit]}… ({len(text)} characters)"


def is_secret_key(key: str) -> bool:
    """Whether a field of this name holds something that must not be shown."""
    return bool(_SECRET_KEY.search(key)) and not _HARMLESS_KEY.search(key)


def _masked(found: re.Match[str]) -> str:
    return (found["pair"] or found["scheme"] or found["url"]) + MASK


def _shown(value: Any) -> str:
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    try:
        return str(value) if hasattr(type(value), "isoformat") else repr(value)
    except RecursionError:
        return f"<{type(value).__name__}, nested too deeply to show>"


def _spellings(secret: str) -> Iterator[str]:
    raw = secret.encode(errors="surrogatepass")
    yield secret
    yield quote(secret, safe="", errors="surrogatepass")
    yield quote(secret, errors="surrogatepass")
    yield quote_plus(secret, errors="surrogatepass")
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield repr(secret)[1:-1]
    yield html.escape(secret)
    yield raw.hex()
    yield from _base64_spellings(raw)


def _base64_spellings(raw: bytes) -> Iterator[str]:
    """The characters that base64 of any text around the secret must contain, at each of the three alignments."""
    for before, start in ((0, 0), (1, 2), (2, 3)):
        encoded = base64.b64encode(b"\0" * before + raw).decode()[start : (before + len(raw)) * 8 // 6]
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")
