"""The least that a durable queue with the daemon's guarantees can do: claim, state, upsert, audit, history.

Two connections, one transaction a batch, no engine, no mapping, no record facets: one fixed table, statements by hand.
The daemon is measured against this loop.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any

import anyio
import msgspec
from msgspec import Struct

from actors.bench import place, workload

SCHEMA = """
CREATE SCHEMA bare;
CREATE TABLE bare.queue (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, record text NOT NULL, payload bytea NOT NULL,
    status text NOT NULL DEFAULT 'pending', fence bigint NOT NULL DEFAULT 0, attempt integer NOT NULL DEFAULT 0,
    owner text, enqueued_at timestamptz NOT NULL DEFAULT now());
CREATE INDEX ON bare.queue (id) WHERE status = 'pending';
CREATE UNIQUE INDEX ON bare.queue (record) WHERE status = 'processing';
CREATE TABLE bare.done (
    id bigint PRIMARY KEY, record text NOT NULL, payload bytea NOT NULL, attempt integer NOT NULL,
    enqueued_at timestamptz NOT NULL, completed_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE bare.state (record text PRIMARY KEY, modified_at timestamptz NOT NULL);
CREATE TABLE bare.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, record text NOT NULL, after jsonb NOT NULL,
    at timestamptz NOT NULL DEFAULT now());
CREATE TABLE bare.products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, zoho_item_id text NOT NULL UNIQUE, name text NOT NULL,
    sku text, description text, price numeric NOT NULL, stock_quantity numeric NOT NULL, is_active boolean NOT NULL,
    updated_at timestamptz NOT NULL);
"""
FILL = "INSERT INTO bare.queue (record, payload) SELECT * FROM unnest($1::text[], $2::bytea[])"
CLAIM = """
UPDATE bare.queue q SET status = 'processing', fence = fence + 1, attempt = attempt + 1, owner = $1
  FROM (SELECT id FROM bare.queue WHERE status = 'pending' ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED) picked
 WHERE q.id = picked.id RETURNING q.id, q.fence, q.payload
"""
STATE = """
INSERT INTO bare.state AS s (record, modified_at) SELECT * FROM unnest($1::text[], $2::timestamptz[]) ORDER BY 1
ON CONFLICT (record) DO UPDATE SET modified_at = EXCLUDED.modified_at WHERE s.modified_at < EXCLUDED.modified_at
RETURNING record
"""
NEWER = """
ON CONFLICT (zoho_item_id) DO UPDATE SET
    name = EXCLUDED.name, sku = EXCLUDED.sku, description = EXCLUDED.description, price = EXCLUDED.price,
    stock_quantity = EXCLUDED.stock_quantity, is_active = EXCLUDED.is_active, updated_at = EXCLUDED.updated_at
"""
INSERT = """
INSERT INTO bare.products (zoho_item_id, name, sku, description, price, stock_quantity, is_active, updated_at)
SELECT * FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::numeric[], $6::numeric[], $7::boolean[], $8::timestamptz[])
"""
AUDIT = "INSERT INTO bare.audit (record, after) SELECT * FROM unnest($1::text[], $2::jsonb[])"
COMPLETE = """
WITH gone AS (
    DELETE FROM bare.queue q USING unnest($1::bigint[], $2::bigint[]) AS held (id, fence)
     WHERE q.id = held.id AND q.fence = held.fence RETURNING q.id, q.record, q.payload, q.attempt, q.enqueued_at)
INSERT INTO bare.done (id, record, payload, attempt, enqueued_at) SELECT * FROM gone
"""
DONE = "SELECT count(*) FROM bare.done JOIN bare.products ON zoho_item_id = record"


class Product(Struct):
    """The part of a listed item that the bare loop stores."""

    item_id: str
    name: str
    sku: str
    description: str
    rate: float
    stock_on_hand: float
    status: str
    last_modified_time: str


async def measure(dsn: str, count: int, batch: int) -> float:
    """Completed upserts per second."""
    async with place.connection(dsn) as connection:
        await connection.execute("DROP SCHEMA IF EXISTS bare CASCADE")
        await connection.execute(SCHEMA)
        await fill(connection, FILL, count)
    await place.settle(dsn, "bare.queue")
    began = perf_counter()
    async with anyio.create_task_group() as tasks:
        for owner in ("one", "two"):
            tasks.start_soon(_drain, dsn, owner, batch)
    elapsed = perf_counter() - began
    async with place.connection(dsn) as connection:
        place.check("bare", await connection.fetchval(DONE), count)
    return count / elapsed


async def fill(connection: Any, statement: str, count: int) -> None:
    """Enqueue `count` products in large batches."""
    for start in range(0, count, 5000):
        numbers = range(start, min(start + 5000, count))
        await connection.execute(
            statement, [workload.identity(n) for n in numbers], [workload.document(n) for n in numbers]
        )


async def _drain(dsn: str, owner: str, batch: int) -> None:
    decoder = msgspec.json.Decoder(Product)
    async with place.connection(dsn) as connection:
        while True:
            async with connection.transaction():
                claimed = await connection.fetch(CLAIM, owner, batch)
                if not claimed:
                    return
                await _effect(connection, claimed, [decoder.decode(row["payload"]) for row in claimed])


async def _effect(connection: Any, claimed: list[Any], products: list[Product]) -> None:
    products.sort(key=lambda product: product.item_id)
    ids = [product.item_id for product in products]
    stamps = [workload.BEGAN for _ in products]
    await connection.fetch(STATE, ids, stamps)
    await connection.execute(
        INSERT + NEWER, ids, [p.name for p in products], [p.sku for p in products], [p.description for p in products],
        [p.rate for p in products], [p.stock_on_hand for p in products],
        [p.status == "active" for p in products], stamps,
    )  # fmt: skip
    await connection.execute(AUDIT, ids, [msgspec.json.encode(p).decode() for p in products])
    ordered = sorted((row["id"], row["fence"]) for row in claimed)
    await connection.execute(COMPLETE, [one for one, _ in ordered], [fence for _, fence in ordered])
