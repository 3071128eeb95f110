-- Shared clause: what `lost` locked goes back, the attempt kept: an owner that died in the middle may have died of it. What
-- has no attempts left becomes a dead letter; what lost its payload is fetched. $1 reason, $2 attempts allowed
buried AS (
    UPDATE tds_sync_queue_live AS q
       SET status = 'dead_letter', dead_letter_at = COALESCE(q.dead_letter_at, now()), locked_by = NULL,
           processing_started_at = NULL, error_code = $1::text,
           error_message = 'its owner ' || COALESCE(q.locked_by, 'nobody') || ' never finished it',
           attempts = COALESCE(q.attempts, '[]') || jsonb_build_object('attempt', q.attempt_count, 'at', now(),
               'node', q.locked_by, 'code', $1::text)
      FROM lost
     WHERE q.id = lost.id AND q.attempt_count >= $2
    RETURNING q.*, '' AS traceback
), letters AS (
--+ queue/letters
), taken AS (
    DELETE FROM tds_sync_queue_live AS q USING lost WHERE q.id = lost.id AND q.attempt_count < $2 RETURNING q.*
), back AS MATERIALIZED (
    SELECT id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
           dead_letter_at, attempt_count, coalesced, priority, revived, entity_type, source_entity_id,
           CASE WHEN operation = 'upsert' AND payload IS NULL AND inbox_id IS NULL THEN 'fetch' ELSE operation END AS operation,
           payload_kind, variant, content_type, correlation_id, reason, payload_hash, payload,
           NULL::timestamptz AS available_at, snoozed_at, 'pending' AS status, error_code, error_message,
           COALESCE(attempts, '[]') || jsonb_build_object('attempt', attempt_count, 'at', now(),
               'node', locked_by, 'code', $1::text) AS attempts
      FROM taken
), put AS (
--+ queue/put_back
)
SELECT id, false AS buried FROM taken UNION ALL SELECT id, true FROM buried
