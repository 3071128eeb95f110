"""Mapping a document once where it is compared and then written: the same object only, once, and not too many."""

from __future__ import annotations

import json

import pytest
from fixtures.documents import item
from fixtures.shipped import SHIPPED

from actors.zoho.documents import Shape
from actors.zoho.drafts import Drafts

PRODUCT = SHIPPED["product"]


def row(record: str) -> bytes:
    return json.dumps(item(record)).encode()


def test_what_was_mapped_is_taken_once() -> None:
    """The draft of a body is the result of mapping it, and is gone once it was taken."""
    drafts, body = Drafts(), row("1")
    mapped = PRODUCT.map(body, "list")
    drafts.keep(body, "list", "", mapped)
    assert drafts.take(body, "list", "") is mapped
    assert drafts.take(body, "list", "") is None


def test_another_body_reading_or_variant_has_no_draft() -> None:
    """Equal bytes may be another record's answer, and the same bytes mean something else as another kind."""
    drafts, body = Drafts(), row("1")
    mapped = PRODUCT.map(body, "list")
    for taken in ((bytes(bytearray(body)), "list", ""), (body, "detail", ""), (body, "list", "other")):
        drafts.keep(body, "list", "", mapped)
        assert drafts.take(*taken) is None


def test_the_oldest_leave() -> None:
    """What nobody takes is forgotten when as many as may be kept have come after it."""
    drafts, bodies = Drafts(most=2), [row(str(number)) for number in range(3)]
    for body in bodies:
        drafts.keep(body, "list", "", PRODUCT.map(body, "list"))
    assert len(drafts) == 2
    assert drafts.take(bodies[0], "list", "") is None
    assert drafts.take(bodies[2], "list", "") is not None


def test_an_entity_maps_no_body_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks an entity to map a body that has a draft gets that, and the record's id is checked all the same."""
    body = row("1")
    mapped = PRODUCT.map(body, "list", record_id="1")
    PRODUCT.drafts.keep(body, "list", "", mapped)
    monkeypatch.delattr(Shape, "map")
    assert PRODUCT.map(body, "list", record_id="1") is mapped
