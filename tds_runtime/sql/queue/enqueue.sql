-- Relies on: one change per record in the arrays (a second would be error 21000), and on the order by key: two callers
-- that meet on several records take them in the same order.
WITH put AS (
    INSERT INTO tds_sync_queue_live AS q (
        entity_type, source_entity_id, operation, payload, payload_kind, payload_hash, variant, source_modified_at,
        observed_at, priority, run_id, correlation_id, reason, coalesced)
    SELECT * FROM unnest(
        $1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::bytea[], $7::text[], $8::timestamptz[],
        $9::timestamptz[], $10::smallint[], $11::bigint[], $12::text[], $13::text[], $14::integer[]
    ) AS change (entity_type, source_entity_id)
    ORDER BY change.entity_type COLLATE "C", change.source_entity_id COLLATE "C"
--+ queue/fold
    RETURNING (xmax = 0) AS fresh
)
SELECT count(*) FILTER (WHERE NOT fresh) FROM put;
