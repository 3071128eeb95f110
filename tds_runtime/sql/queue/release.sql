-- Gives tasks back untouched, the attempt refunded: their owner is stopping, or had no time for them.
-- Relies on (id, fence, processing) being the caller's own lease; CASE keeps the planner on the index of ids.
-- $1 ids ascending, $2 fences
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS g (id, fence)
), taken AS (
    DELETE FROM tds_sync_queue_live AS q USING given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END
    RETURNING q.*
), back AS MATERIALIZED (
    SELECT id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
           dead_letter_at, attempt_count - 1 AS attempt_count, coalesced, priority, revived, entity_type,
           source_entity_id, operation, payload_kind, variant, content_type, correlation_id, reason, payload_hash,
           payload, NULL::timestamptz AS available_at, snoozed_at, 'pending' AS status, error_code, error_message,
           attempts
      FROM taken
), put AS (
--+ queue/put_back
)
SELECT id, false AS buried FROM taken;
