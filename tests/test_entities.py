"""The thirteen mappings as they are shipped, what compiling refuses, and that one more entity is one more file."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from fixtures.mappings import with_one_more
from hypothesis import given
from hypothesis import strategies as st

from actors.zoho import entities
from actors.zoho.documents import RecordInvalid
from actors.zoho.entities import Entities, Entity
from tds_runtime.errors import ConfigError, SourceAnswerInvalid

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "tests" / "samples"
THIRTEEN = (
    "bill", "branch", "credit_note", "customer", "invoice", "payment", "price_list", "product", "sales_order",
    "sales_return", "stock_adjustment", "user", "vendor",
)  # fmt: skip
# Entity, variant, list sample, detail sample, webhook sample: the same record in each.
TWINS = [
    ("product", "", "items_list_inventory", "item_detail_inventory", "webhook_item_default"),
    ("customer", "", "contacts_list", "contact_detail", "webhook_contact_default"),
    ("invoice", "", "invoices_list", "invoice_detail", "webhook_invoice_default"),
    ("sales_order", "", "salesorders_list", "salesorder_detail", ""),
    ("payment", "customer", "customerpayments_list", "customerpayment_detail", ""),
    ("payment", "vendor", "vendorpayments_list", "vendorpayment_detail", ""),
    ("bill", "", "bills_list", "bill_detail", ""),
    ("credit_note", "", "creditnotes_list", "creditnote_detail", ""),
    ("stock_adjustment", "", "inventoryadjustments_list", "inventoryadjustment_detail", ""),
    ("price_list", "", "pricebooks_list", "pricebook_detail_per_item", ""),
    ("user", "", "users_list", "user_detail", ""),
    ("sales_return", "", "salesreturns_list", "salesreturn_detail", ""),
]


@pytest.fixture(scope="module")
def shipped() -> Entities:
    return entities.load(ROOT / "config" / "entities")


def sample(name: str) -> bytes:
    return (SAMPLES / f"{name}.json").read_bytes()


def test_thirteen_are_shipped(shipped: Entities) -> None:
    """The mappings in config/entities compile, and there are thirteen."""
    assert shipped.names == THIRTEEN
    assert [entity.name for entity in shipped] == list(THIRTEEN)
    assert "product" in shipped
    assert shipped.get("nothing") is None


@pytest.mark.parametrize(("name", "variant", "listing", "detail", "_webhook"), TWINS)
def test_samples_are_read(shipped: Entities, name: str, variant: str, listing: str, detail: str, _webhook: str) -> None:
    """Every recorded listing and detail is read into rows that can be mapped, without a key that nobody knows."""
    entity = shipped[name]
    source = entity.source(variant)
    rows = [*entity.read_page(source, sample(listing)).rows, entity.read_detail(source, sample(detail))]
    assert all(row.valid for row in rows)
    for row, kind in zip(rows, ["list"] * (len(rows) - 1) + ["detail"], strict=True):
        assert entity.map(row.raw, kind, variant=variant).unknown == frozenset()


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: f"{twin[0]}-{twin[1]}")
def test_hashes_are_stable_between_kinds(shipped: Entities, twin: tuple[str, ...]) -> None:
    """One version of a record has the same hash for what its list row, its detail and its webhook have in common."""
    name, variant, listing, detail, webhook = twin
    entity = shipped[name]
    source = entity.source(variant)
    found = entity.read_detail(source, sample(detail))
    listed = next(row for row in entity.read_page(source, sample(listing)).rows if row.id == found.id)
    documents = [entity.map(listed.raw, "list", variant=variant), entity.map(found.raw, "detail", variant=variant)]
    assert listed.facets == documents[0].facets
    assert found.facets == documents[1].facets
    if webhook:
        documents.append(entity.map(sample(webhook), "webhook", variant=variant))
    whole = [entity.shape.completed(one, documents[0].values) for one in documents]
    for facet in {facet for one in whole for facet in one.facets}:
        assert len({one.facets[facet] for one in whole if facet in one.facets}) == 1, facet


def test_a_page_says_what_it_is(shipped: Entities) -> None:
    """Rows keep their own bytes; without page_context an answer is the only page."""
    product, branch = shipped["product"], shipped["branch"]
    page = product.read_page(product.source(), sample("items_list_inventory"))
    assert (page.page, page.per_page, page.has_more, page.sort_column, page.sort_order) == (1, 200, False, "name", "A")
    assert [json.loads(row.raw)["item_id"] for row in page.rows] == [row.id for row in page.rows]
    assert page.total is None
    only = branch.read_page(branch.source(), sample("locations_list"))
    assert (len(only.rows), only.has_more, only.rows[0].modified_at) == (2, False, None)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[]",
        b'{"code": 0}',
        b'{"items": {}}',
        b'{"items": [1]}',
        b'{"items": [{}]}',
        b'{"items": [{"item_id": ""}]}',
        b'{"items": [{"item_id": "1"}], "page_context": 1}',
        b'{"items": [' + b"[" * 50_000,
    ],
)
def test_a_malformed_answer_is_an_error(shipped: Entities, body: bytes) -> None:
    """What is no page of records with ids is an error of the whole answer, never a silent skip."""
    product = shipped["product"]
    with pytest.raises(SourceAnswerInvalid):
        product.read_page(product.source(), body)


def test_a_bad_record_does_not_spoil_its_page(shipped: Entities) -> None:
    """A row that cannot be mapped keeps its id and bytes, so that it is buried alone with its reason."""
    product = shipped["product"]
    body = b'{"items": [{"item_id": "1", "name": "a", "rate": "x"}, {"item_id": "2", "name": "b"}]}'
    bad, good = product.read_page(product.source(), body).rows
    assert (bad.id, bad.valid, good.id, good.valid) == ("1", False, "2", True)


def test_an_unusable_record_may_still_have_a_version(shipped: Entities) -> None:
    """An invalid row keeps its stamp when that is readable, and has none when it is not."""
    product = shipped["product"]
    rows = [
        {"item_id": "1", "rate": "x", "last_modified_time": "2026-01-02T10:00:00+0300"},
        {"item_id": "2", "name": "a", "last_modified_time": "yesterday"},
    ]
    first, second = product.read_page(product.source(), json.dumps({"items": rows}).encode()).rows
    assert (first.valid, second.valid, second.modified_at) == (False, False, None)
    assert first.modified_at is not None
    assert len({first.hash, second.hash}) == 2


@pytest.mark.parametrize("body", [b"{}", b'{"item": 1}', b'{"item": {"item_id": ""}}'])
def test_a_malformed_detail_is_an_error(shipped: Entities, body: bytes) -> None:
    """An answer without the record that was asked for is no record."""
    product = shipped["product"]
    with pytest.raises(SourceAnswerInvalid):
        product.read_detail(product.source(), body)


def test_bulk_details_speak_of_a_part(shipped: Entities) -> None:
    """A bulk answer lacks columns: what it does not say is left alone, and completed from what is stored."""
    product = shipped["product"]
    listed = next(
        r for r in product.read_page(product.source(), sample("items_list_inventory")).rows if b"M20" in r.raw
    )
    (row,) = product.read_bulk(product.source(), sample("itemdetails_bulk"))
    mapped = product.map(row.raw, "detail")
    assert "list" in mapped.partial
    assert "product_stock" in mapped.facets
    stored = product.map(listed.raw, "list").values
    assert product.shape.completed(mapped, stored).facets["list"] == listed.facets["list"]


def test_a_webhook_may_be_a_part(shipped: Entities) -> None:
    """What a webhook does not say stays unsaid; without a required value it is incomplete, not wrong."""
    product = shipped["product"]
    mapped = product.map(b'{"item": {"item_id": "1", "name": "a", "rate": 5}}', "webhook")
    assert mapped.partial == {"list"}
    assert mapped.children == {}
    with pytest.raises(RecordInvalid) as refused:
        product.map(b'{"item": {"item_id": "1"}}', "webhook")
    assert refused.value.incomplete
    with pytest.raises(RecordInvalid, match="price") as wrong:
        product.map(b'{"item": {"item_id": "1", "rate": "abc"}}', "webhook")
    assert not wrong.value.incomplete


@pytest.mark.parametrize("body", [b"", b"[]", b'{"other": {}}', b'{"item": 1}'])
def test_a_webhook_without_a_record_is_invalid(shipped: Entities, body: bytes) -> None:
    """A body that holds no record of the entity is refused with a reason, whatever it is."""
    with pytest.raises(RecordInvalid, match="document"):
        shipped["product"].map(body, "webhook")


def test_another_records_document_is_refused(shipped: Entities) -> None:
    """A document is applied to the record it was stored for and to no other."""
    with pytest.raises(RecordInvalid, match="another record"):
        shipped["product"].map(b'{"item_id": "1", "name": "a"}', "list", record_id="2")


def test_every_fault_is_named(shipped: Entities) -> None:
    """All faults of a document are listed with their columns, down into its child rows, and no value among them."""
    line = {"line_item_id": "9", "quantity": "secret", "rate": 1}
    body = json.dumps({"invoice_id": "1", "total": "secret", "date": "secret", "line_items": [line]}).encode()
    with pytest.raises(RecordInvalid) as refused:
        shipped["invoice"].map(body, "detail")
    names = [fault.column for fault in refused.value.faults]
    assert names == ["invoice_number", "invoice_date", "total", "line_items[0].quantity"]
    assert "secret" not in str(refused.value)


def test_children_are_rows_of_their_own(shipped: Entities) -> None:
    """Brackets are spread out, paths are told, and rows without a key of their own take their place as one."""
    volume = shipped["price_list"].map(sample("pricebook_detail_volume"), "detail").children["price_list_items"]
    assert list(volume) == ["5260000000000060201", "5260000000000060202"]
    assert [row[0] for row in volume.values()] == ["5260000000000010001"] * 2
    addresses = shipped["customer"].map(sample("contact_detail"), "detail").children["customer_addresses"]
    assert [row[0] for row in addresses.values()] == ["billing_address", "shipping_address"]
    body = {"contact_id": "1", "contact_name": "n", "billing_address": {"city": "a"}, "shipping_address": {"city": "b"}}
    assert list(shipped["customer"].map(json.dumps(body).encode(), "detail").children["customer_addresses"]) == [
        "#1",
        "#2",
    ]


def test_keys_of_children_are_distinct(shipped: Entities) -> None:
    """A key that comes twice in one document gets its place behind it, so that no statement meets it twice."""
    lines = [{"line_item_id": "7"}, {"line_item_id": "7"}]
    body = json.dumps({"invoice_id": "1", "invoice_number": "n", "line_items": lines}).encode()
    assert list(shipped["invoice"].map(body, "detail").children["invoice_lines"]) == ["7", "7#2"]


def test_new_keys_are_drift(shipped: Entities) -> None:
    """A key that no mapping knows is told; formatted twins and custom fields are known by their patterns."""
    body = b'{"item_id": "1", "name": "a", "rate_formatted": "5", "cf_colour": "red", "brand_new_key": 1}'
    assert shipped["product"].map(body, "detail").unknown == {"brand_new_key"}


# --- what compiling refuses

SMALL = """
[[source]]
api = "books"
list = "/widgets"
list_key = "widgets"

[record]
id = "widget_id"

[target]
table = "widgets"
id_column = "zoho_widget_id"

[columns]
name = { path = "name", required = true }
"""


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "widget.toml").write_text(SMALL)
    return tmp_path


def refused(directory: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        entities.load(directory)
    return [f"{Path(p.file).name}:{p.line}:{p.column}: {p.message}" for p in error.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('table = "widgets"', 'table = "wid gets"', "widget.toml:11:9: wid gets is no identifier"),
        ('table = "widgets"', 'table = "a.b.c"', "widget.toml:11:9: a.b.c is no identifier"),
        ('table = "widgets"', 'table = "x\\"; DROP TABLE y"', 'widget.toml:11:9: x"; DROP TABLE y is no identifier'),
        ("name = {", f"{'n' * 64} = {{", f"widget.toml:15:1: {'n' * 64} is longer than 63 bytes"),
        ("name = {", "id = {", "widget.toml:15:1: id is named twice in one table"),
        ('list = "/widgets"', 'list = "widgets"', "widget.toml:4:8: a path begins with /"),
        (
            'list = "/widgets"',
            'list = "/widgets"\ndetail = "/widgets"',
            "widget.toml:5:10: a detail path has {id} in it",
        ),
        ('list = "/widgets"', 'list = "/widgets"\ndetails = "changed"', "widget.toml:5:11: there is no detail path"),
        ('list = "/widgets"', 'list = "/widgets"\nmodified = "sort"', "widget.toml:5:12: sorting needs the parameters"),
        ('list = "/widgets"', 'list = "/widgets"\nbulk = "/b"', "widget.toml:5:8: a bulk path needs bulk_key"),
        ('table = "widgets"', 'table = "widgets"\non_delete = "deactivate"', "widget.toml:12:13: deactivate needs"),
        ('table = "widgets"', 'table = "widgets"\nactive = "nam"', "widget.toml:12:10: is not a mapped boolean column"),
        ("required = true", 'required = true, facet = "detail"', "a required column stands in every kind"),
        ("required = true", 'type = "numeric", max_length = 3', "a numeric has no length"),
        ("required = true", "range = [0, 1]", "a text has no range"),
        ("required = true", 'type = "numeric", range = [2, 1]', "the least comes first"),
        ("required = true", "scale = 2", "a text has no decimal places"),
        ("required = true", 'equals = "a"', "equals makes a boolean"),
        ("required = true", 'type = "numeric", default = "x"', "is text of 1 characters, not a number"),
        ("required = true", 'references = "widgt"', "there is no entity widgt"),
        ("required = true", "measure = true", "a text has no sum"),
        ("required = true", 'typ = "text"', "there is no setting columns.name.typ"),
        ("required = true", 'type = "decimal"', "columns"),
    ],
)
def test_a_faulty_mapping_is_refused_with_its_place(directory: Path, old: str, new: str, expected: str) -> None:
    """Every fault names file, line and column and says what is wrong."""
    (directory / "widget.toml").write_text(SMALL.replace(old, new))
    found = refused(directory)
    assert len(found) == 1 or "id is named twice" in expected
    assert expected in found[-1] or (expected == "columns" and found)


def test_a_column_that_would_stay_empty_is_refused(directory: Path) -> None:
    """Where every changed row is fetched, list rows are not written, so nothing can stand in them alone."""
    text = SMALL.replace(
        'list_key = "widgets"', 'list_key = "widgets"\ndetail = "/w/{id}"\ndetail_key = "w"\ndetails = "changed"'
    )
    (directory / "widget.toml").write_text(text + 'size = { path = "size", facet = "row" }\n')
    assert refused(directory)[0].startswith("widget.toml:19:33: list rows are not written where details are called")


def test_names_that_postgres_would_confuse_are_refused(directory: Path) -> None:
    """Two columns that are one after 63 bytes are named, both of them."""
    one, two = "c" * 63 + "a", "c" * 63 + "b"
    (directory / "widget.toml").write_text(SMALL + f'{one} = {{ path = "a" }}\n{two} = {{ path = "b" }}\n')
    assert sum(f"is the same name as {two} after 63 bytes" in one for one in refused(directory)) == 1


def test_files_must_agree(directory: Path) -> None:
    """Two mappings cannot write one table nor answer one webhook route, and a file's name must be an entity's."""
    (directory / "widget.toml").write_text(SMALL + '[webhook]\npaths = ["w"]\nkeys = { widget = "x" }\n')
    (directory / "gadget.toml").write_text(SMALL + '[webhook]\npaths = ["w"]\nkeys = { gadget = "" }\n')
    (directory / "Bad Name.toml").write_text(SMALL.replace('"widgets"', '"others"'))
    found = "\n".join(refused(directory))
    assert "widgets is written by another mapping already" in found
    assert "w is the webhook path of another mapping already" in found
    assert "there is no source named 'x'" in found
    assert "Bad Name is none" in found


def test_an_empty_directory_is_refused(tmp_path: Path) -> None:
    """Without any mapping there is nothing to run, and that is said."""
    assert refused(tmp_path) == [":0:0: there is no mapping in it".replace(":0:0", f"{tmp_path.name}:0:0")]


def test_every_file_is_reported_at_once(directory: Path) -> None:
    """The faults of all files come together, not one a run."""
    (directory / "broken.toml").write_text("[[source]\n")
    (directory / "widget.toml").write_text(SMALL.replace("[record]", "[recrd]"))
    files = {line.split(":")[0] for line in refused(directory)}
    assert files == {"broken.toml", "widget.toml"}


def test_a_fourteenth_entity_is_one_file(directory: Path) -> None:
    """One more TOML file is one more entity: it reads, maps, hashes, and knows its table and statements."""
    for path in (ROOT / "config" / "entities").glob("*.toml"):
        (directory / path.name).write_bytes(path.read_bytes())
    loaded = entities.load(directory)
    assert len(loaded) == 14
    widget = loaded["widget"]
    mapped = widget.map(b'{"widget_id": 5, "name": "w"}', "list")
    assert (mapped.id, mapped.values) == ("5", ("w",))
    assert "CREATE TABLE" in widget.ddl()[0]


def test_a_child_may_hang_on_the_local_id(directory: Path) -> None:
    """An ERP's own lines refer to its own id: the statements join the parent for it."""
    more = """
    [[children]]
    table = "widget_parts"
    path = "parts"
    key = "part_id"
    key_column = "zoho_part_id"
    parent_column = "widget_id"
    parent = "local"
    [children.columns]
    amount = { path = "amount", type = "integer", owner = "local" }
    """
    (directory / "widget.toml").write_text(SMALL + dedent(more))
    (children,) = entities.load(directory)["widget"].target.children
    assert 'JOIN "widgets"' in children.upsert
    assert '"amount" = excluded' not in children.upsert


def test_unknown_keys_can_be_kept(directory: Path) -> None:
    """With `unknown` a column holds what nobody mapped."""
    (directory / "widget.toml").write_text(SMALL.replace("[columns]", 'unknown = "extra"\n\n[columns]'))
    widget: Entity = entities.load(directory)["widget"]
    mapped = widget.map(b'{"widget_id": "1", "name": "w", "b": 2, "a": {"x": 1.50}}', "list")
    assert mapped.values == ("w", '{"a":{"x":1.50},"b":2}')


def test_what_an_entity_can_do_is_known(shipped: Entities) -> None:
    """Without a detail call a record cannot be asked for; references name other entities."""
    assert shipped["product"].can_refetch
    assert not shipped["branch"].can_refetch
    assert shipped["invoice"].references == {"zoho_customer_id": "customer"}
    assert shipped["payment"].source("vendor").list_path == "/vendorpayments"
    assert repr(shipped["product"]) == "Entity('product')"


def test_a_change_of_a_mapping_changes_its_fingerprint(directory: Path) -> None:
    """Two loads of one file agree; another default makes another fingerprint, a comment does not."""
    before = entities.load(directory)
    (directory / "widget.toml").write_text(f"# a remark\n{SMALL}")
    assert entities.load(directory).fingerprint == before.fingerprint
    (directory / "widget.toml").write_text(SMALL.replace("required = true", 'default = "x"'))
    assert entities.load(directory).fingerprint != before.fingerprint


def test_documents_say_nothing_twice(shipped: Entities) -> None:
    """The tables of all entities are distinct, parents before their children."""
    names: list[Any] = [table.name for table in shipped.tables]
    assert len(names) == len(set(names))
    assert names.index("invoices") < names.index("invoice_lines")


CHILD = """
[[children]]
table = "widget_parts"
path = "parts"
key_column = "zoho_part_id"
parent_column = "widget_id"
{more}
[children.columns]
part = {{ path = "part", references = "{references}" }}
"""


def test_what_a_child_refers_to_must_be_there(directory: Path) -> None:
    """A misspelt entity in a child's column is found as well, with what was meant."""
    (directory / "widget.toml").write_text(SMALL + CHILD.format(more="", references="widgt"))
    with pytest.raises(ConfigError) as error:
        entities.load(directory)
    [problem] = error.value.problems
    assert (problem.message, problem.hint) == ("there is no entity widgt", "did you mean widget?")
    assert (problem.line, problem.source_line[:6]) == (24, "part =")


def test_a_child_cannot_hang_on_an_id_that_is_not_there(directory: Path) -> None:
    """Without a local id of its parent a child has nothing to refer to; that is said, and no crash."""
    text = SMALL.replace('table = "widgets"', 'table = "widgets"\nlocal_id = ""')
    (directory / "widget.toml").write_text(text + CHILD.format(more='parent = "local"', references="widget"))
    assert "the target has no local_id to refer to" in refused(directory)[0]


@given(st.data())
def test_a_mutilated_mapping_is_refused_or_compiled(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever is cut out of a mapping or put into it, loading it names places in the file and never just breaks."""
    text = (ROOT / "config" / "entities" / "payment.toml").read_text()
    lines = text.splitlines()
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(lines) - 1))
        words = st.sampled_from(
            ["", 'x = "y"', "[[children]]", "type = 5", "local_id = ''", "[columns]", "range = [1, 0]"]
        )
        lines[place] = data.draw(words)
    directory = tmp_path_factory.mktemp("mutilated")
    (directory / "payment.toml").write_text("\n".join(lines))
    try:
        problems = [] if len(entities.load(directory)) == 1 else None
    except ConfigError as error:
        problems = [problem for problem in error.problems if not problem.line]
    assert problems == []


def test_only_mappings_are_read(directory: Path) -> None:
    """A page beside the mappings, or a file of an editor, is no entity."""
    (directory / "README.md").write_text("# Mappings\n")
    (directory / "widget.toml~").write_text("broken")
    assert entities.load(directory).names == ("widget",)


def test_the_example_of_the_page_is_a_mapping(tmp_path: Path) -> None:
    """What the page beside the mappings shows loads with the thirteen, and says what its comments say."""
    loaded = entities.load(with_one_more(tmp_path))
    assert len(loaded) == 14
    order = loaded["purchase_order"]
    line = {"line_item_id": "9", "quantity": 2, "rate": 10.05}
    body = {
        "purchaseorder_id": "1",
        "purchaseorder_number": " PO-1 ",
        "status": "OPEN",
        "total": "",
        "line_items": [line],
    }
    mapped = order.map(json.dumps(body).encode(), "detail")
    values = dict(zip(order.target.names[1:], mapped.values, strict=True))
    assert (values["number"], values["status"], values["total"]) == ("PO-1", "open", Decimal(0))
    assert mapped.children["purchase_order_lines"]["9"] == (1, None, Decimal(2), Decimal("10.05"))
