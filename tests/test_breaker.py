from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tds_runtime import breaker
from tds_runtime.breaker import Breaker, Options, State
from tds_runtime.config import Duration
from tds_runtime.errors import BreakerOpen

OPTIONS = Options(failures=3, cool_down=Duration(60))


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    one = Breaker("books", OPTIONS, clock=clock)
    for _ in range(3):
        with one.admit() as permit:
            permit.fail("timeout")
    return one


def test_opens_at_the_limit() -> None:
    """The third failure in a row opens it, and a refusal says until when and why."""
    clock = Clock()
    one = opened(clock)
    assert one.state.phase == "open"
    with pytest.raises(BreakerOpen, match="timeout") as caught:
        one.admit()
    assert caught.value.until is not None
    assert caught.value.until.timestamp() == clock.now + 60
    assert one.statistics().refused == 1


def test_a_success_forgets_failures() -> None:
    """Only failures in a row count."""
    one = Breaker("books", OPTIONS, clock=Clock())
    for _ in range(10):
        for verdict in ("fail", "fail", "succeed"):
            with one.admit() as permit:
                permit.fail("503") if verdict == "fail" else permit.succeed()
    assert one.state.phase == "closed"


def test_one_probe_at_a_time() -> None:
    """After the cool-down one call probes and the others still wait."""
    clock = Clock()
    one = opened(clock)
    clock.now += 60
    permit = one.admit()
    with pytest.raises(BreakerOpen):
        one.admit()
    permit.succeed()
    assert one.state == State(generation=one.state.generation)
    one.admit()


def test_a_failed_probe_opens_again() -> None:
    """A probe that fails starts a new cool-down."""
    clock = Clock()
    one = opened(clock)
    clock.now += 61
    one.admit().fail("connect")
    assert one.statistics().reopens_in == 60
    assert one.statistics().opened == 2


def test_a_cancelled_probe_is_given_back() -> None:
    """A probe without a verdict lets the next call probe at once."""
    clock = Clock()
    one = opened(clock)
    clock.now += 60
    with one.admit():
        pass
    assert one.state.phase == "open"
    one.admit().succeed()
    assert one.state.phase == "closed"


def test_late_verdicts_are_ignored() -> None:
    """A call made before it opened decides nothing afterwards."""
    clock = Clock()
    one = Breaker("books", OPTIONS, clock=clock)
    late = one.admit()
    for _ in range(3):
        one.admit().fail("timeout")
    late.succeed()
    assert one.state.phase == "open"


def test_restored_after_a_restart() -> None:
    """What was open stays open for the rest of its cool-down, and a probe that died with its process is probed anew."""
    clock = Clock()
    saved = opened(clock).state
    clock.now += 50
    again = Breaker("books", OPTIONS, clock=clock)
    again.restore(saved)
    assert again.statistics().reopens_in == 10
    again.restore(State(phase="half_open", opened_at=clock.now - 60))
    again.admit().succeed()
    assert again.state.phase == "closed"


def test_a_clock_set_back_waits_one_cool_down_at_most() -> None:
    """A breaker opened "tomorrow" is probed after one cool-down."""
    clock = Clock()
    one = opened(clock)
    clock.now -= 86_400
    assert one.statistics().reopens_in == 60


def test_reset_by_hand_tells_the_listener() -> None:
    """A reset closes it and each change of phase is told once."""
    seen: list[str] = []
    one = opened(Clock())
    one.on_change = lambda changed: seen.append(changed.state.phase)
    one.reset()
    one.reset()
    assert seen == ["closed"]


@given(st.lists(st.tuples(st.sampled_from(["admit", "succeed", "fail", "abandon"]), st.floats(0, 90)), max_size=80))
def test_never_two_probes_and_never_open_without_failures(steps: list[tuple[str, float]]) -> None:
    """Whatever happens, at most one probe is out, it is open only after failures, and it can always be closed again."""
    clock, state, permits = 0.0, State(), []
    probe: int | None = None
    for step, passed in steps:
        clock += passed
        if step == "admit":
            before = state.phase
            state, admitted = breaker.admit(state, clock, OPTIONS)
            if admitted:
                permits.append(state.generation)
            if before == "open" and admitted:
                assert probe is None or probe != state.generation
                probe = state.generation
            assert admitted or before != "closed"
        elif permits:
            generation = permits.pop(0)
            if step == "succeed":
                state = breaker.succeed(state, generation)
            elif step == "fail":
                state = breaker.fail(state, generation, clock, "down", OPTIONS)
            else:
                state = breaker.abandon(state, generation)
        assert (state.phase == "closed") == (state.failures < OPTIONS.failures)
    if state.phase == "half_open":
        state = breaker.succeed(state, state.generation)
    state, admitted = breaker.admit(state, clock + 61, OPTIONS)
    assert admitted
