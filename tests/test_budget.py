from __future__ import annotations

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tds_runtime import Backoff, Budget, Context, Supervisor, actor, run
from tds_runtime.budget import Charge, Ledger, Spending
from tds_runtime.errors import BudgetExhausted, SpecError


@pytest.fixture
def anyio_backend(virtual_backend):
    return virtual_backend


def crashes_survived(budget: Budget, gaps: list[float]) -> int:
    """How many crashes of one child, `gaps` seconds of running apart, a budget survives."""
    ledger = Ledger(budget)
    now = 0.0
    for number, gap in enumerate(gaps):
        now += gap
        at = now
        if not ledger.charge(Charge("child", at), lambda _, at=at: at):
            return number
    return len(gaps)


def test_the_fourth_crash_in_a_window_of_three_is_one_too_many():
    """Budget(3, per=60) survives three crashes in a minute and not the fourth."""
    assert crashes_survived(Budget(3, per=60), [1, 1, 1, 1]) == 3


def test_the_window_is_inclusive():
    """Crashes exactly 20 s apart put four into a window of 60 s; 20.1 s apart they never do."""
    assert crashes_survived(Budget(3, per=60), [20] * 200) == 3
    assert crashes_survived(Budget(3, per=60), [20.1] * 200) == 200


def test_no_restart_at_all():
    """A budget of no restarts is used up by the first crash."""
    assert crashes_survived(Budget(0), [1]) == 0


@given(st.integers(0, 5), st.lists(st.integers(0, 50), max_size=40))
def test_a_budget_is_otps_sliding_window(restarts, gaps):
    """With one child and no backoff this is OTP's rule: more than `restarts` crashes within `per`, inclusive."""
    times = [sum(gaps[: n + 1]) for n in range(len(gaps))]
    expected = next(
        (n for n, now in enumerate(times) if sum(now - 60 <= then for then in times[: n + 1]) > restarts), len(gaps)
    )
    assert crashes_survived(Budget(restarts, per=60), list(map(float, gaps))) == expected


def test_a_large_budget_keeps_only_what_still_counts():
    """What has left the window is forgotten now and then, and a budget of hundreds is as exact as one of three."""
    ledger = Ledger(Budget(1_000_000, per=60))
    assert all(ledger.charge(Charge("child", at), lambda _, at=at: at) for at in range(10_000))
    assert len(ledger._charges) < 300
    assert crashes_survived(Budget(300, per=600), [2.0] * 1_000) == 300
    assert crashes_survived(Budget(300, per=600), [2.01] * 1_000) == 1_000


def test_a_crash_does_not_age_while_its_child_is_down():
    """The window's clock is the crashed child's own: another child's running time ages nothing."""
    ledger = Ledger(Budget(1, per=60))
    assert ledger.charge(Charge("a", 10), {"a": 10.0, "b": 0.0}.__getitem__)
    assert not ledger.charge(Charge("b", 1000), {"a": 10.0, "b": 1000.0}.__getitem__)


@pytest.mark.parametrize("options", [{"restarts": -1}, {"per": 0}])
def test_impossible_budgets_are_refused(options):
    """A budget that makes no sense is an error where it is written."""
    with pytest.raises(SpecError):
        Budget(**options)


@pytest.mark.anyio
async def test_backoff_never_empties_the_window():
    """A child that crashes at once is escalated after the same number of crashes however long its delays are."""

    @actor(backoff=Backoff(1000, 100_000, jitter=0))
    async def crasher(ctx: Context) -> None:
        ctx.ready()
        raise ValueError

    with pytest.raises(BudgetExhausted):
        async with run(Supervisor("tree", budget=Budget(3, per=60), children=[crasher()])):
            await anyio.sleep_forever()


def test_spending_tells_what_counts_now():
    """Of three crashes one has left the window; looking changes nothing."""
    ledger = Ledger(Budget(5, per=60))
    for at in (0.0, 50.0, 70.0):
        ledger.charge(Charge("child", at), lambda _, at=at: at)
    for _ in range(2):
        assert ledger.spending(lambda _: 100.0) == Spending(spent=2, restarts=5, per=60)
