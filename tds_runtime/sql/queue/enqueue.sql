-- Relies on: one change per record (a second would be error 21000), and on the order by key: two callers
-- that meet on several records take them in the same order. $1 changes as JSON, $2 their payloads
WITH put AS (
    INSERT INTO tds_sync_queue_live AS q (
        entity_type, source_entity_id, operation, payload, payload_kind, payload_hash, variant, source_modified_at,
        observed_at, priority, run_id, correlation_id, reason, coalesced)
    SELECT change.entity_type, change.source_entity_id, change.operation, change.payload, change.payload_kind,
           decode(change.payload_hash, 'hex'), change.variant, change.source_modified_at, change.observed_at,
           change.priority, change.run_id, change.correlation_id, change.reason, change.coalesced
      FROM
--+ queue/changes
    ORDER BY change.entity_type COLLATE "C", change.source_entity_id COLLATE "C"
--+ queue/fold
    RETURNING (xmax = 0) AS fresh
)
SELECT count(*) FILTER (WHERE NOT fresh) FROM put;
