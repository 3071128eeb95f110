"""One mapped column: where its value stands, what it becomes, and what is refused."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.zoho import columns
from actors.zoho.columns import Missing, Unfit
from actors.zoho.finding import ABSENT
from actors.zoho.mapping import Column
from actors.zoho.walking import walker


def read(document: dict[str, Any], *, silent: bool = False, **column: Any) -> Any:
    return columns.reader(Column(**{"path": "x", **column}), silent=silent)(document)


@pytest.mark.parametrize("value", ["", None])
def test_empty_text_is_absent(value: Any) -> None:
    """The source writes "" for what it does not have, also where a number belongs: the default stands for it."""
    assert read({"x": value}, type="numeric") is None
    assert read({"x": value}, type="numeric", default=0) == 0


def test_an_absent_key_means_the_default_or_silence() -> None:
    """A whole document without the key means the default; a part of one says nothing."""
    assert read({}, default="d") == "d"
    assert read({}, default="d", silent=True) is ABSENT


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("text", "a", "a"),
        ("text", 12, "12"),
        ("text", Decimal("1.50"), "1.5"),
        ("text", True, "true"),
        ("integer", 5, 5),
        ("integer", "15", 15),
        ("integer", Decimal("15.0"), 15),
        ("numeric", 12, Decimal(12)),
        ("numeric", Decimal("12.50"), Decimal("12.5")),
        ("numeric", "12.50", Decimal("12.5")),
        ("numeric", "-1e3", Decimal(-1000)),
        ("boolean", True, True),
        ("boolean", "false", False),
        ("boolean", 1, True),
        ("date", "2026-01-31", date(2026, 1, 31)),
        ("timestamptz", "2026-01-31T10:00:00+0300", datetime(2026, 1, 31, 7, tzinfo=UTC)),
        ("timestamptz", "2026-01-31T10:00:00Z", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("jsonb", {"b": Decimal("1.0"), "a": None}, '{"a":null,"b":1.0}'),
        ("jsonb", [1], "[1]"),
    ],
)
def test_values_become_what_their_column_is(kind: Any, value: Any, expected: Any) -> None:
    """Each type takes what the source writes for it, and numbers stay exact."""
    found = read({"x": value}, type=kind)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("text", {"a": 1}, "is an object, not text"),
        ("text", [1, 2], "is a list of 2, not text"),
        ("text", "a\x00b", "contains a NUL character"),
        ("integer", "abc", "is text of 3 characters, not a whole number"),
        ("integer", Decimal("1.5"), "is a number, not a whole number"),
        ("integer", True, "is true or false, not a whole number"),
        ("integer", 2**63, "is out of range"),
        ("numeric", "abc", "is text of 3 characters, not a number"),
        ("numeric", "NaN", "is text of 3 characters, not a number"),
        ("numeric", "Infinity", "is text of 8 characters, not a number"),
        ("numeric", True, "is true or false, not a number"),
        ("numeric", Decimal("1E+400000"), "is out of range"),
        ("numeric", Decimal("1E-400000"), "is out of range"),
        ("numeric", Decimal("0." + "1" * 2000), "is out of range"),
        ("boolean", "maybe", "is text of 5 characters, not true or false"),
        ("boolean", 2, "is a number, not true or false"),
        ("date", "31.01.2026", "is text of 10 characters, not a date as 2026-01-31"),
        ("date", "2026-02-30", "is text of 10 characters, not a date as 2026-01-31"),
        ("timestamptz", "2026-01-31T10:00:00", "not a time with its offset"),
        ("timestamptz", "2026-01-31", "not a time with its offset"),
        ("timestamptz", "0001-01-01T00:00:00+1400", "not a time with its offset"),
        ("jsonb", {"a": "\x00"}, "contains a NUL character"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_class(kind: Any, value: Any, reason: str) -> None:
    """The reason says what kind of value it was and what was wanted, and never the value."""
    with pytest.raises(Unfit) as refused:
        read({"x": value}, type=kind)
    assert reason in str(refused.value)


def test_an_escaped_backslash_is_no_nul() -> None:
    """JSON text that spells backslash-u-0000 literally is kept: there is no NUL in it."""
    assert read({"x": {"a": "\\u0000"}}, type="jsonb") == '{"a":"\\\\u0000"}'


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ({"a": {"b": [{"c": "z"}]}}, "a.b.0.c", "z"),
        ({"a": {"b": []}}, "a.b.0.c", None),
        ({"a": "text"}, "a.b", None),
        ({"b": "2"}, ["a", "b"], "2"),
        ({"a": "", "b": "2"}, ["a", "b"], "2"),
        ({"a": "1", "b": "2"}, ["a", "b"], "1"),
        ({"a": ""}, ["a", "b"], None),
    ],
)
def test_a_path_finds_its_value(document: dict[str, Any], path: Any, expected: Any) -> None:
    """Dots go inwards, numbers into lists, and of several paths the first that holds something counts."""
    assert read(document, path=path) == expected


@pytest.mark.parametrize("pattern", ["cf_*", "cf_*_x"])
def test_a_pattern_gathers_keys(pattern: str) -> None:
    """A pattern makes an object of every key that matches, and is absent when none does."""
    assert read({"cf_a_x": 1, "other": 2}, path=pattern, type="jsonb") == '{"cf_a_x":1}'
    assert read({"other": 2}, path=pattern, type="jsonb", silent=True) is ABSENT


def test_text_is_transformed_in_order() -> None:
    """Trimming may leave nothing, and nothing may mean null."""
    assert read({"x": " A@B "}, transform=["trim", "lower"]) == "a@b"
    assert read({"x": "   "}, transform=["trim"], default="d") == ""
    assert read({"x": "   "}, transform=["trim", "empty_to_null"], default="d") == "d"


def test_limits_are_kept() -> None:
    """Range, length and required are checked; a scale rounds half to even."""
    assert read({"x": Decimal("2.345")}, type="numeric", scale=2) == Decimal("2.34")
    assert read({"x": 5}, type="numeric", range=[0, 5]) == 5
    with pytest.raises(Unfit, match="not between 0 and 5"):
        read({"x": 6}, type="numeric", range=[0, 5])
    with pytest.raises(Unfit, match="longer than 3 characters"):
        read({"x": "abcd"}, max_length=3)
    with pytest.raises(Missing):
        read({}, required=True)
    with pytest.raises(Missing):
        read({}, required=True, silent=True)


def test_a_word_makes_a_boolean() -> None:
    """`equals` is true for its words and false for every other."""
    assert read({"x": "active"}, type="boolean", equals="active") is True
    assert read({"x": "inactive"}, type="boolean", equals=["active", "confirmed"]) is False
    assert read({"x": ""}, type="boolean", equals="active", default=True) is True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    value=json_values, kind=st.sampled_from(["text", "integer", "numeric", "boolean", "date", "timestamptz", "jsonb"])
)
def test_any_value_is_taken_or_refused(value: Any, kind: Any) -> None:
    """Whatever a document holds, a reader gives a value of its type or says `Unfit`, and nothing else."""
    types = {"text": str, "integer": int, "numeric": Decimal, "boolean": bool, "date": date, "jsonb": str}
    try:
        found = read({"x": value}, type=kind)
    except Unfit:
        return
    assert found is None or isinstance(found, types.get(kind, datetime))


@given(number=st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=6))
def test_equal_numbers_are_written_alike(number: Decimal) -> None:
    """A number keeps its exact value, and trailing zeros do not make another number of it."""
    found = read({"x": number}, type="numeric")
    assert found == number
    longer = f"{number:f}" + ("0" if "." in f"{number:f}" else ".0")
    assert str(found) == str(read({"x": Decimal(longer)}, type="numeric"))


SCALARS = st.none() | st.booleans() | st.integers() | st.decimals() | st.text(max_size=30) | st.just("2026-01-31")
SHAPES = st.builds(
    Column,
    path=st.sampled_from(["x", ["x", "y"], "x.z", "x*"]),
    type=st.sampled_from(["text", "integer", "numeric", "boolean", "date", "timestamptz", "jsonb"]),
    required=st.booleans(),
    transform=st.sampled_from([[], ["trim"], ["empty_to_null"]]),
)


@given(SHAPES, st.booleans(), st.dictionaries(st.sampled_from(["x", "y", "xz"]), SCALARS))
def test_a_walk_reads_as_the_readers_do(column: Column, silent: bool, document: dict[str, Any]) -> None:
    """Whatever a document holds, all columns at once become what each becomes by itself, or are refused alike."""
    outcomes: list[Any] = []
    for read_all in (
        walker([(column, silent), None]),
        lambda found: [columns.reader(column, silent=silent)(found), ABSENT],
    ):
        try:
            outcomes.append(repr(read_all(document)))
        except Unfit as error:
            outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1]
