-- A failure that no retry can mend. Relies on (id, fence, processing) being the caller's own lease; CASE keeps the planner on the index of ids.
-- $1 ids ascending, $2 fences, $3 codes, $4 messages, $5 tracebacks, $6 boot_id
WITH given AS (
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[])
        AS g (id, fence, code, message, traceback)
), buried AS (
    UPDATE tds_sync_queue_live AS q
       SET status = 'dead_letter', dead_letter_at = COALESCE(q.dead_letter_at, now()), locked_by = NULL,
           processing_started_at = NULL, error_code = given.code, error_message = given.message,
           attempts = COALESCE(q.attempts, '[]') || jsonb_build_object('attempt', q.attempt_count, 'at', now(),
               'node', $6::text, 'code', given.code, 'message', left(given.message, 500))
      FROM given
     WHERE q.id = given.id AND CASE q.status WHEN 'processing' THEN q.fence = given.fence END
    RETURNING q.*, given.traceback
), letters AS (
--+ queue/letters
)
SELECT id, true AS buried FROM buried;
