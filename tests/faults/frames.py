"""Cuts what a Postgres client and its server say into messages, and names the round trips that they make."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

ENDS = frozenset({"startup", "p", "Q", "S", "F", "H"})
"""Messages after which a client waits for its answer; everything up to them is sent together."""
AT_ONCE = frozenset({"cancel", "d", "c", "f", "X"})
"""Messages that belong to the round trip under way, or end the connection: they are passed on at once."""

_WAITS = frozenset("Z")
_DESCRIBED = frozenset("TnE")  # how the answer to a prepared statement ends, when the client sent Flush for it
_UNTYPED = {80877102: "cancel", 80877103: "encryption", 80877104: "encryption"}
_AUTHENTICATED = frozenset({0, 12})  # these are followed by more, the others ask the client for something
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
_LONGEST = 60


class Frame(Struct, frozen=True):
    """One message as it travels; `kind` is its type byte, or startup, encryption or cancel for those without one."""

    kind: str
    data: bytes


class Cutter:
    """Collects the bytes of one direction and gives out whole messages; a client's first ones have no type byte."""

    def __init__(self, *, untyped: bool) -> None:
        self._rest = b""
        self._untyped = untyped

    def feed(self, data: bytes) -> list[Frame]:
        """Return the messages that are complete now."""
        self._rest += data
        frames: list[Frame] = []
        place = 0
        while frame := self._at(place):
            frames.append(frame)
            place += len(frame.data)
        self._rest = self._rest[place:]
        return frames

    def _at(self, place: int) -> Frame | None:
        head = place if self._untyped else place + 1
        size = int.from_bytes(self._rest[head : head + 4], "big") + head - place
        if len(self._rest) < head + 4 or len(self._rest) < place + size:
            return None
        data = self._rest[place : place + size]
        if not self._untyped:
            return Frame(chr(data[0]), data)
        kind = _UNTYPED.get(int.from_bytes(data[4:8], "big"), "startup")
        self._untyped = kind == "encryption"
        return Frame(kind, data)


def ends_answer(frame: Frame, last: str) -> bool:
    """Whether the server has said all that it has to say to a round trip whose last message was of the kind `last`."""
    asks = frame.kind == "R" and int.from_bytes(frame.data[5:9], "big") not in _AUTHENTICATED
    return asks or frame.kind in (_DESCRIBED if last == "H" else _WAITS)


def parameters(startup: Frame) -> dict[str, str]:
    """What a client says about itself in its first message: user, database, application_name, ..."""
    words = startup.data[8:].decode().split("\0")
    return dict(zip(words[::2], words[1::2], strict=False))


def title(statement: str) -> str:
    """The beginning of a statement, without comments: what it is called where it has no name."""
    return " ".join(_COMMENT.sub("", statement).split()).rstrip(";")[:_LONGEST]


class Dialogue:
    """What one client has prepared and begun; says what each of its round trips is about.

    `within` lists the operations of the transaction under way.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}
        self._words: dict[str, str] = {}
        self.within: list[str] = []

    def hear(self, frame: Frame) -> None:
        """Take note of a client's message."""
        match frame.kind:
            case "Q":
                self._words["Q"] = self._name(frame.data[5:-1])
            case "P":
                statement, text, _ = frame.data[5:].split(b"\0", 2)
                self._statements[statement] = self._words["P"] = self._name(text)
            case "B":
                portal, statement, _ = frame.data[5:].split(b"\0", 2)
                self._portals[portal] = self._statements.get(statement, "?")
            case "E":
                self._words["E"] = self._portals.get(frame.data[5 : frame.data.index(b"\0", 5)], "?")
            case "startup":
                self._words["Q"] = "connect"
            case "p":
                self._words["Q"] = "authenticate"

    def finish(self) -> str:
        """Name the round trip whose last message was heard, by what it executes."""
        words, self._words = self._words, {}
        prepared = f"prepare {words['P']}" if "P" in words else "sync"
        operation = words.get("Q") or words.get("E") or prepared
        if operation == "BEGIN" or not self._begun():
            self.within = []
        self.within.append(operation)
        return operation

    def _begun(self) -> bool:
        return self.within[:1] == ["BEGIN"] and self.within[-1] not in {"COMMIT", "ROLLBACK"}

    def _name(self, statement: bytes) -> str:
        text = statement.decode(errors="replace")
        return self._names.get(text) or title(text)


def joined(frames: Sequence[Frame]) -> bytes:
    """The bytes of several messages."""
    return b"".join(frame.data for frame in frames)
