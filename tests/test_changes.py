"""What a document changes in a row, and what the audit trail says of it."""

import json
from decimal import Decimal
from typing import Any

from actors.zoho import changes, rows
from actors.zoho.documents import Mapped
from actors.zoho.finding import ABSENT
from actors.zoho.target import Field

FIELDS = (
    Field(name="name", type="text"),
    Field(name="price", type="numeric", default=Decimal(0)),
    Field(name="note", type="text", facet="detail"),
    Field(name="extra", type="jsonb"),
    Field(name="shelf", type="text", local=True),
)


def mapped(*values: Any) -> Mapped:
    return Mapped(
        id="1", variant="", modified_at=None, values=values, facets={"list": "h", "detail": "h"},
        partial=frozenset(), children={}, unknown=frozenset(),
    )  # fmt: skip


OLD = ("a", Decimal(1), "old", '{"x":1}', "A1")


def test_a_new_row_takes_defaults_for_what_is_unsaid() -> None:
    """Everything is written when the row is new, the ERP's own columns included."""
    assert changes.merged(FIELDS, mapped("a", ABSENT, ABSENT, None, "B2"), None, {"list"}) == (
        "a", Decimal(0), None, None, "B2",
    )  # fmt: skip


def test_only_the_facets_at_hand_are_written() -> None:
    """Other facets, silent columns and the ERP's own keep what stands there."""
    assert changes.merged(FIELDS, mapped("b", ABSENT, "new", None, "B2"), OLD, {"list"}) == (
        "b", Decimal(1), "old", None, "A1",
    )  # fmt: skip


def test_differences_are_told_by_column() -> None:
    """Of a change only what differs, of a row that comes or goes all that is not null."""
    new = ("a", Decimal(2), None, '{"x":2}', "A1")
    before, after = changes.difference(FIELDS, OLD, new)
    assert json.loads(changes.encoded(before) or "") == {"price": 1, "note": "old", "extra": {"x": 1}}
    assert json.loads(changes.encoded(after) or "") == {"price": 2, "note": None, "extra": {"x": 2}}
    assert changes.difference(FIELDS, None, new)[0] is None
    assert set(changes.difference(FIELDS, None, new)[1] or {}) == {"name", "price", "extra", "shelf"}
    assert changes.difference(FIELDS, OLD, None)[1] is None
    assert changes.encoded(None) is None


def test_stored_values_are_brought_into_mapped_form() -> None:
    """JSON text and numbers compare equal to what mapping makes of the same values."""
    stored = changes.stored_values(FIELDS, ("a", Decimal("1.00"), None, '{"b": 1, "a": 2.50}', None))
    assert stored == ("a", Decimal(1), None, '{"a":2.50,"b":1}', None)
    assert str(stored[1]) == "1"


def test_only_children_that_differ_are_touched() -> None:
    """Vanished keys are removed, new and changed rows written, and equal ones left alone; local columns stay."""
    fields = (Field(name="amount", type="integer"), Field(name="mark", type="text", local=True))
    old = {"1": (5, "x"), "2": (6, "y"), "3": (7, None)}
    new = {"2": (6, None), "3": (8, None), "4": (9, "n")}
    removed, written = changes.children_difference(fields, old, new)
    assert (removed, written) == (["1"], {"3": (8, None), "4": (9, "n")})
    before, after = changes.children_audit(fields, old, removed, written)
    assert before == {"1": {"amount": 5, "mark": "x"}, "3": {"amount": 7}, "4": None}
    assert after == {"1": None, "3": {"amount": 8}, "4": {"amount": 9, "mark": "n"}}


def test_rows_travel_as_json() -> None:
    """In texts nulls are left out, numbers stay numbers, JSON columns are embedded; columns come one by one."""
    text = rows.row_text(("id", "odd$name", *(field.name for field in FIELDS)), {"extra"})
    assert text(("7", None, *OLD)) == '{"id":"7","name":"a","price":1,"note":"old","extra":{"x":1},"shelf":"A1"}'
    assert text((None, "x", None, None, None, None, None)) == '{"odd$name":"x"}'
    assert rows.columns([("7", *OLD), ("8", *[None] * len(OLD))])[1:5] == [
        '["a",null]', "[1,null]", '["old",null]', r'["{\"x\":1}",null]',
    ]  # fmt: skip
    assert rows.joined("{}", '{"a":1}') == '{"a":1}'
