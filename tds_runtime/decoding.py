"""Decodes raw values into Structs, and says everything that is wrong with them, each with its place."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct

from tds_runtime.document import Where
from tds_runtime.errors import ConfigError, Problem
from tds_runtime.values import Duration, Secret

T = TypeVar("T")


class Locate(Protocol):
    """Makes the problem at a path: with file, line and column where the value came from a file."""

    def __call__(self, where: Where, message: str, /, *, hint: str = "", key: bool = False) -> Problem: ...


def accepts(value: Any, expected: Any) -> bool:
    """Whether a value decodes as a type."""
    try:
        msgspec.convert(value, expected, dec_hook=decode_own)
    except msgspec.ValidationError:
        return False
    return True


def field_type(shape: Any, where: Where) -> Any:
    """The type of the field at a path, or None when there is none."""
    for part in where:
        shape = _inner_type(shape, part)
        if shape is None:
            return None
    return shape


def _inner_type(shape: Any, part: str | int) -> Any:
    plain = _plain(shape)
    if is_struct(plain):
        return next((field.type for field in msgspec.structs.fields(plain) if field.encode_name == part), None)
    if get_origin(plain) in {dict, Mapping}:
        return get_args(plain)[1]
    return None


def _plain(shape: Any) -> Any:
    """A type without its constraints, and without the None of an optional one."""
    if get_origin(shape) is Annotated:
        return _plain(get_args(shape)[0])
    if get_origin(shape) in {Union, types.UnionType}:
        some = [inner for inner in get_args(shape) if inner is not types.NoneType]
        return _plain(some[0]) if len(some) == 1 else shape
    return shape


def is_struct(shape: Any) -> bool:
    """Whether a type is a Struct."""
    return isinstance(shape, type) and issubclass(shape, Struct)


def decode(data: dict[str, Any], shape: type[T], problem: Locate) -> T:
    """Decode raw values; `ConfigError` with every problem when they do not fit the shape."""
    try:
        return msgspec.convert(data, shape, dec_hook=decode_own)
    except msgspec.ValidationError as error:
        # Decoding stops at its first error; a person wants them all, so only now is every value tried by itself.
        raise ConfigError(list(_problems(data, shape, (), problem)) or [problem((), _sentence(error))]) from error


def decode_own(expected: type, value: Any) -> Any:
    """Decode the types that msgspec does not know: `Duration`, `Secret`, `Path`."""
    if isinstance(value, str) and issubclass(expected, (Duration, Secret, Path)):
        return expected(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and issubclass(expected, Duration):
        return expected(value)
    raise ValueError("expected a duration" if issubclass(expected, Duration) else "expected text")


def _problems(value: Any, shape: Any, where: Where, problem: Locate) -> Iterator[Problem]:
    """Every problem in a value, the innermost first; one about the whole only when its parts are fine."""
    found = list(_inner_problems(value, _plain(shape), where, problem))
    yield from found
    if found:
        return
    try:
        msgspec.convert(value, shape, dec_hook=decode_own)
    except msgspec.ValidationError as error:
        found_here = problem(where, _sentence(error), hint=_literal_hint(value, _plain(shape)))
        yield _masked(found_here) if _plain(shape) is Secret else found_here


def _masked(found: Problem) -> Problem:
    """The same problem with the value cut from the line it quotes."""
    return msgspec.structs.replace(found, source_line=found.source_line[: max(found.column - 1, 0)] + "********")


def _inner_problems(value: Any, plain: Any, where: Where, problem: Locate) -> Iterator[Problem]:
    if is_struct(plain) and isinstance(value, dict):
        yield from _struct_problems(value, plain, where, problem)
    elif get_origin(plain) in {dict, Mapping} and isinstance(value, dict):
        for key, inner in value.items():
            yield from _problems(inner, get_args(plain)[1], (*where, key), problem)
    elif get_origin(plain) in {list, tuple} and isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _problems(inner, get_args(plain)[0], (*where, index), problem)


def _struct_problems(value: Any, shape: Any, where: Where, problem: Locate) -> Iterator[Problem]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    config = shape.__struct_config__
    for key, inner in value.items():
        if key in fields:
            yield from _problems(inner, fields[key].type, (*where, key), problem)
        elif config.forbid_unknown_fields and key != config.tag_field:
            yield problem(
                (*where, key), f"there is no setting {_dotted((*where, key))}", hint=_near(key, fields), key=True
            )
    for name, field in fields.items():
        if field.required and name not in value:
            yield problem((*where, name), f"{_dotted((*where, name))} is missing")


def _sentence(error: msgspec.ValidationError) -> str:
    text = str(error).split(" - at `")[0]
    return text[:1].lower() + text[1:]


def _dotted(where: Where) -> str:
    return ".".join(str(part) for part in where)


def _near(word: str, known: Mapping[str, object] | tuple[object, ...]) -> str:
    close = difflib.get_close_matches(word, [str(name) for name in known], n=1)
    return f"did you mean {close[0]}?" if close else ""


def _literal_hint(value: Any, plain: Any) -> str:
    if get_origin(plain) is not Literal:
        return ""
    return _near(str(value), get_args(plain)) or f"one of {', '.join(str(choice) for choice in get_args(plain))}"
