"""A circuit breaker, so that an upstream that is down is left alone and found again by one probe at a time.

The machine is pure: state in, state out. `Breaker` holds one state for one named upstream in this process; what nodes
share about an upstream lives in `upstreams`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated, Literal, Self, TypeAlias

import msgspec
from msgspec import Meta, Struct

from tds_runtime.config import Duration
from tds_runtime.errors import BreakerOpen

Phase: TypeAlias = Literal["closed", "open", "half_open"]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many failures in a row open a breaker, and for how long."""

    failures: Annotated[int, Meta(ge=1)] = 5
    cool_down: Duration = Duration("60s")


class State(Struct, frozen=True, kw_only=True):
    """One breaker at one moment; `opened_at` is seconds since the epoch, so that it survives a restart."""

    phase: Phase = "closed"
    failures: int = 0
    opened_at: float = 0.0
    reason: str = ""
    generation: int = 0


def remaining(state: State, now: float, options: Options) -> float:
    """Seconds until a probe is let through; a clock that was set back never makes it longer than the cool-down."""
    if state.phase == "closed":
        return 0.0
    return max(0.0, min(options.cool_down, state.opened_at + options.cool_down - now))


def admit(state: State, now: float, options: Options) -> tuple[State, bool]:
    """Whether a call may be made; the first one after the cool-down becomes the probe."""
    if state.phase == "closed":
        return state, True
    if state.phase == "open" and remaining(state, now, options) <= 0:
        return _enter(state, "half_open"), True
    return state, False


def succeed(state: State, generation: int) -> State:
    """A call came back: a closed breaker forgets its failures, a probe closes the breaker."""
    if generation != state.generation:
        return state
    if state.phase == "half_open":
        return _enter(state, "closed", failures=0, opened_at=0.0, reason="")
    return msgspec.structs.replace(state, failures=0) if state.failures else state


def fail(state: State, generation: int, now: float, reason: str, options: Options) -> State:
    """A call failed in a way that means "down"; verdicts on calls made before the last change of phase are ignored."""
    if generation != state.generation or state.phase == "open":
        return state
    failures = state.failures + 1
    if state.phase == "half_open" or failures >= options.failures:
        return _enter(state, "open", failures=failures, opened_at=now, reason=reason)
    return msgspec.structs.replace(state, failures=failures, reason=reason)


def abandon(state: State, generation: int) -> State:
    """A call ended without a verdict (it was cancelled): a probe goes back, the next call probes instead."""
    if generation != state.generation or state.phase != "half_open":
        return state
    return _enter(state, "open")


def _enter(state: State, phase: Phase, **fields: object) -> State:
    return msgspec.structs.replace(state, phase=phase, generation=state.generation + 1, **fields)


class Statistics(Struct, frozen=True, kw_only=True):
    """One breaker, for a screen: `reopens_in` is seconds until the next probe."""

    name: str
    phase: Phase
    failures: int
    opened_at: float
    reopens_in: float
    reason: str
    refused: int
    opened: int


class Breaker:
    """The breaker of one upstream: ask `admit` before a call, tell the permit how it went."""

    def __init__(
        self,
        name: str,
        options: Options | None = None,
        *,
        clock: Callable[[], float] = time.time,
        on_change: Callable[[Breaker], None] | None = None,
    ) -> None:
        self.name = name
        self.state = State()
        self.on_change = on_change
        self._options = options or Options()
        self._clock = clock
        self._refused = 0
        self._opened = 0

    def admit(self) -> Permit:
        """A permit for one call; raises `BreakerOpen` with the time of the next probe."""
        now = self._clock()
        state, admitted = admit(self.state, now, self._options)
        if not admitted:
            self._refused += 1
            raise self._refusal(now)
        self._become(state)
        return Permit(self, state.generation)

    def check(self) -> None:
        """Raise `BreakerOpen` while no call can be admitted, without asking for a permit."""
        now = self._clock()
        if not admit(self.state, now, self._options)[1]:
            raise self._refusal(now)

    def _refusal(self, now: float) -> BreakerOpen:
        wait = remaining(self.state, now, self._options) or 1.0  # a probe is under way; ask again in a moment
        until = datetime.fromtimestamp(now + wait, UTC)
        return BreakerOpen(f"{self.name} is left alone for {wait:.0f} s: {self.state.reason}", until=until)

    def decide(self, generation: int, failure: str | None) -> None:
        """Take a verdict on a call of that generation: None is a success, text names the failure."""
        if failure is None:
            self._become(succeed(self.state, generation))
        else:
            self._become(fail(self.state, generation, self._clock(), failure, self._options))

    def give_back(self, generation: int) -> None:
        """Take back a permit whose call ended without a verdict."""
        self._become(abandon(self.state, generation))

    def reset(self) -> None:
        """Close it by hand."""
        self._become(_enter(self.state, "closed", failures=0, opened_at=0.0, reason=""))

    def restore(self, state: State) -> None:
        """Continue from what was saved; a probe that was under way then is over, so half-open becomes open."""
        phase: Phase = "open" if state.phase == "half_open" else state.phase
        self.state = _enter(state, phase)

    def _become(self, state: State) -> None:
        changed = state.phase != self.state.phase
        self._opened += changed and state.phase == "open"
        self.state = state
        if changed and self.on_change is not None:
            self.on_change(self)

    def statistics(self) -> Statistics:
        """What a screen shows of it."""
        state = self.state
        return Statistics(
            name=self.name,
            phase=state.phase,
            failures=state.failures,
            opened_at=state.opened_at,
            reopens_in=remaining(state, self._clock(), self._options),
            reason=state.reason,
            refused=self._refused,
            opened=self._opened,
        )


class Permit:
    """The right to make one call; leaving the block undecided gives it back."""

    __slots__ = ("_breaker", "_decided", "_generation")

    def __init__(self, breaker: Breaker, generation: int) -> None:
        self._breaker = breaker
        self._generation = generation
        self._decided = False

    def succeed(self) -> None:
        """The upstream answered, even if with a refusal: it is up."""
        self._decided = True
        self._breaker.decide(self._generation, None)

    def fail(self, reason: str) -> None:
        """The upstream is down, in a few words."""
        self._decided = True
        self._breaker.decide(self._generation, reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._decided:
            self._breaker.give_back(self._generation)
