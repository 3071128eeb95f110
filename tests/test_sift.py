from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from fixtures.shipped import SHIPPED
from hypothesis import given
from hypothesis import strategies as st

from actors.pulling import sift
from actors.pulling.listings import Place, _ends_before, stamp
from actors.pulling.sift import Asked
from actors.zoho.listing import Leaf
from actors.zoho.pages import Page, Row
from tds_runtime.records import State

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
PRODUCT, INVOICE, BRANCH = SHIPPED["product"], SHIPPED["invoice"], SHIPPED["branch"]
ASKED = Asked(run_id=7, priority=30, correlation_id="c", observed_at=NOON)


def row(record: str = "1", *, at: datetime | None = NOON, facets: Any = None, valid: bool = True) -> Row:
    return Row(id=record, modified_at=at, raw=b"{}", facets={"list": "a"} if facets is None else facets, valid=valid)


def state(**more: Any) -> State:
    given = {"modified_at": NOON, "facets": {"list": "a"}, "current": frozenset({"list", "detail"}), **more}
    return State(**given)


def sifted(entity: Any, one: Row, known: State | None, **more: Any) -> list[str]:
    asked = Asked(run_id=7, priority=30, correlation_id="c", observed_at=NOON, **more)
    changes = sift.sift(entity, entity.sources[0], [one], {} if known is None else {one.id: known}, asked)
    return [change.operation for change in changes]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, ["upsert"]),
        (state(), []),
        (state(facets={"list": "b"}), ["upsert"]),
        (state(modified_at=NOON - timedelta(seconds=1)), ["upsert"]),
        (state(tombstoned_at=NOON), ["upsert"]),
        (state(current=frozenset()), ["upsert"]),
    ],
    ids=["new", "same", "content", "stamp", "tombstone", "facet-of-another-version"],
)
def test_what_is_stored_is_dropped(known: State | None, expected: list[str]) -> None:
    """A row is dropped only when this very version with this content is stored and alive."""
    assert sifted(PRODUCT, row(), known) == expected


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, ["fetch"]),
        (state(), []),
        (state(current=frozenset({"list"})), ["fetch"]),
        (state(modified_at=NOON + timedelta(hours=1)), []),
        (state(modified_at=NOON + timedelta(hours=1), tombstoned_at=NOON), ["fetch"]),
        (state(modified_at=None), ["fetch"]),
    ],
    ids=["new", "same", "detail-unknown", "older-than-stored", "tombstone", "stamp-unknown"],
)
def test_documents_are_fetched_when_newer(known: State | None, expected: list[str]) -> None:
    """A document's row costs a detail call only if its detail is not stored in this version or a newer one."""
    assert sifted(INVOICE, row(), known) == expected


def test_force_takes_everything() -> None:
    """A forced run drops nothing, and an unreadable row always goes on to be judged."""
    assert sifted(PRODUCT, row(), state(), force=True) == ["upsert"]
    assert sifted(PRODUCT, row(valid=False), state()) == ["upsert"]


def test_details_are_written_whatever_the_entity_prefers() -> None:
    """Rows of a bulk detail answer are documents already; they are never fetched again."""
    assert sifted(INVOICE, row(), None, kind="detail") == ["upsert"]


def test_absence_is_confirmed_by_a_call_of_its_own() -> None:
    """What was not listed is fetched; a whole list without detail calls is proof enough."""
    [invoice] = sift.confirmations(INVOICE, INVOICE.sources[0], ["9"], ASKED, "missing")
    [branch] = sift.confirmations(BRANCH, BRANCH.sources[0], ["9"], ASKED, "missing")
    assert (invoice.operation, invoice.observed_at) == ("fetch", None)
    assert (branch.operation, branch.observed_at) == ("delete", NOON)


def test_pictures_follow_their_document_id() -> None:
    """A picture is due when its document id is another one, also when it is gone."""
    raws = [b'{"image_document_id": "a"}', b'{"image_document_id": "b"}', b'{"image_document_id": ""}', b"{}", b"["]
    rows = [Row(id=str(place), modified_at=None, raw=raw, facets={}) for place, raw in enumerate(raws)]
    due = sift.pictures(rows, {"0": "a", "1": "a", "2": "a"}, ASKED)
    assert [(one.source_entity_id, one.variant, one.entity_type) for one in due] == [
        ("1", "b", "product_image"),
        ("2", "", "product_image"),
    ]


@given(st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)), st.integers(-720, 840))  # noqa: DTZ001 - a zone is added below
def test_stamps_are_what_the_source_takes(naive: datetime, minutes: int) -> None:
    """An offset without a colon, no fraction, no Z, and the same moment."""
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = stamp(moment)
    assert text.endswith("+0000")
    assert len(text) == len("2026-01-02T10:00:00+0300")
    read = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
    assert timedelta(0) <= moment - read < timedelta(seconds=1)


def page(*stamps: datetime | None, column: str = "last_modified_time") -> Page:
    return Page(rows=tuple(row(str(place), at=at) for place, at in enumerate(stamps)), sort_column=column)


def test_a_page_ends_a_listing_only_when_it_is_sorted() -> None:
    """Behind a page nothing newer comes only if it is sorted by modified time, and every row says its own."""
    hours = [NOON - timedelta(hours=number) for number in range(4)]
    mark = NOON - timedelta(hours=2, minutes=30)
    assert _ends_before(page(*hours), mark)
    assert not _ends_before(page(*hours[:3]), mark)
    assert not _ends_before(page(hours[1], hours[0], hours[3]), mark)
    assert not _ends_before(page(hours[0], None, hours[3]), mark)
    assert not _ends_before(page(*hours, column="name"), mark)
    assert not _ends_before(page(), mark)


def test_a_cursor_never_passes_the_listings_beginning() -> None:
    """What changed after the first page was asked for may have been missed by paging, so the cursor stays before it."""
    place = Place()
    for number, at in ((1, NOON - timedelta(hours=1)), (2, NOON + timedelta(hours=1))):
        leaf = Leaf(number=number, page=page(at), asked_at=0.0, sent_at=NOON + timedelta(minutes=number))
        place = place.after(leaf)
    assert place.page == 3
    assert place.cursor.modified_at == place.cursor.scanned_at == NOON + timedelta(minutes=1)
    assert Place(began=NOON).cursor.modified_at is None
