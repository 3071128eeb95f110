-- Puts tasks off without spending the attempt; what has been put off for longer than $5 seconds becomes a dead letter.
-- Relies on (id, fence, processing) being the caller's own lease; CASE keeps the planner on the index of ids.
-- $1 ids ascending, $2 fences, $3 until (NULL: at once), $4 reason, $5 longest total in seconds
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[]) AS g (id, fence)
), buried AS (
    UPDATE tds_sync_queue_live AS q
       SET status = 'dead_letter', dead_letter_at = COALESCE(q.dead_letter_at, now()), locked_by = NULL,
           processing_started_at = NULL, error_code = 'put_off_too_long', error_message = $4
      FROM given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END
       AND q.snoozed_at < now() - $5::float8 * interval '1 second'
    RETURNING q.*, '' AS traceback
), letters AS (
--+ queue/letters
), taken AS (
    DELETE FROM tds_sync_queue_live AS q USING given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END
       AND (q.snoozed_at < now() - $5::float8 * interval '1 second') IS NOT TRUE
    RETURNING q.*
), back AS MATERIALIZED (
    SELECT id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
           dead_letter_at, attempt_count - 1 AS attempt_count, coalesced, priority, revived, entity_type,
           source_entity_id, operation, payload_kind, variant, content_type, correlation_id, $4::text AS reason,
           payload_hash, payload, $3::timestamptz AS available_at, COALESCE(snoozed_at, now()) AS snoozed_at,
           'pending' AS status, error_code, error_message, attempts
      FROM taken
), put AS (
--+ queue/put_back
)
SELECT id, false AS buried FROM taken UNION ALL SELECT id, true FROM buried;
