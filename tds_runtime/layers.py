"""The sources of a configuration, laid over each other as raw values before anything is decoded."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from tds_runtime import document
from tds_runtime.decoding import Locate, accepts, field_type
from tds_runtime.document import Document, Where
from tds_runtime.errors import ConfigError, Problem

_PREFIX = "TDS_"


class Origin(Struct, frozen=True):
    """Where a value came from: a place in a file, a variable or a credential."""

    source: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


class Layer(Struct, frozen=True):
    """One source of raw values and how to speak of a place in it."""

    data: dict[str, Any]
    origin: Callable[[Where], Origin]
    problem: Locate
    path: Path | None = None


class Overlay:
    """Raw values laid over each other, each remembering the layer it came from."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.sources: dict[Where, Layer] = {}
        self.tables: dict[Where, Layer] = {}

    def lay(self, layer: Layer) -> None:
        self._merge(self.data, layer.data, (), layer)

    def lay_under(self, data: dict[str, Any]) -> None:
        """Fill in what no layer has said; these values have no origin."""
        _fill(self.data, data)

    def problem(self, where: Where, message: str, *, hint: str = "", key: bool = False) -> Problem:
        for end in range(len(where), -1, -1):
            layer = self.sources.get(where[:end]) or self.tables.get(where[:end])
            if layer:
                return layer.problem(where, message, hint=hint, key=key)
        return Problem(message=message, hint=hint)

    def _merge(self, below: dict[str, Any], above: dict[str, Any], where: Where, layer: Layer) -> None:
        self.tables.setdefault(where, layer)
        for key, value in above.items():
            inner = (*where, key)
            if isinstance(value, dict):
                if not isinstance(below.get(key), dict):
                    below[key] = {}
                self._merge(below[key], value, inner, layer)
            else:
                below[key] = value
                self.sources[inner] = layer


def _fill(above: dict[str, Any], below: dict[str, Any]) -> None:
    for key, value in below.items():
        if isinstance(value, dict) and isinstance(above.setdefault(key, {}), dict):
            _fill(above[key], value)
        else:
            above.setdefault(key, value)


def of_document(source: Document) -> Layer:
    """The layer of one file."""

    def origin(where: Where) -> Origin:
        return Origin(str(source.path), source.place(where)[0])

    data = {key: value for key, value in source.data.items() if key != "include"}
    return Layer(data, origin, source.problem, source.path)


def with_includes(source: Document, above: tuple[Path, ...] = ()) -> Iterator[Document]:
    """A document and all it includes, in the order in which they are laid over each other."""
    yield source
    above = (*above, source.path)
    for index, pattern in enumerate(_include_patterns(source)):
        for path in _matching(source, index, pattern):
            if path in above:
                raise ConfigError([source.problem(("include", index), f"{path.name} includes itself")])
            yield from with_includes(document.read(path), above)


def _include_patterns(source: Document) -> list[str]:
    patterns = source.data.get("include", [])
    if not isinstance(patterns, list) or not all(isinstance(pattern, str) for pattern in patterns):
        raise ConfigError([source.problem(("include",), "expected an array of file names")])
    return patterns


def _matching(source: Document, index: int, pattern: str) -> list[Path]:
    """The files a pattern names; a plain name must exist, a pattern with `*` may match nothing."""
    directory = source.path.parent
    if "*" in pattern:
        return sorted(directory.glob(pattern))
    path = directory / pattern
    if not path.is_file():
        raise ConfigError([source.problem(("include", index), f"there is no file {pattern}")])
    return [path]


# --- environment


def of_environment(shape: type, environ: Mapping[str, str]) -> list[Layer]:
    """The layers of the variables TDS_SECTION__KEY, then of those ending in _FILE, then of the credentials."""
    layers = [_of_variable(shape, name, text) for name, text in sorted(environ.items()) if _is_setting(name)]
    layers.sort(key=lambda layer: layer.origin(()).source.endswith("_FILE"))
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory:
        layers += [_of_credential(shape, path) for path in sorted(Path(directory).glob("*.*")) if path.is_file()]
    return layers


def _is_setting(name: str) -> bool:
    return name.startswith(_PREFIX) and "__" in name


def _of_variable(shape: type, name: str, text: str) -> Layer:
    where = tuple(name.removeprefix(_PREFIX).lower().split("__"))
    if where[-1].endswith("_file") and field_type(shape, where) is None:
        where = (*where[:-1], where[-1].removesuffix("_file"))
        text = _text_of(Path(text), name)
    return _of_text(shape, where, text, name)


def _of_credential(shape: type, path: Path) -> Layer:
    name = f"credential {path.name}"
    return _of_text(shape, tuple(path.name.lower().split(".")), _text_of(path, name), name)


def _text_of(path: Path, name: str) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem(message=f"{path} cannot be read: {error}", file=name)]) from error


def _of_text(shape: type, where: Where, text: str, name: str) -> Layer:
    def problem(_where: Where, message: str, /, *, hint: str = "", key: bool = False) -> Problem:  # noqa: ARG001 - a variable has no key to point at
        return Problem(message=message, file=name, hint=hint)

    value: Any = _value_of(text, field_type(shape, where))
    for part in reversed(where):
        value = {part: value}
    return Layer(value, lambda _where: Origin(name), problem)


def _value_of(text: str, expected: Any) -> Any:
    """Text as it stands where the field takes text, else a TOML value (`5`, `["a", "b"]`), else a list, one a line."""
    if expected is None or accepts(text, expected):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        lines = text.splitlines()
        return lines if accepts(lines, expected) else text
