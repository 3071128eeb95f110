-- A failed attempt: the task waits out a backoff with full jitter, or becomes a dead letter when its attempts are spent.
-- Relies on (id, fence, processing) being the caller's own lease; CASE keeps the planner on the index of ids.
-- $1 ids ascending, $2 fences, $3 codes, $4 messages, $5 tracebacks, $6 jitter in [0, 1), $7 attempts allowed,
-- $8 first delay in seconds, $9 longest delay, $10 boot_id
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::float8[])
        AS g (id, fence, code, message, traceback, jitter)
), buried AS (
    UPDATE tds_sync_queue_live AS q
       SET status = 'dead_letter', dead_letter_at = COALESCE(q.dead_letter_at, now()), locked_by = NULL,
           processing_started_at = NULL, error_code = given.code, error_message = given.message,
           attempts = COALESCE(q.attempts, '[]') || jsonb_build_object('attempt', q.attempt_count, 'at', now(),
               'node', $10::text, 'code', given.code, 'message', left(given.message, 500))
      FROM given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END AND q.attempt_count >= $7
    RETURNING q.*, given.traceback
), letters AS (
--+ queue/letters
), taken AS (
    DELETE FROM tds_sync_queue_live AS q USING given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END AND q.attempt_count < $7
    RETURNING q.*, given.code, given.message, given.jitter
), back AS MATERIALIZED (
    SELECT id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
           dead_letter_at, attempt_count, coalesced, priority, revived, entity_type, source_entity_id, operation,
           payload_kind, variant, content_type, correlation_id, reason, payload_hash, payload,
           now() + LEAST($9::float8, $8::float8 * 2.0 ^ LEAST(attempt_count - 1, 30)) * jitter * interval '1 second' AS available_at,
           snoozed_at, 'failed' AS status, code AS error_code, message AS error_message,
           COALESCE(attempts, '[]') || jsonb_build_object('attempt', attempt_count, 'at', now(),
               'node', $10::text, 'code', code, 'message', left(message, 500)) AS attempts
      FROM taken
), put AS (
--+ queue/put_back
)
SELECT id, false AS buried FROM taken UNION ALL SELECT id, true FROM buried;
