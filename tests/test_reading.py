from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from fixtures.shipped import SHIPPED
from hypothesis import given
from hypothesis import strategies as st

from actors.zoho import payload
from actors.zoho.documents import RecordInvalid
from actors.zoho.entities import Entity
from actors.zoho.payload import Malformed
from actors.zoho.reading import Reader

SAMPLES = Path(__file__).parent / "samples"
DETAILS = {
    "bill": "bill_detail",
    "credit_note": "creditnote_detail",
    "customer": "contact_detail",
    "invoice": "invoice_detail",
    "payment": "customerpayment_detail",
    "price_list": "pricebook_detail_volume",
    "product": "item_detail_inventory",
    "sales_order": "salesorder_detail",
    "stock_adjustment": "inventoryadjustment_detail",
    "user": "user_detail",
}
STRANGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def record(name: str) -> dict[str, Any]:
    """The record inside the recorded detail."""
    answer = msgspec.json.decode((SAMPLES / f"{DETAILS[name]}.json").read_bytes())
    found: dict[str, Any] = answer[SHIPPED[name].source("customer").detail_key]
    return found


def mapped(entity: Entity, document: Any) -> Any:
    """What an entity makes of a document, or why it makes nothing of it."""
    try:
        return entity.shape.map(document, "detail", "")
    except RecordInvalid as error:
        return str(error)


@pytest.mark.parametrize("name", ["customer", "invoice", "price_list", "product"])
@given(data=st.data())
def test_what_is_read_maps_as_the_whole_does(name: str, data: st.DataObject) -> None:
    """With any keys changed, left out or added, known ones or not, a document maps just as when all of it is read."""
    entity, document = SHIPPED[name], record(name)
    reader = Reader(entity.mapping)
    reader.read(msgspec.json.encode(document))
    keys = st.sampled_from(sorted(document)) | st.sampled_from(["cf_new", "total_formatted", "nobody_knows"])
    changed = document | data.draw(st.dictionaries(keys, STRANGE, max_size=4))
    for gone in data.draw(st.lists(st.sampled_from(sorted(changed)), max_size=3)):
        changed.pop(gone, None)
    body = msgspec.json.encode(changed)
    whole = mapped(entity, payload.parse(body))
    assert mapped(entity, reader.read(body)) == whole
    assert mapped(entity, reader.read(body)) == whole


@pytest.mark.parametrize("name", DETAILS)
def test_only_what_is_wanted_is_read(name: str) -> None:
    """Once a source is known, its records come with a part of their keys."""
    reader, body = Reader(SHIPPED[name].mapping), msgspec.json.encode(record(name))
    first, second = reader.read(body), reader.read(body)
    assert second.keys() < first.keys()
    assert all(second[key] == first[key] for key in second if not isinstance(second[key], list | dict))


def test_rows_inside_are_read_by_their_columns() -> None:
    """A line of a document keeps its mapped keys only."""
    reader, body = Reader(SHIPPED["invoice"].mapping), msgspec.json.encode(record("invoice"))
    first, second = reader.read(body)["line_items"], reader.read(body)["line_items"]
    assert [line.keys() < whole.keys() for line, whole in zip(second, first, strict=True)] == [True] * len(first)


def test_keys_of_a_pattern_are_learnt() -> None:
    """A key that only a pattern knows costs one record its speed, not all; its value is kept where it is wanted."""
    reader, document = Reader(SHIPPED["product"].mapping), record("product")
    reader.read(msgspec.json.encode(document))
    more = msgspec.json.encode(document | {"cf_shade": "red", "rate_formatted": "1"})
    reader.read(more)
    found = reader.read(more)
    assert found["cf_shade"] == "red"
    assert "rate_formatted" not in found


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"invoice_id": ' + b"[" * 100_000, b'{"invoice_id": 1e99999999999999999999}']
)
def test_what_is_no_document_is_said(body: bytes) -> None:
    """Bytes that are no document are refused, whatever was read before."""
    reader = Reader(SHIPPED["invoice"].mapping)
    reader.read(msgspec.json.encode(record("invoice")))
    with pytest.raises(Malformed):
        reader.read(body)


@pytest.mark.parametrize("body", [b"[]", b"1", b"null"])
def test_what_is_no_object_is_left_to_who_asked(body: bytes) -> None:
    """A document that is no object is read as it is."""
    reader = Reader(SHIPPED["invoice"].mapping)
    reader.read(msgspec.json.encode(record("invoice")))
    assert reader.read(body) == msgspec.json.decode(body)
