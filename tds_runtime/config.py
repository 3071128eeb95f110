"""The configuration: files and environment laid over each other, then decoded once, every error with its place.

Raw dictionaries are overlaid in this order, the later one winning: the file, what it includes (in order), the variables
TDS_SECTION__KEY, TDS_SECTION__KEY_FILE, and the files of $CREDENTIALS_DIRECTORY (named section.key).
"""

from __future__ import annotations

import os
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, Union, cast, get_args, get_origin
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct

from tds_runtime import decoding, document, layers
from tds_runtime.document import Document, Where
from tds_runtime.layers import Origin
from tds_runtime.values import Duration, Secret

__all__ = ["Duration", "Loaded", "Origin", "Secret", "anchored", "decode", "load", "plain", "read", "schema", "secrets"]

T = TypeVar("T")

_PASSWORD = re.compile(r"(\w://[^:@/\s]*:)([^@/\s]+)(?=@)")  # of a URL such as a DSN


class Loaded(Struct, Generic[T], frozen=True):
    """A decoded configuration, with the origin of each value that is not a default."""

    value: T
    origins: Mapping[Where, Origin]
    path: Path
    files: tuple[Path, ...]


Defaults = Callable[[Mapping[str, Any]], dict[str, Any]]
"""What stands for what nobody said, given what was said: raw values, laid under all others."""


def load(
    path: Path, shape: type[T], environ: Mapping[str, str] | None = None, *, defaults: Defaults | None = None
) -> Loaded[T]:
    """Read the file, its includes and the environment; decode; anchor relative paths at the directory of `path`."""
    path = path.absolute()
    documents = list(layers.with_includes(document.read(path)))
    overlaid = layers.Overlay()
    for layer in map(layers.of_document, documents):
        overlaid.lay(layer)
    for layer in layers.of_environment(shape, os.environ if environ is None else environ):
        overlaid.lay(layer)
    if defaults:
        overlaid.lay_under(defaults(overlaid.data))
    value = decoding.decode(overlaid.data, shape, overlaid.problem)
    origins = {where: layer.origin(where) for where, layer in overlaid.sources.items()}
    return Loaded(anchored(value, path.parent), origins, path, tuple(found.path for found in documents))


def read(path: Path, shape: type[T]) -> T:
    """Decode one file that has neither includes nor variables, such as an entity's mapping."""
    return decode(document.read(path), shape)


def decode(source: Document, shape: type[T]) -> T:
    """Decode a document; `ConfigError` lists everything that is wrong with it."""
    return decoding.decode(source.data, shape, source.problem)


# --- what is done with a decoded configuration


def anchored(value: T, directory: Path) -> T:
    """The same configuration, every relative path in it made absolute from `directory`."""
    return cast("T", _anchored(value, directory))


def _anchored(value: Any, directory: Path) -> Any:
    match value:
        case Struct():
            fields = {name: _anchored(getattr(value, name), directory) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **fields)
        case dict():
            return {key: _anchored(inner, directory) for key, inner in value.items()}
        case list() | tuple():
            return type(value)(_anchored(inner, directory) for inner in value)
        case Path():
            return directory / value
        case _:
            return value


def secrets(value: object) -> frozenset[str]:
    """Every secret in a configuration, for the redaction of logs."""
    return frozenset(found for leaf in _leaves(value) for found in _secrets_in(leaf) if found)


def _secrets_in(leaf: Any) -> list[str]:
    if isinstance(leaf, Secret):
        return [str(leaf)]
    return [unquote(found[2]) for found in _PASSWORD.finditer(leaf)] if isinstance(leaf, str) else []


def plain(value: object) -> Any:
    """A configuration as plain data, secrets masked, durations and paths as they are written."""
    match value:
        case Struct():
            fields = msgspec.structs.fields(value)
            return {field.encode_name: plain(getattr(value, field.name)) for field in fields}
        case dict():
            return {key: plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [plain(inner) for inner in value]
        case _:
            return _plain_leaf(value)


def _plain_leaf(value: object) -> Any:
    match value:
        case Secret():
            return "********" if value else ""
        case str():
            return _PASSWORD.sub(r"\1********", value)
        case Duration() | Path():
            return str(value)
        case _:
            return msgspec.to_builtins(value)


def _leaves(value: Any) -> Iterator[Any]:
    match value:
        case Struct():
            for name in value.__struct_fields__:
                yield from _leaves(getattr(value, name))
        case dict():
            for inner in value.values():
                yield from _leaves(inner)
        case list() | tuple() | frozenset() | set():
            for inner in value:
                yield from _leaves(inner)
        case _:
            yield value


def schema(shape: type) -> dict[str, Any]:
    """JSON Schema of a configuration file, for editors."""
    return msgspec.json.schema(written(shape))


def written(shape: Any) -> Any:
    """A type as a file spells it: lengths of time and secrets are text, so that a schema can be made of it."""
    return _written_type(shape, {})


_WRITTEN: Mapping[type, Any] = {
    Duration: Annotated[str, Meta(examples=["250ms", "15m", "1h30m"])] | float,
    Secret: Annotated[str, Meta(extra_json_schema={"writeOnly": True})],
    Path: str,
}


def _written_type(shape: Any, known: dict[type, type]) -> Any:
    """The same shape in types that a schema can say: msgspec has no schema for defaults of other types."""
    if decoding.is_struct(shape):
        if shape not in known:
            known[shape] = _written_struct(shape, known)
        return known[shape]
    if shape in _WRITTEN:
        return _WRITTEN[shape]
    arguments = get_args(shape)
    match get_origin(shape):
        case None | typing.Literal:
            return shape
        case typing.Annotated:
            return Annotated[(_written_type(arguments[0], known), *arguments[1:])]
        case typing.Union | types.UnionType:
            return Union[tuple(_written_type(inner, known) for inner in arguments)]  # noqa: UP007 - built from a tuple of types
        case generic:
            return generic[tuple(inner if inner is ... else _written_type(inner, known) for inner in arguments)]


def _written_struct(shape: type[Struct], known: dict[type, type]) -> type[Struct]:
    fields = [
        (field.encode_name, _written_type(field.type, known), _written_default(field))
        for field in msgspec.structs.fields(shape)
    ]
    return msgspec.defstruct(
        shape.__name__,
        fields,
        namespace={"__doc__": shape.__doc__},
        module=shape.__module__,
        kw_only=True,
        forbid_unknown_fields=shape.__struct_config__.forbid_unknown_fields,
    )


def _written_default(field: msgspec.structs.FieldInfo) -> Any:
    if field.default is not msgspec.NODEFAULT:
        default = plain(field.default)
        if isinstance(default, dict):
            return msgspec.field(default_factory=dict)
        if isinstance(default, list):
            return msgspec.field(default_factory=partial(list, default))
        return msgspec.field(default=default)
    if field.default_factory is not msgspec.NODEFAULT:
        return msgspec.field(default_factory=field.default_factory)
    return msgspec.field()
