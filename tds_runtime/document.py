"""A TOML file that remembers where each of its keys stands, so that an error can point at it.

tomllib parses; no library at hand (tomlkit included) tells a caller where a key stands. The scanner here walks only
text that tomllib has accepted, so it may be simple: it never judges, it only counts.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from tds_runtime.errors import ConfigError, Problem

Where = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\[\s\S])*?"""(?:"{1,2}(?!"))?'
    r"|'''[\s\S]*?'''(?:'{1,2}(?!'))?"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
)
_SCALAR = re.compile(r"[^,\]}#\n]+")
_SECRET_LINE = re.compile(r"(?i)^(\s*\S*(?:token|secret|password|dsn|api.?key)[^=]*=\s*).+")
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


class Document(Struct, frozen=True):
    """The data of one TOML file, with the place of every key and value in it."""

    path: Path
    data: dict[str, Any]
    text: str
    keys: dict[Where, int]
    values: dict[Where, int]

    def place(self, where: Where, *, key: bool = False) -> tuple[int, int]:
        """Line and column (from 1) of a value, or of its key; of the nearest thing around it when it is not there."""
        for end in range(len(where), 0, -1):
            near = where[:end]
            for offsets in (self.keys, self.values) if key or end < len(where) else (self.values, self.keys):
                if near in offsets:
                    return _line_and_column(self.text, offsets[near])
        return 1, 1

    def problem(self, where: Where, message: str, *, hint: str = "", key: bool = False) -> Problem:
        """The problem with the value (or the key) at `where`, with the line it stands on."""
        return _problem(self.path, self.text, self.place(where, key=key), message, hint)


def read(path: Path) -> Document:
    """Read and parse one file; `ConfigError` when it is missing, unreadable or no TOML."""
    try:
        text = path.read_bytes().decode().replace("\r\n", "\n")
    except OSError as error:
        raise ConfigError([Problem(message=f"cannot be read: {error.strerror}", file=str(path))]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(message=f"is not UTF-8 (byte {error.start})", file=str(path))]) from error
    return parse(text, path)


def parse(text: str, path: Path) -> Document:
    """Parse the text of a file; `path` is only its name in messages."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([_syntax_problem(text, path, str(error))]) from error
    scanner = _Scanner(text)
    scanner.scan()
    return Document(path, data, text, scanner.keys, scanner.values)


def _syntax_problem(text: str, path: Path, message: str) -> Problem:
    found = _AT.search(message)
    place = (int(found[1]), int(found[2])) if found and found[1] else _line_and_column(text, len(text))
    return _problem(path, text, place, _AT.sub("", message))


def _problem(path: Path, text: str, place: tuple[int, int], message: str, hint: str = "") -> Problem:
    line, column = place
    lines = text.split("\n")
    source = lines[line - 1].replace("\t", " ") if line <= len(lines) else ""
    source = _SECRET_LINE.sub(r"\1********", source)
    return Problem(message=message, file=str(path), line=line, column=column, source_line=source, hint=hint)


def _line_and_column(text: str, offset: int) -> tuple[int, int]:
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


class _Scanner:
    """Walks valid TOML and notes where keys and values begin."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.keys: dict[Where, int] = {}
        self.values: dict[Where, int] = {}
        self.tables: dict[Where, int] = {}  # how many [[tables]] of a name have begun

    def scan(self) -> None:
        table: Where = ()
        while self._skip(_BLANK) < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)

    def _skip(self, pattern: re.Pattern[str]) -> int:
        found = pattern.match(self.text, self.at)
        if found:
            self.at = found.end()
        return self.at

    def _header(self) -> Where:
        start, brackets = self.at, "[[" if self.text.startswith("[[", self.at) else "["
        self.at += len(brackets)
        where = self._enter(self._key())
        self.at += len(brackets)
        if brackets == "[[":
            self.tables[where] = self.tables.get(where, -1) + 1
            self.keys.setdefault(where, start)
            where = (*where, self.tables[where])
        self.keys.setdefault(where, start)
        return where

    def _enter(self, key: Where) -> Where:
        """The path a header means: each array of tables on the way stands for its newest table."""
        where: Where = ()
        for index, part in enumerate(key):
            where = (*where, part)
            if where in self.tables and index < len(key) - 1:
                where = (*where, self.tables[where])
        return where

    def _pair(self, table: Where) -> None:
        self._skip(_SPACE)
        start = self.at
        key = self._key()
        for end in range(1, len(key) + 1):
            self.keys.setdefault((*table, *key[:end]), start)
        self._skip(_SPACE)
        self.at += 1  # the equals sign
        self._skip(_SPACE)
        self._value((*table, *key))

    def _key(self) -> Where:
        return tuple(self._key_parts())

    def _key_parts(self) -> Iterator[str]:
        while True:
            self._skip(_SPACE)
            start = self.at
            if self.text[start] in "\"'":
                self._skip(_STRING)
                yield next(iter(tomllib.loads(f"{self.text[start : self.at]}=0")))
            else:
                self._skip(_BARE_KEY)
                yield self.text[start : self.at]
            self._skip(_SPACE)
            if self.text[self.at] != ".":
                return
            self.at += 1

    def _value(self, where: Where) -> None:
        self.values[where] = self.at
        match self.text[self.at]:
            case "[":
                self._array(where)
            case "{":
                self._inline_table(where)
            case '"' | "'":
                self._skip(_STRING)
            case _:
                self._skip(_SCALAR)

    def _array(self, where: Where) -> None:
        self.at += 1
        index = 0
        while self._next_item("]"):
            self._value((*where, index))
            index += 1

    def _inline_table(self, where: Where) -> None:
        self.at += 1
        while self._next_item("}"):
            self._pair(where)

    def _next_item(self, closing: str) -> bool:
        """Move to the next item of an array or inline table; past its end when there is none."""
        self._skip(_BLANK)
        if self.text[self.at] == ",":
            self.at += 1
            self._skip(_BLANK)
        if self.text[self.at] != closing:
            return True
        self.at += 1
        return False
