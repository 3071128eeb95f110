"""What a child is, said before anything runs: the actor decorator, specs, and supervisors of specs."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from difflib import get_close_matches
from functools import update_wrapper
from math import inf
from typing import (
    Any,
    ClassVar,
    Concatenate,
    Generic,
    Literal,
    Never,
    ParamSpec,
    Protocol,
    Self,
    TypedDict,
    TypeVar,
    Unpack,
    overload,
)

from msgspec import Struct, field
from msgspec.structs import replace

from tds_runtime.backoff import Backoff
from tds_runtime.budget import Budget
from tds_runtime.context import Context
from tds_runtime.errors import SpecError, one_of
from tds_runtime.inbox import Inbox
from tds_runtime.mailbox import Mailbox
from tds_runtime.ref import Address, Ref
from tds_runtime.signature import Types, check_function, message_types, reads_inbox

M = TypeVar("M")
P = ParamSpec("P")

Restart = Literal["permanent", "transient", "temporary"]
Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any_significant", "all_significant"]


class _Named(Struct, frozen=True, eq=False):
    name: str


class Child(_Named, frozen=True, eq=False, kw_only=True):
    """What every child of a supervisor has, be it an actor or another supervisor. All times are seconds.

    `name` is one part of a path: not empty, no slash, unique among its siblings. Raises SpecError for what cannot run.

    - `restart`: "permanent" always, "transient" after a crash or a kill, "temporary" never.
    - `significant`: its end for good can end its supervisor, see `Supervisor.auto_shutdown`.
    - `backoff`: delays between tries.
    - `start_timeout`: until ready. `stop`: from the request to stop until its scope is cancelled. `kill_grace`: from
      there until it is reported as unstopped.
    """

    restart: Restart = "permanent"
    significant: bool = False
    backoff: Backoff = Backoff()
    start_timeout: float = 15.0
    stop: float = 10.0
    kill_grace: float = 5.0

    def __post_init__(self) -> None:
        name: object = self.name
        if not isinstance(name, str) or not name or "/" in name:
            raise SpecError(f"a name is not empty and has no slash, got {name!r:.80}")
        one_of(f"{self.name}: restart", self.restart, Restart)
        if min(self.start_timeout, self.stop, self.kill_grace) < 0:
            raise SpecError(f"{self.name}: start_timeout, stop and kill_grace must not be negative")
        if self.significant and self.restart == "permanent":
            raise SpecError(f"{self.name}: a significant child is transient or temporary; a permanent one never ends")


class Settings(TypedDict, total=False):
    """The options of an actor, for `@actor(...)` and `spec.options(...)`; `Spec` explains them."""

    restart: Restart
    significant: bool
    backoff: Backoff
    budget: Budget | None
    quarantine: Backoff
    mailbox: Mailbox
    redeliver: int
    watchdog: float | None
    start_timeout: float
    stop: float
    kill_grace: float


class Spec(Child, Generic[M], frozen=True, eq=False, kw_only=True):
    """An actor with its dependencies, ready to be placed in a tree.

    Beside what `Child` explains:

    - `budget`: its own restarts; when it is used up, the child is quarantined under one_for_one and fails its
      supervisor under the linked strategies. Without one, the supervisor's is charged.
    - `quarantine`: cool-downs between the probes of a quarantined child; a probe that stays ready
      `quarantine.reset_after` seconds ends it.
    - `mailbox`, and `redeliver`: how many more times a message is tried whose incarnation ended while holding it.
    - `watchdog`: how long a message may be held, or lie with nobody taking it, without a beat; None switches it off.
      For an actor without an inbox it is the longest time between two beats.
    """

    function: Callable[..., Coroutine[Any, Any, None]]
    positional: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    reads: bool = False
    types: Types = None
    address: Address
    budget: Budget | None = None
    quarantine: Backoff = Backoff(60.0, 3600.0)
    mailbox: Mailbox = Mailbox()
    redeliver: int = 0
    watchdog: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.redeliver < 0:
            raise SpecError(f"{self.name}: redeliver must not be negative, got {self.redeliver}")
        if self.watchdog is not None and self.watchdog <= 0:
            raise SpecError(f"{self.name}: watchdog must be positive or None, got {self.watchdog}")

    @property
    def ref(self) -> Ref[M]:
        """The way to reach this child, now and in every incarnation to come."""
        return Ref(self.address)

    def named(self, name: str) -> Self:
        """The same actor under another name, with a reference of its own."""
        return replace(self, name=name, address=Address(name))

    def options(self, **changes: Unpack[Settings]) -> Self:
        """The same actor with other options, and a reference of its own; an unknown option raises SpecError."""
        _refuse_unknown(changes)
        return replace(self, **changes, address=Address(self.name))


class Supervisor(Child, frozen=True, eq=False, kw_only=True):
    """A child that starts, restarts and stops other children, in order.

    `strategy` says who is started again when one crashes: "one_for_one" that child, "rest_for_one" also those after it,
    "one_for_all" all. `budget` is what its children may spend together; more makes the supervisor fail, which is one
    crash for its own supervisor. `auto_shutdown` ends it when one ("any_significant") or all ("all_significant") of
    its significant children have ended for good. `start_timeout` and `stop` are endless: its children have theirs.
    Raises SpecError for two children of one name and for a significant child without `auto_shutdown`.
    """

    strategy: Strategy = "one_for_one"
    budget: Budget = Budget(3, 60.0)
    children: Sequence[Child] = ()
    auto_shutdown: AutoShutdown = "never"
    start_timeout: float = inf
    stop: float = inf

    stops_together: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        one_of(f"{self.name}: strategy", self.strategy, Strategy)
        one_of(f"{self.name}: auto_shutdown", self.auto_shutdown, AutoShutdown)
        for child in self.children:
            if not isinstance(child, Child):
                raise SpecError(
                    f"{self.name}: a {type(child).__name__} is no child; call an actor with its dependencies"
                )
        if self.auto_shutdown == "never" and any(child.significant for child in self.children):
            raise SpecError(f"{self.name}: a significant child needs auto_shutdown to be any_ or all_significant")
        seen: set[str] = set()
        for child in self.children:
            if child.name in seen:
                raise SpecError(f"{self.name}: two children are named {child.name!r}; use .named() to tell them apart")
            seen.add(child.name)


class Actor(Generic[P, M]):
    """An actor's function (`.function`) and its options; calling it with the dependencies makes a spec."""

    def __init__(
        self, function: Callable[..., Coroutine[Any, Any, None]], settings: Settings, namespace: Mapping[str, Any]
    ) -> None:
        check_function(function)
        self.function = function
        self._settings = settings
        self._reads = reads_inbox(function)
        self._types: Types = None
        self._resolved = not self._reads
        self._resolve(namespace)
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Spec[M]:
        """A spec with these dependencies, named after the function.

        Raises TypeError when they do not fit the function, SpecError when the type of its messages does not exist.
        """
        try:
            inspect.signature(self.function).bind(*(None,) * (1 + self._reads), *args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.function.__qualname__}: {error}") from None
        if not self._resolved and not self._resolve({}):
            raise SpecError(f"{self.function.__qualname__}: the type of its messages is not importable at run time")
        name = self.function.__name__
        return Spec(
            name,
            function=self.function,
            positional=args,
            keywords=kwargs,
            reads=self._reads,
            types=self._types,
            address=Address(name),
            **self._settings,
        )

    def _resolve(self, namespace: Mapping[str, Any]) -> bool:
        if not self._resolved:
            try:
                self._types = message_types(self.function, namespace)
            except NameError:  # a class that is defined further down; the first call looks again
                return False
            self._resolved = True
        return True


class _Decorator(Protocol):
    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, Inbox[M], P], Coroutine[Any, Any, None]]
    ) -> Actor[P, M]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[Context, P], Coroutine[Any, Any, None]]) -> Actor[P, Never]: ...


def actor(bare: None = None, /, **settings: Unpack[Settings]) -> _Decorator:
    """Make an actor of an async function that takes a Context, perhaps an Inbox, and then its dependencies.

    Calling the actor with the dependencies makes its spec; the plain function stays reachable as `.function`.
    `Spec` explains the settings. Raises SpecError for an unknown one, and for a function that is not async or takes
    no context.
    """
    if bare is not None:
        raise SpecError("write @actor() with brackets: its options stand in them")
    _refuse_unknown(settings)

    def decorate(function: Callable[..., Coroutine[Any, Any, None]]) -> Actor[Any, Any]:
        return Actor(function, settings, sys._getframe(1).f_locals)  # noqa: SLF001 # where the messages are named

    return decorate


def child(
    function: Callable[[Context], Coroutine[Any, Any, None]], *, name: str = "", **settings: Unpack[Settings]
) -> Spec[Never]:
    """A spec for a plain async function that needs nothing but its context; the function's name is the default.

    Raises SpecError as `actor` does.
    """
    _refuse_unknown(settings)
    made: Actor[[], Never] = Actor(function, settings, {})
    return made().named(name) if name else made()


def _refuse_unknown(settings: Mapping[str, Any]) -> None:
    for key in settings:
        if key not in Settings.__annotations__:
            near = get_close_matches(key, Settings.__annotations__, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise SpecError(f"{key} is not an option of an actor{hint}")
