"""What a batch does to tables, children, audit and state, and what happens when a statement is refused."""

from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from fixtures.documents import NOON, audit, change, create_tables, invoice, product, put

from actors import effect
from actors.refusals import TargetUnfit
from actors.settlement import Settled, Settlement
from actors.zoho import entities, tables
from actors.zoho.entities import Entities, Entity
from tds_runtime import records
from tds_runtime.database import Database
from tds_runtime.errors import LeaseLost
from tds_runtime.queue import FULL, INCREMENTAL, Change, Options, Queue

pytestmark = pytest.mark.anyio

LATER = "2026-11-21T12:00:05+0000"
EARLIER = "2026-11-21T11:59:00+0000"


@pytest.fixture
async def queue(database: Database, mapped: Entities) -> Queue:
    await create_tables(database, mapped)
    return Queue(database, boot_id="this", options=Options(batch=100))


async def settle(queue: Queue, entity: Entity, *changes: Change) -> Settled:
    """Enqueue, claim and settle one batch."""
    await put(queue, *changes)
    tasks = await queue.claim([entity.name])
    settlement = Settlement(entity, queue.database, queue)
    return await settlement.settle(await settlement.prepare(tasks))


async def products(queue: Queue) -> dict[str, Any]:
    rows = await queue.database.fetch("SELECT zoho_item_id, name, price::float, is_active FROM products")
    return {row[0]: tuple(row)[1:] for row in rows}


async def test_an_insert_an_update_and_nothing(queue: Queue, mapped: Entities) -> None:
    """Rows come, change and stay; the audit says what changed, with the value that stood there."""
    entity = mapped["product"]
    assert (await settle(queue, entity, product("1"), product("2"))).outcomes == {"applied": 2}
    changed = product("1", rate=20, last_modified_time=LATER)
    assert (await settle(queue, entity, changed, product("2"))).outcomes == {"applied": 1, "unchanged": 1}
    assert await products(queue) == {"1": ("Item 1", 20, True), "2": ("Item 2", 12.5, True)}
    inserted, _, updated = await audit(queue.database)
    assert inserted[:3] == ("insert", "1", None)
    assert inserted[3]["name"] == "Item 1"
    assert updated == ("update", "1", {"price": 12.5}, {"price": 20})


async def test_older_versions_are_superseded(queue: Queue, mapped: Entities) -> None:
    """A snapshot that arrives late changes nothing, whoever brings it."""
    entity = mapped["product"]
    await settle(queue, entity, product("1", last_modified_time=LATER))
    late = await settle(queue, entity, product("1", kind="webhook", name="Old"))
    assert late.outcomes == {"superseded": 1}
    assert (await products(queue))["1"][0] == "Item 1"


async def test_a_contradicting_webhook_becomes_a_fetch(queue: Queue, mapped: Entities) -> None:
    """Equal stamp, other content, from a webhook: the task waits as a fetch, and nothing is written."""
    entity = mapped["product"]
    await settle(queue, entity, product("1"))
    assert (await settle(queue, entity, product("1", kind="webhook", name="Other"))).outcomes == {"refetched": 1}
    assert (await products(queue))["1"][0] == "Item 1"
    assert await queue.due() == {("product", "fetch")}


async def test_a_later_pull_wins_over_equal_stamps(queue: Queue, mapped: Entities) -> None:
    """Stock moves without a stamp: the pull that looked later is right, the one that looked earlier is not."""
    entity = mapped["product"]
    await settle(queue, entity, product("1", observed=NOON))
    earlier = await settle(queue, entity, product("1", stock_on_hand=1, observed=NOON - timedelta(seconds=1)))
    later = await settle(queue, entity, product("1", stock_on_hand=2, observed=NOON + timedelta(seconds=1)))
    assert (earlier.outcomes, later.outcomes) == ({"superseded": 1}, {"applied": 1})
    assert await queue.database.fetchval("SELECT stock_quantity FROM products") == 2


async def test_a_partial_webhook_leaves_the_rest_alone(queue: Queue, mapped: Entities) -> None:
    """A delivery that speaks of three keys changes three columns, and its hash is that of the whole row."""
    entity = mapped["product"]
    await settle(queue, entity, product("1", sku="S", brand="B"))
    body = {"item": {"item_id": "1", "name": "New", "rate": 1, "last_modified_time": LATER}}
    assert (await settle(queue, entity, change("product", "1", body, kind="webhook"))).outcomes == {"applied": 1}
    row = await queue.database.fetchrow("SELECT name, sku, brand, stock_quantity FROM products")
    assert row is not None
    assert tuple(row) == ("New", "S", "B", 4)
    whole = product("1", sku="S", brand="B", name="New", rate=1, last_modified_time=LATER)
    assert (await settle(queue, entity, whole)).outcomes == {"unchanged": 1}


async def test_an_incomplete_webhook_is_fetched(queue: Queue, mapped: Entities) -> None:
    """A delivery with nothing but an id asks the source; one that is wrong is buried."""
    entity = mapped["product"]
    bare = change("product", "1", {"item": {"item_id": "1"}}, kind="webhook")
    wrong = change("product", "2", {"item": {"item_id": "2", "name": "n", "rate": "abc"}}, kind="webhook")
    settled = await settle(queue, entity, bare, wrong, change("product", "body:ff", b"{", kind="webhook"))
    assert settled.outcomes == {"refetched": 1, "buried": 2}
    letters = await queue.database.fetch(
        "SELECT source_entity_id, error_code, error_message FROM tds_dead_letter_queue"
    )
    assert {row[0]: row[1] for row in letters} == {"2": "invalid_record", "body:ff": "invalid_record"}
    assert any("price is text of 3 characters, not a number" in row[2] for row in letters)


async def test_children_follow_their_document(queue: Queue, mapped: Entities) -> None:
    """Lines come, change and vanish with their invoice, keep their own ids, and stay when it does not speak of them."""
    entity = mapped["invoice"]
    await settle(queue, entity, change("invoice", "1", invoice("1", ["a", "b"]), kind="detail"))
    first = await queue.database.fetch("SELECT zoho_line_item_id, id FROM invoice_lines ORDER BY 1")
    changed = invoice("1", ["b", "c"], last_modified_time=LATER)
    settled = await settle(queue, entity, change("invoice", "1", changed, kind="detail"))
    assert settled.rows == 3  # a goes, b moves up, c comes; the invoice itself stays as it was
    second = await queue.database.fetch("SELECT zoho_line_item_id, id FROM invoice_lines ORDER BY 1")
    assert [row[0] for row in second] == ["b", "c"]
    assert second[0][1] == first[1][1]
    action, _, before, after = (await audit(queue.database))[-1]
    assert action == "update"
    assert set(before["invoice_lines"]) == set(after["invoice_lines"]) == {"a", "b", "c"}
    assert (before["invoice_lines"]["c"], after["invoice_lines"]["a"]) == (None, None)
    silent = invoice("1", last_modified_time="2026-11-21T12:00:09+0000", total=31)
    del silent["line_items"]
    await settle(queue, entity, change("invoice", "1", silent, kind="webhook"))
    assert await queue.database.fetchval("SELECT count(*) FROM invoice_lines") == 2


async def test_deletions_do_what_the_mapping_says(queue: Queue, mapped: Entities) -> None:
    """A product is deactivated, an invoice goes with its lines; both are tombstoned and audited."""
    await settle(queue, mapped["product"], product("1"))
    await settle(queue, mapped["invoice"], change("invoice", "1", invoice("1"), kind="detail"))
    gone = NOON + timedelta(seconds=1)
    for name in ("product", "invoice"):
        delete = Change(entity_type=name, source_entity_id="1", operation="delete", observed_at=gone)
        assert (await settle(queue, mapped[name], delete)).outcomes == {"deleted": 1}
        assert (await settle(queue, mapped[name], delete)).outcomes == {"unchanged": 1}
    assert (await products(queue))["1"][2] is False
    assert await queue.database.fetchval("SELECT count(*) FROM invoices") == 0
    deactivated, deleted = [line for line in await audit(queue.database) if line[0] in {"deactivate", "delete"}]
    assert deactivated == ("deactivate", "1", {"is_active": True}, {"is_active": False})
    assert deleted[2]["invoice_number"] == "INV-1"
    assert set(deleted[2]["invoice_lines"]) == {"a", "b"}


async def test_only_a_pull_brings_a_record_back(queue: Queue, mapped: Entities) -> None:
    """After a deletion a webhook is at most a reason to ask; a later pull writes the whole row again."""
    entity = mapped["product"]
    await settle(queue, entity, product("1"))
    delete = Change(entity_type="product", source_entity_id="1", operation="delete", observed_at=NOON)
    await settle(queue, entity, delete)
    assert (await settle(queue, entity, product("1", kind="webhook"))).outcomes == {"superseded": 1}
    asked = await settle(queue, entity, product("1", kind="webhook", last_modified_time=LATER))
    assert asked.outcomes == {"refetched": 1}
    await queue.database.execute("DELETE FROM tds_sync_queue_live")
    assert (await settle(queue, entity, product("1", observed=NOON))).outcomes == {"superseded": 1}
    back = await settle(queue, entity, product("1", observed=NOON + timedelta(seconds=1)))
    assert back.outcomes == {"applied": 1}
    assert (await products(queue))["1"][2] is True


async def test_a_deletion_of_the_unknown_is_remembered(queue: Queue, mapped: Entities) -> None:
    """A record that was deleted before it was ever seen is not created by a webhook that comes late."""
    delete = Change(entity_type="product", source_entity_id="1", operation="delete", observed_at=NOON)
    await settle(queue, mapped["product"], delete)
    assert (await settle(queue, mapped["product"], product("1", kind="webhook"))).outcomes == {"refetched": 1}
    assert await products(queue) == {}


async def test_the_source_wins_over_a_local_edit(queue: Queue, mapped: Entities) -> None:
    """What somebody wrote into a mapped column is overwritten by the next version, and kept in the audit trail."""
    await settle(queue, mapped["product"], product("1"))
    await queue.database.execute("UPDATE products SET price = 99")
    await settle(queue, mapped["product"], product("1", rate=13, last_modified_time=LATER))
    assert (await audit(queue.database))[-1][2:] == ({"price": 99}, {"price": 13})


async def test_a_row_that_was_removed_comes_back_with_the_next_version(queue: Queue, mapped: Entities) -> None:
    """Somebody deleted the row: a newer version writes all of it, a repair after `forget` too."""
    entity = mapped["product"]
    await settle(queue, entity, product("1"))
    await queue.database.execute("DELETE FROM products")
    await settle(queue, entity, product("1", last_modified_time=LATER))
    assert "1" in await products(queue)
    await queue.database.execute("DELETE FROM products")
    async with queue.database.transaction() as connection:
        await records.forget(connection, "product", ["1"])
    assert (await settle(queue, entity, product("1", last_modified_time=LATER))).outcomes == {"applied": 1}
    assert "1" in await products(queue)


async def test_one_bad_record_does_not_spoil_its_batch(queue: Queue, mapped: Entities) -> None:
    """Two records that the table refuses are found among fifty and buried with their reason; the others are written."""
    await queue.database.execute("ALTER TABLE products ADD CHECK (price < 1000), ALTER sku TYPE varchar(5)")
    given = [product(str(number), rate=number) for number in range(48)]
    bad = [product("50", rate=5000), product("51", name="n", sku="too long")]
    settled = await settle(queue, mapped["product"], *given, *bad)
    assert settled.outcomes == {"applied": 48, "buried": 2}
    letters = await queue.database.fetch(
        "SELECT source_entity_id, error_code, error_message FROM tds_dead_letter_queue"
    )
    reasons = {row[0]: (row[1], row[2]) for row in letters}
    assert reasons["50"][0] == "check_violation"
    assert "products.products_price_check" in reasons["50"][1]
    assert reasons["51"] == (
        "string_data_right_truncation", "products.sku: value too long for type character varying(5)",
    )  # fmt: skip
    assert (await queue.statistics()).completed == 48


async def test_a_missing_parent_is_fetched_and_waited_for(queue: Queue, mapped: Entities) -> None:
    """An invoice before its customer: it is put off without spending its attempt, and the customer is asked for."""
    await queue.database.execute(
        "ALTER TABLE invoices ADD FOREIGN KEY (zoho_customer_id) REFERENCES customers (zoho_contact_id)"
    )
    settled = await settle(queue, mapped["invoice"], change("invoice", "1", invoice("1"), kind="detail"))
    assert settled.outcomes == {"waiting": 1}
    rows = await queue.database.fetch(
        "SELECT entity_type, source_entity_id, operation, attempt_count, status FROM tds_sync_queue ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [
        ("customer", "77", "fetch", 0, "pending"),
        ("invoice", "1", "upsert", 0, "pending"),
    ]


async def waiting(queue: Queue) -> set[tuple[str, str, str]]:
    """What waits in the queue: entity, id and operation."""
    rows = await queue.database.fetch(
        "SELECT entity_type, source_entity_id, operation FROM tds_sync_queue WHERE status = 'pending'"
    )
    return {tuple(row) for row in rows}


async def referring(queue: Queue) -> None:
    """Let the ERP insist on an invoice's customer."""
    await queue.database.execute(
        "ALTER TABLE invoices ADD FOREIGN KEY (zoho_customer_id) REFERENCES customers (zoho_contact_id)"
    )


async def settle_again(queue: Queue, entity: Entity) -> Settled:
    """Claim and settle what was put off, as if its time had come."""
    await queue.database.execute("UPDATE tds_sync_queue_live SET available_at = NULL")
    return await settle(queue, entity)


async def test_each_wait_for_a_parent_is_as_long_as_all_before(queue: Queue, mapped: Entities) -> None:
    """5 s at first, then as long again as was waited already, at most an hour; after 24 h it is buried."""
    await referring(queue)
    await settle(queue, mapped["invoice"], change("invoice", "1", invoice("1"), kind="detail"))
    look = "SELECT extract(epoch FROM available_at - now())::integer FROM tds_sync_queue WHERE entity_type = 'invoice'"
    age = "UPDATE tds_sync_queue_live SET snoozed_at = now() - $1::integer * interval '1 second'"
    assert await queue.database.fetchval(look) in range(3, 7)
    for waited, wanted in ((60, 60), (600, 600), (40_000, 3600)):
        await queue.database.execute(age, waited)
        assert (await settle_again(queue, mapped["invoice"])).outcomes == {"waiting": 1}
        assert await queue.database.fetchval(look) in range(wanted - 3, wanted + 3)
    await queue.database.execute(age, 86_500)
    await settle_again(queue, mapped["invoice"])
    letter = await queue.database.fetchrow("SELECT error_code, error_message, attempt_count FROM tds_dead_letter_queue")
    assert letter is not None
    assert letter["error_code"] == "put_off_too_long"
    assert "zoho_customer_id" in letter["error_message"]


async def test_a_parent_that_the_source_does_not_have_is_asked_for_once(queue: Queue, mapped: Entities) -> None:
    """Known to be gone: its child goes on waiting, and no call is spent on it each time."""
    await referring(queue)
    gone = Change(entity_type="customer", source_entity_id="77", operation="delete", observed_at=NOON)
    await settle(queue, mapped["customer"], gone)
    settled = await settle(queue, mapped["invoice"], change("invoice", "1", invoice("1"), kind="detail"))
    assert settled.outcomes == {"waiting": 1}
    assert await waiting(queue) == {("invoice", "1", "upsert")}


async def test_a_parent_whose_row_somebody_deleted_is_written_again(queue: Queue, mapped: Entities) -> None:
    """Its state says that it is stored, the foreign key that it is not: it is fetched, and this time it is written."""
    await referring(queue)
    row = {"contact_id": "77", "contact_name": "A", "contact_type": "customer", "last_modified_time": EARLIER}
    await settle(queue, mapped["customer"], change("customer", "77", row))
    await queue.database.execute("DELETE FROM customers")
    await settle(queue, mapped["invoice"], change("invoice", "1", invoice("1"), kind="detail"))
    assert ("customer", "77", "fetch") in await waiting(queue)
    again = change("customer", "77", row, kind="detail", observed_at=NOON + timedelta(seconds=1))
    await queue.database.execute("DELETE FROM tds_sync_queue_live WHERE entity_type = 'customer'")
    assert (await settle(queue, mapped["customer"], again)).outcomes == {"applied": 1}
    assert (await settle_again(queue, mapped["invoice"])).outcomes == {"applied": 1}


async def listed_once(queue: Queue) -> None:
    """Customers and items were listed whole: who is not known is not known for a reason."""
    await queue.database.execute(
        "INSERT INTO tds_sync_cursors (entity_type, scanned_at) VALUES ('customer', now()), ('product', now())"
    )


async def test_without_a_foreign_key_a_missing_parent_is_asked_for(queue: Queue, mapped: Entities) -> None:
    """The invoice is written at once; its customer and its lines' items are fetched, each once and with the reason."""
    await listed_once(queue)
    delivered = change("invoice", "1", {"invoice": invoice("1")}, kind="webhook", correlation_id="c")
    assert (await settle(queue, mapped["invoice"], delivered)).outcomes == {"applied": 1}
    assert await waiting(queue) == {("customer", "77", "fetch"), ("product", "1", "fetch")}
    rows = await queue.database.fetch(
        "SELECT DISTINCT reason, correlation_id, priority FROM tds_sync_queue WHERE operation = 'fetch'"
    )
    assert [tuple(row) for row in rows] == [("invoice 1 refers to it", "c", 10)]


async def test_a_parent_that_was_heard_of_is_left_alone(queue: Queue, mapped: Entities) -> None:
    """Stored or known to be gone: a webhook of its child asks for nothing."""
    await listed_once(queue)
    await settle(queue, mapped["product"], product("1"))
    gone = Change(entity_type="customer", source_entity_id="77", operation="delete", observed_at=NOON)
    await settle(queue, mapped["customer"], gone)
    await settle(queue, mapped["invoice"], change("invoice", "1", {"invoice": invoice("1")}, kind="webhook"))
    assert await waiting(queue) == set()


async def test_before_the_first_listing_nobody_is_missing(queue: Queue, mapped: Entities) -> None:
    """A fresh database knows no customer at all: the first pull brings them, and webhooks spend no calls on them."""
    delivered = change("invoice", "1", {"invoice": invoice("1")}, kind="webhook")
    assert (await settle(queue, mapped["invoice"], delivered)).outcomes == {"applied": 1}
    assert await waiting(queue) == set()


@pytest.mark.parametrize("priority", [INCREMENTAL, FULL])
async def test_what_a_pull_brings_asks_for_no_parents(queue: Queue, mapped: Entities, priority: int) -> None:
    """A pull lists the parents too: a full sync of documents costs no call for every customer."""
    await listed_once(queue)
    pulled = change("invoice", "1", invoice("1"), kind="detail", priority=priority)
    assert (await settle(queue, mapped["invoice"], pulled)).outcomes == {"applied": 1}
    assert await waiting(queue) == set()


async def test_a_deletion_of_nobody_knows_what_is_buried(queue: Queue, mapped: Entities) -> None:
    """A deletion without an id ends as a dead letter that says so, not as done."""
    unnamed = Change(entity_type="product", source_entity_id="body:00ff", operation="delete", observed_at=NOON)
    assert (await settle(queue, mapped["product"], unnamed)).outcomes == {"buried": 1}
    letter = await queue.database.fetchrow("SELECT error_code, error_message FROM tds_dead_letter_queue")
    assert letter is not None
    assert tuple(letter) == ("invalid_record", "id of what was deleted is missing")


async def test_a_deletion_that_is_still_referred_to_is_buried(queue: Queue, mapped: Entities) -> None:
    """Deleting a row that others need is refused: no parent is missing, and a person must decide."""
    await settle(queue, mapped["invoice"], change("invoice", "1", invoice("1"), kind="detail"))
    await queue.database.execute("CREATE TABLE receipts (invoice text REFERENCES invoices (zoho_invoice_id))")
    await queue.database.execute("INSERT INTO receipts VALUES ('1')")
    delete = Change(entity_type="invoice", source_entity_id="1", operation="delete", observed_at=NOON)
    assert (await settle(queue, mapped["invoice"], delete)).outcomes == {"buried": 1}
    assert await queue.database.fetchval("SELECT error_code FROM tds_dead_letter_queue") == "foreign_key_violation"


async def test_an_unknown_refusal_is_tried_again(queue: Queue, mapped: Entities) -> None:
    """An ERP's trigger that says no may say yes later: its record waits for a retry, its neighbour is written."""
    await queue.database.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN IF NEW.name = 'Item 2' THEN RAISE 'not now'; END IF; RETURN NEW; END $$"
    )
    await queue.database.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON products FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    settled = await settle(queue, mapped["product"], product("1"), product("2"))
    assert settled.outcomes == {"applied": 1, "retried": 1}
    assert (await queue.statistics()).failed == 1


async def test_a_conflict_puts_the_whole_batch_back(queue: Queue, mapped: Entities) -> None:
    """A lock that cannot be had says nothing about any record: all of them wait, none is written."""
    await settle(queue, mapped["product"], product("1"))
    await queue.database.execute(
        "CREATE FUNCTION clash() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'clash' USING ERRCODE = 'serialization_failure'; END $$"
    )
    await queue.database.execute("CREATE TRIGGER clash BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION clash()")
    broken = change("product", "3", {"item_id": "3"})
    settled = await settle(
        queue, mapped["product"], product("1", rate=1, last_modified_time=LATER), product("2"), broken
    )
    assert settled.outcomes == {"retried": 2, "buried": 1}
    assert set(await products(queue)) == {"1"}


async def test_a_table_that_does_not_fit_stops_the_entity(queue: Queue, mapped: Entities) -> None:
    """A missing column is no record's fault: nothing is buried, the fault is raised with its reason."""
    await queue.database.execute("ALTER TABLE products DROP COLUMN brand")
    with pytest.raises(TargetUnfit, match="brand"):
        await settle(queue, mapped["product"], product("1"))
    assert (await queue.statistics()).processing == 1


async def test_what_the_table_altered_is_told(queue: Queue, mapped: Entities) -> None:
    """A narrower type or a trigger keeps something else than it was given: the record is named."""
    await queue.database.execute("ALTER TABLE products ALTER price TYPE numeric(10, 0)")
    settled = await settle(queue, mapped["product"], product("1"), product("2", rate=3))
    assert settled.altered == ("1",)


async def test_a_stale_owner_changes_nothing(queue: Queue, mapped: Entities) -> None:
    """When another owner has taken a task over meanwhile, the whole batch is rolled back."""
    await put(queue, product("1"), product("2"))
    tasks = await queue.claim(["product"])
    await queue.database.execute("UPDATE tds_sync_queue_live SET fence = fence + 1 WHERE source_entity_id = '2'")
    settlement = Settlement(mapped["product"], queue.database, queue)
    with pytest.raises(LeaseLost):
        await settlement.settle(await settlement.prepare(tasks))
    assert await products(queue) == {}
    assert await audit(queue.database) == []
    assert await queue.database.fetchval("SELECT count(*) FROM tds_record_state") == 0


async def test_settling_twice_has_one_effect(queue: Queue, mapped: Entities) -> None:
    """A batch whose COMMIT was answered by silence is settled again: it finds itself done and changes nothing."""
    await put(queue, product("1"))
    settlement = Settlement(mapped["product"], queue.database, queue)
    prepared = await settlement.prepare(await queue.claim(["product"]))
    await settlement.settle(prepared)
    with pytest.raises(LeaseLost):
        await settlement.settle(prepared)
    assert len(await audit(queue.database)) == 1


async def test_the_completed_task_says_what_was_done(queue: Queue, mapped: Entities) -> None:
    """The finished task keeps the local id, the action and how many rows it changed."""
    await settle(queue, mapped["invoice"], change("invoice", "1", invoice("1"), kind="detail"))
    row = await queue.database.fetchrow("SELECT outcome, result::text AS result FROM tds_sync_queue")
    assert row is not None
    assert (row[0], row[1]) == ("applied", '{"rows": 3, "action": "insert", "local_id": "1"}')


async def test_completing_takes_the_next_batch(queue: Queue, mapped: Entities) -> None:
    """With `claim` the next tasks come with the same commit."""
    await put(queue, *(product(str(number)) for number in range(4)))
    tasks = await queue.claim(["product"], limit=2)
    settlement = Settlement(mapped["product"], queue.database, queue)
    settled = await settlement.settle(await settlement.prepare(tasks), 2)
    assert [task.source_entity_id for task in settled.claimed] == ["2", "3"]
    assert settled.outcomes == Counter(applied=2)


async def test_a_race_for_the_next_batch_costs_only_the_next_batch(
    queue: Queue, mapped: Entities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When another claimer is faster with one of the next tasks, this batch is settled all the same."""

    async def beaten(*_given: Any) -> None:
        error = asyncpg.UniqueViolationError("duplicate key")
        error.table_name = "tds_sync_queue_live"
        raise error

    await put(queue, product("1"))
    monkeypatch.setattr(queue, "complete_and_claim", beaten)
    settlement = Settlement(mapped["product"], queue.database, queue)
    settled = await settlement.settle(await settlement.prepare(await queue.claim(["product"])), 10)
    assert (settled.outcomes, settled.claimed) == ({"applied": 1}, ())


async def test_a_conflict_while_narrowing_puts_the_batch_back(
    queue: Queue, mapped: Entities, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refusal that is followed by a conflict says nothing about the rest: all of it is tried again."""
    refusals_in_turn = iter([asyncpg.CheckViolationError("no"), asyncpg.DeadlockDetectedError("later")])

    async def refusing(*_given: Any) -> None:
        raise next(refusals_in_turn)

    monkeypatch.setattr(effect, "write", refusing)
    settled = await settle(queue, mapped["product"], product("1"), product("2"))
    assert settled.outcomes == {"retried": 2}


ERP = """
[[source]]
api = "books"
list = "/things"
list_key = "things"
detail = "/things/{id}"
detail_key = "thing"

[record]
id = "thing_id"

[target]
table = "erp.Orders"
id_column = "external_id"
local_id = "order_id"
touched = ""
on_delete = "delete"
adopt = true

[columns]
code = { path = "code", required = true }
shelf = { path = "shelf", owner = "local", default = "new" }
kept = { path = "kept", type = "jsonb" }

[[children]]
table = "erp.order_parts"
path = "parts"
key = "part_id"
key_column = "part"
parent_column = "order_ref"
parent = "local"
local_id = ""

[children.columns]
amount = { path = "amount", type = "integer" }
"""


@pytest.fixture
async def orders(database: Database, tmp_path: Path) -> Entity:
    """An ERP's own tables: another schema, a capital letter, lines that refer to the local id."""
    (tmp_path / "thing.toml").write_text(ERP)
    await database.execute("CREATE SCHEMA erp")
    await database.execute(
        'CREATE TABLE erp."Orders" (order_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),'
        " external_id varchar(40) UNIQUE, code varchar(20) NOT NULL, shelf text, kept json, made timestamptz)"
    )
    await database.execute(
        'CREATE TABLE erp.order_parts (order_ref uuid REFERENCES erp."Orders", part text, amount int,'
        " UNIQUE (order_ref, part))"
    )
    return entities.load(tmp_path)["thing"]


async def test_an_erps_own_tables_are_enough(database: Database, orders: Entity) -> None:
    """Existing tables need no extra column, local columns are written once, and lines hang on the local id."""
    queue = Queue(database, boot_id="this")
    async with database.connection() as connection:
        assert await tables.faults(connection, orders.tables) == ()
    thing = {"thing_id": "9", "code": "c", "kept": {"b": 1.5, "a": None}, "parts": [{"part_id": "p", "amount": 1}]}
    await settle(queue, orders, change("thing", "9", thing, kind="detail"))
    await database.execute("UPDATE erp.\"Orders\" SET shelf = 'mine'")
    changed = {**thing, "code": "d", "shelf": "theirs", "parts": [{"part_id": "q", "amount": "2"}]}
    later = change("thing", "9", changed, kind="detail", observed_at=NOON + timedelta(seconds=1))
    assert (await settle(queue, orders, later)).outcomes == {"applied": 1}
    row = await database.fetchrow('SELECT code, shelf, kept::text FROM erp."Orders"')
    assert row is not None
    assert tuple(row) == ("d", "mine", '{"a": null, "b": 1.5}')
    assert [tuple(part) for part in await database.fetch("SELECT part, amount FROM erp.order_parts")] == [("q", 2)]
    delete = Change(entity_type="thing", source_entity_id="9", operation="delete", observed_at=NOON + timedelta(days=1))
    assert (await settle(queue, orders, delete)).outcomes == {"deleted": 1}
    assert await database.fetchval('SELECT count(*) FROM erp."Orders"') == 0


async def test_a_record_of_every_entity_is_written(queue: Queue, mapped: Entities) -> None:
    """The mapping of each of the thirteen fits the table that it creates."""
    samples = Path(__file__).parents[1] / "samples"
    listings = {"locations_list": "branch", "users_list": "user", "contacts_list": "vendor"}
    details = {
        "item_detail_inventory": "product", "contact_detail": "customer", "invoice_detail": "invoice",
        "salesorder_detail": "sales_order", "customerpayment_detail": "payment", "bill_detail": "bill",
        "creditnote_detail": "credit_note", "inventoryadjustment_detail": "stock_adjustment",
        "pricebook_detail_volume": "price_list", "salesreturn_detail": "sales_return",
    }  # fmt: skip
    for name, entity in (listings | details).items():
        source, body = mapped[entity].source(), (samples / f"{name}.json").read_bytes()
        kind = "list" if name in listings else "detail"
        row = (
            mapped[entity].read_page(source, body).rows[0]
            if kind == "list"
            else mapped[entity].read_detail(source, body)
        )
        given = change(entity, row.id, row.raw, kind=kind, variant=source.name)
        settled = await settle(queue, mapped[entity], given)
        assert (settled.outcomes, settled.altered) == ({"applied": 1}, ()), entity
        assert (await settle(queue, mapped[entity], given)).outcomes == {"unchanged": 1}, entity


async def test_the_hot_statements_use_their_indexes(queue: Queue, mapped: Entities) -> None:
    """Reading and writing a batch among many rows scans no table."""
    given = [product(str(number)) for number in range(300)]
    await settle(queue, mapped["product"], *given[:100])
    await queue.database.execute(
        "INSERT INTO products (zoho_item_id, name) SELECT 'x' || number, 'n' FROM generate_series(1, 20000) AS number"
    )
    await queue.database.execute("ANALYZE products")
    async with queue.database.transaction() as connection:
        await connection.execute("SET LOCAL plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE look AS {mapped['product'].target.read}")
        rows = await connection.fetch("""EXPLAIN EXECUTE look('["1", "2"]')""")
        await connection.execute("DEALLOCATE look")
    plan = "\n".join(row[0] for row in rows)
    assert "products_zoho_item_id_key" in plan
    assert "Seq Scan" not in plan
