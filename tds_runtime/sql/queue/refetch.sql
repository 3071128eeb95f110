-- A payload that cannot be trusted or is no whole record: the task becomes a fetch, in place. The attempt stays spent, so
-- that a record which turns in circles ends as a dead letter.
-- Relies on (id, fence, processing) being the caller's own lease; CASE keeps the planner on the index of ids.
-- $1 ids ascending, $2 fences, $3 reason, $4 attempts allowed
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS g (id, fence)
), buried AS (
    UPDATE tds_sync_queue_live AS q
       SET status = 'dead_letter', dead_letter_at = COALESCE(q.dead_letter_at, now()), locked_by = NULL,
           processing_started_at = NULL, error_code = 'fetched_too_often', error_message = $3
      FROM given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END AND q.attempt_count >= $4
    RETURNING q.*, '' AS traceback
), letters AS (
--+ queue/letters
), taken AS (
    DELETE FROM tds_sync_queue_live AS q USING given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END AND q.attempt_count < $4
    RETURNING q.*
), back AS MATERIALIZED (
    SELECT id, fence, NULL::bigint AS inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at,
           NULL::timestamptz AS observed_at, dead_letter_at, attempt_count, coalesced, priority, revived, entity_type,
           source_entity_id, 'fetch' AS operation, payload_kind, variant, content_type, correlation_id,
           $3::text AS reason, NULL::bytea AS payload_hash, NULL::bytea AS payload, NULL::timestamptz AS available_at,
           snoozed_at, 'pending' AS status, error_code, error_message, attempts
      FROM taken
), put AS (
--+ queue/put_back
)
SELECT id, false AS buried FROM taken UNION ALL SELECT id, true FROM buried;
