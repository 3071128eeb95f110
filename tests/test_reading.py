from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from actors.fetching.reading import Reader
from actors.zoho import entities
from tds_runtime.errors import SourceAnswerInvalid

MAPPED = entities.load(Path(__file__).parents[1] / "config" / "entities")
READER = Reader(MAPPED)
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
    entity, body = MAPPED[name], (SAMPLES / sample).read_bytes()
    source = entity.source(variant)
    row, found = entity.read_detail(source, body), READER.read(entity, source, body)
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
        READER.read(MAPPED["invoice"], MAPPED["invoice"].source(), body)


def test_a_stamp_that_is_none_is_left_to_the_entity() -> None:
    """A record whose stamp cannot be read still goes to its entity, which says what is wrong."""
    body = json.dumps({"invoice": {"invoice_id": "1", "last_modified_time": "yesterday"}}).encode()
    assert READER.read(MAPPED["invoice"], MAPPED["invoice"].source(), body).modified_at is None
    body = json.dumps({"invoice": {"invoice_id": "1", "last_modified_time": "2026-01-02T10:00:00+0300"}}).encode()
    found = READER.read(MAPPED["invoice"], MAPPED["invoice"].source(), body)
    assert found.modified_at == datetime(2026, 1, 2, 7, tzinfo=UTC)
