from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pulling import affording, planning, reckoning
from actors.pulling.planning import Plan
from actors.pulling.purses import Purse, Share
from actors.zoho.listing import pages as pages_of

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def plan(needed: int, api: str = "books") -> Plan:
    return Plan(calls=needed, pages=1, details=needed - 1, apis={api: Share(needed=needed)})


def purse(left: int | None, a_day: int = 1000) -> Purse:
    return Purse(a_day=a_day, kept=a_day // 10, left=left, resets_at=NOON)


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)), st.integers(0, 61))
def test_details_are_exact_where_changes_are_counted(there: set[int], here: set[int], cursor: int) -> None:
    """With every record stamped by its number and stored as it is there, exactly the ones not stored are due."""
    here &= there
    due = reckoning.details(
        records=len(there),
        changed=sum(one >= cursor for one in there),
        stored=len(here),
        newer=sum(one >= cursor for one in here),
    )
    assert due == len(there - here)


def test_details_without_a_count_of_changes() -> None:
    """Where the source cannot count changes, what is not stored at all is due, and never less than nothing."""
    assert reckoning.details(records=10, changed=None, stored=7, newer=0) == 3
    assert reckoning.details(records=7, changed=None, stored=10, newer=0) == 0


@pytest.mark.parametrize(("records", "expected"), [(0, 1), (1, 1), (200, 1), (201, 2), (1312, 7)])
def test_pages(records: int, expected: int) -> None:
    """A listing takes a call at least, also when there is nothing."""
    assert pages_of(records, 200) == expected


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.integers(1, 900), max_size=8), st.integers(0, 1500))
def test_never_more_is_begun_than_is_left(needs: dict[str, int], left: int) -> None:
    """What begins fits together, nothing is refused that is cheaper than what begins, and whoever insists begins."""
    plans = {name: plan(needed) for name, needed in needs.items()}
    found = planning.allot(plans, {"books": purse(left)})
    begun = [one.calls for one in found.values() if not one.refused]
    refused = [one.calls for one in found.values() if one.refused]
    assert sum(begun) <= left
    assert not (begun and refused) or max(begun) <= min(refused)
    assert not refused or sum(begun) + min(refused) > left
    insisted = planning.allot(plans, {"books": purse(left)}, insist=True)
    assert not any(one.refused for one in insisted.values())


def test_a_refusal_says_what_and_until_when_and_how_to_insist() -> None:
    """The reason names the need, what is left, the day's calls, its end, and the words that overrule it."""
    [refused] = planning.allot({"invoice": plan(1207)}, {"books": purse(900)}).values()
    for words in ("1207 calls to books", "900 of the day's 1000", "2026-11-27 12:00 UTC", "--insist", '"insist": true'):
        assert words in refused.refused


def test_a_listing_alone_need_not_wait_for_promised_calls() -> None:
    """Where a thousand details wait for tomorrow, a listing of one page goes on, and one more detail does not."""
    full = Purse(a_day=1000, left=0, waiting=1000, resets_at=NOON)
    pages, more = Plan(calls=1, pages=1, apis={"books": Share(needed=1)}), plan(2)
    found = planning.allot({"user": pages, "bill": more}, {"books": full})
    assert (found["user"].refused, bool(found["bill"].refused)) == ("", True)


def test_who_counts_nothing_refuses_nothing() -> None:
    """Without a told budget every plan begins; the other API's budget is no obstacle either."""
    found = planning.allot({"a": plan(5000)}, {"books": purse(None), "inventory": purse(0)})
    assert found["a"].refused == ""


def test_the_plan_of_everything_adds_up() -> None:
    """Its sums are those of its parts, by API, and it names the parts that do not begin."""
    found = {"books": purse(100), "inventory": purse(100)}
    parts = planning.allot({"a": plan(60), "b": plan(70), "c": plan(10, "inventory")}, found)
    everything = planning.whole(parts, found)
    assert (everything.calls, everything.apis["books"].needed, everything.apis["inventory"].needed) == (140, 130, 10)
    assert everything.refused == "not begun: b"


@given(st.integers(1, 2000), st.integers(0, 10_000), st.integers(60, 86_400))
def test_sweeps_last_to_the_end_of_the_day(needed: int, left: int, seconds: int) -> None:
    """Swept as often as is allowed, a day's rest is not used up before its end, whatever a sweep takes."""
    again = affording.sweep_again(needed, purse(left), NOON - timedelta(seconds=seconds))
    assert 0 < again <= seconds
    assert again == seconds or seconds / again * needed <= left


def test_a_rich_day_is_swept_at_every_slot() -> None:
    """1,312 items on Inventory's Standard plan are swept each quarter of an hour, on the Free one each third slot."""
    midnight = NOON - timedelta(days=1)
    assert affording.sweep_again(14, purse(2000), midnight) < 900
    assert 1800 < affording.sweep_again(14, purse(800), midnight) < 2700
