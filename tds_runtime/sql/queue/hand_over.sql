-- enqueue, for an entity whose actor waits: changes of records of which nothing is in the queue go into flight at once, taken
-- for that actor as by a claim, which spares a second version of each row. The others are put as by enqueue, and what asks for
-- a detail call or belongs to a paused entity always is.
-- Relies on the unique indexes of what waits and what is in flight: one probe of each for every change. A claim of another
-- node that takes one of these records meanwhile makes the second a violation (23505): the caller puts all of them then.
-- The first column counts what met a waiting task; where nothing was taken there is one row of NULLs behind it.
-- $1 changes as JSON, $2 their payloads, $3 boot_id
WITH change AS MATERIALIZED (
    SELECT change.*,
           change.operation <> 'fetch'
           AND change.entity_type NOT IN (SELECT p.entity_type FROM tds_pauses AS p WHERE until IS NULL OR until > now())
           AND NOT EXISTS (
               SELECT FROM tds_sync_queue_live AS w
                WHERE w.status IN ('pending', 'failed') AND w.entity_type = change.entity_type
                  AND w.source_entity_id = change.source_entity_id
               OFFSET 0)
           AND NOT EXISTS (
               SELECT FROM tds_sync_queue_live AS f
                WHERE f.status = 'processing' AND f.entity_type = change.entity_type
                  AND f.source_entity_id = change.source_entity_id
               OFFSET 0) AS free
      FROM
--+ queue/changes
), taken AS (
    INSERT INTO tds_sync_queue_live AS q (
        fence, attempt_count, status, locked_by, processing_started_at, entity_type, source_entity_id, operation, payload,
        payload_kind, payload_hash, variant, source_modified_at, observed_at, priority, run_id, correlation_id, reason,
        coalesced)
    SELECT 1, 1, 'processing', $3, now(), entity_type, source_entity_id, operation, payload, payload_kind,
           decode(payload_hash, 'hex'), variant, source_modified_at, observed_at, priority, run_id, correlation_id, reason,
           coalesced
      FROM change
     WHERE free
     ORDER BY entity_type COLLATE "C", source_entity_id COLLATE "C"
    RETURNING q.id, q.fence, q.attempt_count, q.entity_type, q.source_entity_id, q.enqueued_at
), put AS (
    INSERT INTO tds_sync_queue_live AS q (
        entity_type, source_entity_id, operation, payload, payload_kind, payload_hash, variant, source_modified_at,
        observed_at, priority, run_id, correlation_id, reason, coalesced)
    SELECT entity_type, source_entity_id, operation, payload, payload_kind, decode(payload_hash, 'hex'), variant,
           source_modified_at, observed_at, priority, run_id, correlation_id, reason, coalesced
      FROM change
     WHERE NOT free
     ORDER BY entity_type COLLATE "C", source_entity_id COLLATE "C"
--+ queue/fold
    RETURNING (xmax = 0) AS fresh
)
SELECT (SELECT count(*) FROM put WHERE NOT fresh), taken.* FROM (SELECT) AS one LEFT JOIN taken ON true;
