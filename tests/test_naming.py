"""Which record a delivery is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import urlencode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.zoho.mapping import Record, Webhook
from actors.zoho.naming import UNKNOWN, Kind, Named, Names, identifier, kinds

SAMPLES = Path(__file__).parent / "samples"
JSON, FORM = "application/json; charset=UTF-8", "application/x-www-form-urlencoded"
STAMP = "2026-01-02T10:00:00+0300"
MOMENT = datetime(2026, 1, 2, 7, tzinfo=UTC)
DATED = Named(entity="product", record="1", modified_at=MOMENT)


def kind(entity: str, paths: list[str], keys: dict[str, str], record_id: str, **more: dict[str, str]) -> Kind:
    record = Record(id=record_id, modified=["last_modified_time", "updated_time", "page.modified"])
    return Kind(entity=entity, webhook=Webhook(paths=paths, keys=keys, **more), record=record)


NAMES = Names(
    [
        kind("product", ["products"], {"item": ""}, "item_id"),
        kind("customer", ["customers"], {"contact": ""}, "contact_id", when={"contact_type": "customer"}),
        kind("vendor", ["vendors"], {"contact": ""}, "contact_id", when={"contact_type": "vendor"}),
        kind("payment", ["payments"], {"payment": "customer", "vendorpayment": "vendor"}, "payment_id"),
        kind("stock_adjustment", ["stock"], {"inventory_adjustment": ""}, "inventory_adjustment_id"),
    ]
)


def name(segment: str, document: object, query: str = "", **more: bool) -> Named:
    return NAMES.name(segment, query, JSON, msgspec.json.encode(document), **more)


@pytest.mark.parametrize(
    ("sample", "segment", "entity", "record"),
    [
        ("webhook_item_default.json", "products", "product", "5260000000000010001"),
        ("webhook_item_default.json", "", "product", "5260000000000010001"),
        ("webhook_contact_default.json", "customers", "customer", "5260000000000020001"),
    ],
)
def test_the_recorded_shapes_are_named(sample: str, segment: str, entity: str, record: str) -> None:
    """The default payloads give entity, id and an aware modified time, on their own route and on the one for all."""
    named = NAMES.name(segment, "", JSON, (SAMPLES / sample).read_bytes())
    assert (named.entity, named.record, named.operation) == (entity, record, "upsert")
    assert named.modified_at is not None
    assert named.modified_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("segment", "document", "expected"),
    [
        ("products", {"item": {"item_id": "1", "last_modified_time": STAMP}}, DATED),
        ("products", {"item": {"item_id": 1}}, Named(entity="product", record="1")),
        ("products", {"item_id": "1", "name": "flat"}, Named(entity="product", record="1")),
        ("stock", {"item": {"item_id": "1"}}, Named(entity="product", record="1")),
        ("customers", {"contact": {"contact_id": "2", "contact_type": "vendor"}}, Named(entity="vendor", record="2")),
        ("vendors", {"contact": {"contact_id": "2"}}, Named(entity="vendor", record="2")),
        ("payments", {"payment": {"payment_id": "3"}}, Named(entity="payment", record="3", variant="customer")),
        ("payments", {"vendorpayment": {"payment_id": "3"}}, Named(entity="payment", record="3", variant="vendor")),
        ("products", {"item": {"item_id": "1", "updated_time": STAMP}}, DATED),
        ("products", {"event_id": "e7", "item": {"item_id": "1"}}, Named(entity="product", record="1", event_id="e7")),
        ("products", {"item": {"item_id": "1", "page": {"modified": STAMP}}}, DATED),
        ("", {"something": {"else": 1}}, Named(entity=UNKNOWN)),
        ("nowhere", {"something": {"else": 1}}, Named(entity=UNKNOWN)),
    ],
)
def test_route_and_key_decide_together(segment: str, document: object, expected: Named) -> None:
    """The top-level key wins over the route, a field that contradicts wins over both, and flat bodies go by route."""
    assert name(segment, document) == expected


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize(
    ("query", "document"),
    [
        ("event=item_deleted", {"item": {"item_id": "1"}}),
        ("event=Item.Delete", {"item": {"item_id": "1"}}),
        ("", {"event_type": "item_deleted", "item": {"item_id": "1"}}),
    ],
)
def test_a_deletion_is_told_by_query_or_body(query: str, document: object, deleted: bool) -> None:
    """Deleted by `?event=..._deleted` or by an event key, which are signed: on any route they mean the same."""
    named = name("products", document, query, deleted=deleted)
    assert (named.operation, named.record) == ("delete", "1")


def test_a_deletion_told_by_the_route_alone_is_doubted() -> None:
    """No route is signed, so a captured change may be sent there again: it only makes the daemon ask the source."""
    assert name("products", {"item": {"item_id": "1"}}, deleted=True) == Named(
        entity="product", record="1", operation="fetch"
    )
    changed = name("products", {"item": {"item_id": "1"}}, "event=item_edited", deleted=True)
    assert changed.operation == "fetch"


def test_a_deletion_of_nobody_knows_what_is_one_all_the_same() -> None:
    """Without an id there is nothing to ask for: it stays a deletion, to be found among the dead letters."""
    assert name("products", {"item": {}}, deleted=True) == Named(entity="product", operation="delete")


def test_other_events_are_changes() -> None:
    """`item_edited` is no deletion, and its event id is kept."""
    named = name("products", {"item": {"item_id": "1"}}, "event=item_edited&event_id=9")
    assert named == Named(entity="product", record="1", event_id="9")


def test_forms_are_read_both_ways() -> None:
    """JSON in the field JSONString, and plain fields, name the record as JSON does."""
    record = {"item_id": "1", "last_modified_time": STAMP}
    expected = Named(entity="product", record="1", modified_at=MOMENT)
    wrapped = urlencode({"JSONString": msgspec.json.encode({"item": record}).decode()}).encode()
    assert NAMES.name("products", "", FORM, wrapped) == expected
    assert NAMES.name("products", "", FORM, urlencode(record).encode()) == expected
    assert NAMES.name("products", "", FORM, b"") == Named(entity="product")


def test_fields_beside_jsonstring_are_heard() -> None:
    """A form that wraps its document may tell event and number in fields of their own, which are signed as well."""
    fields = {"JSONString": '{"item":{"item_id":"1"}}', "event": "item_deleted", "event_id": "e7"}
    expected = Named(entity="product", record="1", operation="delete", event_id="e7")
    assert NAMES.name("products", "", FORM, urlencode(fields).encode()) == expected
    plain = {"item_id": "1", "event": "item_deleted", "event_id": "e7"}
    assert NAMES.name("products", "", FORM, urlencode(plain).encode()) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"item"',
        b'{"item"',
        b"\xff\xfe",
        b'{"item":null}',
        b'{"item":[1]}',
        b'{"item":{}}',
        b'{"item":{"item_id":""}}',
        b'{"item":{"item_id":null}}',
        b'{"item":{"item_id":true}}',
        b'{"item":{"item_id":{"a":1}}}',
        b'{"item":{"item_id":1e400}}',
        b'{"item":{"item_id":"a\\u0000b"}}',
        b'{"item":{"item_id":"\\ud800"}}',
        b'{"item":{"item_id":"' + b"9" * 200 + b'"}}',
        b'{"item":{"item_id":' + b"9" * 100_000 + b"}}",
        b"[" * 100_000,
        b'{"item":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"item":{"item_id":"1","deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
    ],
    ids=lambda body: repr(body[:24]),
)
def test_what_cannot_be_named_is_the_routes(body: bytes) -> None:
    """Broken, deep, huge and unusable ids: no error, the route's entity and no record."""
    assert NAMES.name("products", "", JSON, body) == Named(entity="product")


@pytest.mark.parametrize("stamp", ["", "2026-01-02", "2026-01-02T10:00:00", "yesterday", "0001-01-01T00:00:00+1400", 7])
def test_a_time_without_offset_is_no_version(stamp: object) -> None:
    """A stamp that does not say where it was read, or that no clock can show, is none."""
    named = name("products", {"item": {"item_id": "1", "last_modified_time": stamp}})
    assert named == Named(entity="product", record="1")


@given(st.binary(max_size=400), st.sampled_from([JSON, FORM, "text/plain", ""]), st.text(max_size=40))
def test_naming_never_fails(body: bytes, content_type: str, query: str) -> None:
    """Any bytes under any content type are named somehow, with values that a database can hold."""
    named = NAMES.name("products", query, content_type, body)
    assert named.entity in {"product", "customer", "vendor", "payment", "stock_adjustment"}
    assert named.record == "" or identifier(named.record) == named.record
    assert named.event_id is None or "\0" not in named.event_id


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
documents = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=8), inner), max_leaves=12
)


zones = st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours)))
moments = st.integers(0, 7_000_000_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
foreign_keys = st.text(max_size=8).filter(lambda key: key not in {"item_id", "last_modified_time"})


@given(st.integers(1, 10**19).map(str), moments, zones, st.dictionaries(foreign_keys, documents))
def test_whatever_stands_beside_them_id_and_time_are_found(
    record_id: str, moment: datetime, zone: timezone, beside: dict
) -> None:
    """Other keys of the record, however odd, change nothing; the time is the same in every zone."""
    stamp = moment.astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S%z")
    named = name("products", {"item": {**beside, "item_id": record_id, "last_modified_time": stamp}})
    assert named == Named(entity="product", record=record_id, modified_at=moment)


def test_only_entities_that_send_webhooks_have_routes() -> None:
    """Entities without webhook are left out."""

    class Entity(msgspec.Struct):
        name: str
        webhook: Webhook | None
        record: Record

    silent = Entity("tax", None, Record(id="tax_id"))
    loud = Entity("product", Webhook(paths=["products"], keys={"item": ""}), Record(id="item_id"))
    assert [found.entity for found in kinds([silent, loud])] == ["product"]
    assert NAMES.segments == {"products", "customers", "vendors", "payments", "stock"}
