"""What an actor's function says about itself: whether it reads an inbox, and which messages it understands."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Never, TypeVar, Union, get_args, get_origin, get_type_hints

from tds_runtime.errors import SpecError

Types = tuple[type, ...] | None
"""The classes of the messages an actor takes; None when any message may come."""


def check_function(function: Callable[..., Any]) -> None:
    """Refuse what cannot be an actor."""
    if not inspect.iscoroutinefunction(function):
        raise SpecError(f"an actor is an async function, {function!r} is not")
    if not _positional(function):
        raise SpecError(f"{function.__qualname__} must take its context first: async def {function.__name__}(ctx)")


def reads_inbox(function: Callable[..., Any]) -> bool:
    """Whether the function takes an inbox after its context."""
    parameters = _positional(function)
    if len(parameters) < 2:  # noqa: PLR2004 # context and inbox
        return False
    annotation = parameters[1].annotation
    stated = annotation if isinstance(annotation, str) else getattr(get_origin(annotation), "__name__", "")
    return parameters[1].name == "inbox" or stated.split(".")[-1].startswith("Inbox[") or stated == "Inbox"


def message_types(function: Callable[..., Any], namespace: Mapping[str, Any]) -> Types:
    """The classes named by the annotation of the inbox.

    `namespace` holds what was visible where the function was written. Raises NameError when a name in the annotation
    is not known (yet).
    """
    annotation = _positional(function)[1].annotation
    if annotation is inspect.Parameter.empty:
        return None
    holder = type("holder", (), {"__annotations__": {"inbox": annotation}})
    hints = get_type_hints(holder, function.__globals__, dict(namespace))
    arguments = get_args(hints["inbox"])
    return classes(arguments[0]) if arguments else None


def classes(annotation: Any) -> Types:
    """The classes behind a type expression; None when it admits anything or cannot be checked by isinstance."""
    annotation = getattr(annotation, "__value__", annotation)  # a `type X = ...` alias
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return _united([classes(part) for part in get_args(annotation)])
    if origin is Annotated:
        return classes(get_args(annotation)[0])
    if origin is Literal:
        return tuple({type(value) for value in get_args(annotation)})
    if annotation in (None, NoneType):
        return (NoneType,)
    if annotation is Never:
        return ()
    return _checkable(origin or annotation)


def _checkable(annotation: Any) -> Types:
    if annotation is Any or isinstance(annotation, TypeVar) or not isinstance(annotation, type):
        return None
    try:
        isinstance(None, annotation)
    except TypeError:  # a Protocol that is not runtime_checkable
        return None
    return (annotation,)


def _united(parts: list[Types]) -> Types:
    known: list[type] = []
    for part in parts:
        if part is None:
            return None
        known += part
    return tuple(known)


def _positional(function: Callable[..., Any]) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [parameter for parameter in inspect.signature(function).parameters.values() if parameter.kind in kinds]
