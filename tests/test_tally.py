"""Adding a comparison up: percentages and checksums as rules, whatever order records come in."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from fixtures.shipped import SHIPPED
from hypothesis import given
from hypothesis import strategies as st

from actors.reconciling.tally import LONGEST_VALUE, MOST_COLUMNS, Finding, Tally, of_counts
from actors.zoho.matching import Difference, Row

PRODUCT = SHIPPED["product"]
NAMES = [field.name for field in PRODUCT.target.fields]
RECORDS = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=5),
    st.tuples(st.text(max_size=5), st.none() | st.decimals(-10, 10, places=2)),
    max_size=12,
)


def values(name: str, price: Decimal | None) -> tuple[Any, ...]:
    return tuple({"name": name, "price": price}.get(column) for column in NAMES)


def tallied(theirs: Any, ours: Any, order: list[str]) -> Tally:
    """Both sides held against each other in this order of records."""
    tally = Tally(PRODUCT, most=3)
    for record in order:
        left = values(*theirs[record]) if record in theirs else None
        right = Row("1", values(*ours[record])) if record in ours else None
        if left is not None and right is not None and left == right.values:
            tally.match(record, left, right.values)
        else:
            kind = "missing" if right is None else "extra" if left is None else "different"
            tally.wrong(Finding(record=record, kind=kind), left, right)
    return tally


def outcome(tally: Tally) -> Any:
    return tally.outcome(counted=None, source=0, local=0, repairs=0, alarm="", note="", seconds=0)


@given(RECORDS, RECORDS, st.randoms())
def test_the_order_of_records_does_not_matter(theirs: Any, ours: Any, random: Any) -> None:
    """Percentage, checksums and sums are of what was compared, not of how it came."""
    order = sorted({*theirs, *ours})
    first = outcome(tallied(theirs, ours, order))
    random.shuffle(order)
    assert outcome(tallied(theirs, ours, order)) == first


@given(RECORDS, RECORDS)
def test_sides_are_equal_exactly_when_their_checksums_are(theirs: Any, ours: Any) -> None:
    """Equal sides have one checksum and match wholly; any difference shows in both."""
    found = outcome(tallied(theirs, ours, sorted({*theirs, *ours})))
    same = {key: values(*one) for key, one in theirs.items()} == {key: values(*one) for key, one in ours.items()}
    assert (found.source_checksum == found.local_checksum) is same
    assert (found.match_percentage == 100.0) is same
    assert 0 <= found.match_percentage <= 100


@given(RECORDS)
def test_values_that_change_places_change_the_checksum(records: Any) -> None:
    """Two records with each other's values are not what was there."""
    keys = sorted(records)
    turned = dict(zip(keys, [records[key] for key in keys[1:] + keys[:1]], strict=True))
    found = outcome(tallied(records, turned, keys))
    assert (found.source_checksum == found.local_checksum) is (records == turned)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_the_percentage_is_of_what_is_not_in_flight(
    matched: int, missing: int, extra: int, other: int, way: int
) -> None:
    """Matched among matched, missing, extra and different; nothing at all is a whole match."""
    tally = Tally(PRODUCT, most=3)
    for number in range(matched):
        tally.match(f"m{number}", values("x", None), values("x", None))
    for kind, count in (("missing", missing), ("extra", extra), ("different", other), ("in_flight", way)):
        for number in range(count):
            tally.wrong(Finding(record=f"{kind}{number}", kind=kind), None, None)  # type: ignore[arg-type] # the words of the literal
    whole = matched + missing + extra + other
    assert tally.percentage == (100.0 * matched / whole if whole else 100.0)
    assert len(tally.findings) == sum(min(3, count) for count in (missing, extra, other, way))


def test_a_finding_is_cut_to_what_people_read() -> None:
    """Long values and wide records cannot make a report grow without bound."""
    many = tuple(Difference(f"c{number}", "x" * 10_000, 1) for number in range(200))
    told = Finding(record="1", kind="different", differences=many).told
    assert len(told) == MOST_COLUMNS
    assert told["c0"] == {"source": "x" * LONGEST_VALUE, "local": 1}


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_counts_match_symmetrically(one: int, other: int) -> None:
    """Too many rows are as wrong as too few; equal counts match."""
    first = of_counts("product", one, other, sums={}, note="", seconds=0).match_percentage
    assert first == of_counts("product", other, one, sums={}, note="", seconds=0).match_percentage
    assert (first == 100.0) is (one == other)
