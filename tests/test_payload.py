"""Bytes from outside: decoded exactly, or refused in one way whatever is wrong with them."""

from contextlib import suppress
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.zoho import payload
from actors.zoho.payload import Malformed


def test_fractions_stay_exact() -> None:
    """A fraction comes from its own digits, never through a float."""
    assert payload.parse(b'{"a": 0.1, "b": 12345678901234567.89}') == {
        "a": Decimal("0.1"),
        "b": Decimal("12345678901234567.89"),
    }


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "truncated"),
        (b"{", "truncated"),
        (b'{"a": NaN}', "invalid character"),
        (b"\xff", "malformed"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\\ud800"}', "truncated"),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deep"),
        (b'{"a": ' + b"9" * 100_000 + b"}", "out of range"),
        (b'{"a": 1e99999999999999999999}', "out of range"),
    ],
)
def test_poison_is_malformed(body: bytes, reason: str) -> None:
    """Too deep, too great, cut off or not UTF-8: all of it is `Malformed`, and nothing else is raised."""
    with pytest.raises(Malformed, match=reason):
        payload.parse(body)


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    """No bytes raise anything but `Malformed`, in any of the shapes a delivery has."""
    for content_type in ("application/json", payload.FORM):
        with suppress(Malformed):
            payload.delivered(body, content_type)


def test_a_delivery_has_three_shapes() -> None:
    """JSON, JSON in the form field JSONString, and plain form fields say the same."""
    text = '{"item": {"item_id": "1"}}'
    form = "application/x-www-form-urlencoded; charset=UTF-8"
    assert payload.delivered(text.encode(), "application/json") == {"item": {"item_id": "1"}}
    assert payload.delivered(urlencode({"JSONString": text}).encode(), form) == {"item": {"item_id": "1"}}
    assert payload.delivered(b"item_id=1&name=", form) == {"item_id": "1", "name": ""}


def test_canonical_text_does_not_depend_on_order() -> None:
    """Two objects that are equal have one text, however their keys were written."""
    assert payload.canonical({"b": 1, "a": {"d": 2, "c": 3}}) == payload.canonical({"a": {"c": 3, "d": 2}, "b": 1})


def test_fingerprints_tell_values_apart() -> None:
    """Equal values have one fingerprint, and null, empty and zero are different."""
    assert payload.fingerprint(("a", Decimal("1.5"))) == payload.fingerprint(["a", Decimal("1.5")])
    assert len({payload.fingerprint([value]) for value in (None, "", 0, "0", False, Decimal(0))}) == 5
