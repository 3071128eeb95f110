from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fixtures.shipped import SHIPPED

from actors.zoho.picking import pickers
from tds_runtime.errors import SourceAnswerInvalid

PICKERS = pickers(SHIPPED)
SAMPLES = Path(__file__).parent / "samples"


@pytest.mark.parametrize(
    ("name", "variant", "sample"),
    [
        ("invoice", "", "invoice_detail.json"),
        ("product", "", "item_detail_inventory.json"),
        ("payment", "customer", "customerpayment_detail.json"),
        ("payment", "vendor", "vendorpayment_detail.json"),
        ("price_list", "", "pricebook_detail_per_item.json"),
        ("stock_adjustment", "", "inventoryadjustment_detail.json"),
    ],
)
def test_it_reads_what_the_entity_reads(name: str, variant: str, sample: str) -> None:
    """Id, stamp and bytes are the same as by the whole mapping."""
    entity, body = SHIPPED[name], (SAMPLES / sample).read_bytes()
    source = entity.source(variant)
    row, found = entity.read_detail(source, body), PICKERS[name].detail(source, body)
    assert (found.id, found.modified_at, found.raw) == (row.id, row.modified_at, row.raw)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"code": 0}',
        b'{"invoice": []}',
        b'{"invoice": {}}',
        b'{"invoice": {"invoice_id": ""}}',
        b'{"invoice": {"invoice_id": "1"',
        b'{"invoice": ' + b'{"a":' * 100_000,
    ],
)
def test_what_is_no_record_is_said(body: bytes) -> None:
    """A body without the record, or without its id, is an invalid answer, however it is broken."""
    with pytest.raises(SourceAnswerInvalid):
        PICKERS["invoice"].detail(SHIPPED["invoice"].source(), body)


def test_a_stamp_that_is_none_is_left_to_the_entity() -> None:
    """A record whose stamp cannot be read still goes to its entity, which says what is wrong."""
    body = json.dumps({"invoice": {"invoice_id": "1", "last_modified_time": "yesterday"}}).encode()
    assert PICKERS["invoice"].detail(SHIPPED["invoice"].source(), body).modified_at is None
    body = json.dumps({"invoice": {"invoice_id": "1", "last_modified_time": "2026-01-02T10:00:00+0300"}}).encode()
    found = PICKERS["invoice"].detail(SHIPPED["invoice"].source(), body)
    assert found.modified_at == datetime(2026, 1, 2, 7, tzinfo=UTC)


@pytest.mark.parametrize("name", SHIPPED.names)
def test_it_lists_what_the_entity_lists(name: str) -> None:
    """Rows, their content when it is asked for, and the context are the same as by the whole mapping."""
    entity = SHIPPED[name]
    for source in entity.sources:
        for sample in SAMPLES.glob("*_list*.json"):
            body = sample.read_bytes()
            try:
                expected = entity.read_page(source, body)
            except SourceAnswerInvalid:
                continue
            page = PICKERS[name].page(source, body)
            assert (page.has_more, page.page, page.sort_column) == (
                expected.has_more,
                expected.page,
                expected.sort_column,
            )
            assert [(row.id, row.modified_at, row.raw, row.valid) for row in page.rows] == [
                (row.id, row.modified_at, row.raw, row.valid) for row in expected.rows
            ]
            if not source.name:
                assert [row.facets for row in page.rows if row.valid] == [
                    row.facets for row in expected.rows if row.valid
                ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"code": 0}',
        b'{"items": {}}',
        b'{"items": [1]}',
        b'{"items": [{}]}',
        b'{"items": [{"item_id": ""}]}',
        b'{"items": [{"item_id": "1"}], "page_context": []}',
        b'{"items": [{"item_id": "1"}',
        b'{"items": [{"item_id": "1", "x": ' + b"[" * 100_000,
    ],
)
def test_what_is_no_page_is_said(body: bytes) -> None:
    """A page that is cut off, or has a record without an id, is an invalid answer as a whole."""
    with pytest.raises(SourceAnswerInvalid):
        PICKERS["product"].page(SHIPPED["product"].source(), body)


def test_a_record_that_cannot_be_mapped_is_listed_all_the_same() -> None:
    """A row without its required name is a row; what is wrong with it is found out when it is its turn."""
    body = b'{"items": [{"item_id": "1", "rate": "many"}, {"item_id": 2, "name": "Two"}]}'
    [first, second] = PICKERS["product"].page(SHIPPED["product"].source(), body).rows
    assert (first.id, first.valid, second.id, second.valid) == ("1", False, "2", True)
