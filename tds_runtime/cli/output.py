"""What a command prints: data on stdout, as a table or as JSON; everything else on stderr; and how it ends."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.prompt import Confirm
from rich.table import Table
from rich.text import Text

from tds_runtime.errors import Error

_WIDE = 10_000  # a table in a file or pipe is not cut to a terminal


class Exit(IntEnum):
    """How a command ended, for scripts and service managers."""

    OK = 0
    FAILED = 1
    USAGE = 2
    DEGRADED = 3
    NOT_FOUND = 4
    CONFLICT = 5
    UNREACHABLE = 69
    CONFIG = 78


class Ended(Error):
    """The command cannot do what it was asked."""

    def __init__(self, message: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.code = code


class Output:
    """The two streams of a command."""

    def __init__(
        self,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        # A console asks sys.stdout each time it prints when it is given none.
        plain = bool((os.environ if environ is None else environ).get("NO_COLOR"))
        terminal = (stdout or sys.stdout).isatty()
        self.stdout = Console(
            file=stdout, no_color=plain, width=None if terminal else _WIDE, markup=False, highlight=False
        )
        self.help = Console(file=stdout, no_color=plain, width=None if terminal else 100)
        self.stderr = Console(
            file=stderr, stderr=stderr is None, no_color=plain, markup=False, highlight=False, soft_wrap=True
        )

    def data(self, value: Any) -> None:
        """Print one JSON document."""
        text = msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode()
        self.stdout.print(text, soft_wrap=True)

    def line(self, text: str) -> None:
        """Print one line of data."""
        self.stdout.print(printable(text), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print rows under their column names, numbers to the right; that there are none is said to the person."""
        shown = [[_cell(value) for value in row] for row in rows]
        table = Table(box=None, pad_edge=False, header_style="bold")
        for index, column in enumerate(columns):
            numeric = bool(shown) and all(row[index].justify == "right" for row in shown)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in shown:
            table.add_row(*row)
        self.stdout.print(table)
        if not shown:
            self.note("none")

    def pairs(self, pairs: Mapping[str, Any]) -> None:
        """Print names and values, one pair a line."""
        width = max((len(name) for name in pairs), default=0)
        for name, value in pairs.items():
            self.stdout.print(f"{name:<{width}}  {_text(value)}", soft_wrap=True)

    def note(self, text: str) -> None:
        """Say something to the person, not to the pipe."""
        self.stderr.print(printable(text, lines=True))

    def progress(self) -> Progress:
        """A bar with rate and remaining time, on stderr; silent where stderr is no terminal."""
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.stderr,
            transient=True,
            disable=not self.stderr.is_terminal,
        )

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask before something that cannot be undone; `Ended` when the answer is no or nobody can answer."""
        if yes:
            return
        if not (self.stderr.is_terminal and sys.stdin.isatty()):
            raise Ended(f"{question} Say --yes to confirm.", Exit.USAGE)
        if not Confirm.ask(question, console=self.stderr, default=False):
            raise Ended("Nothing was changed.")


def printable(text: str, *, lines: bool = False) -> str:
    """The text without what could speak to a terminal; with `lines`, its line ends stay."""
    if lines:
        return "\n".join(printable(line) for line in text.split("\n"))
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def _cell(value: Any) -> Text:
    return Text(_text(value), justify="right" if isinstance(value, (int, float)) and value is not True else "left")


def _text(value: Any) -> str:
    match value:
        case None:
            return "-"
        case datetime():
            return value.astimezone().isoformat(sep=" ", timespec="seconds")
        case dict() | list():
            return msgspec.json.encode(value, enc_hook=str).decode()
        case _:
            return printable(str(value))
