-- Dead letters go back to the waiting slot of their records, one per record and the newest of it: the others are resolved
-- when it lands. $7 limit, $8 by, $9 attempts already spent, $10 count as a retry of the healer
WITH chosen AS MATERIALIZED (
    SELECT l.id, l.task_id FROM tds_dead_letter_queue AS l
     WHERE
--+ queue/selected
     ORDER BY l.id LIMIT $7 FOR UPDATE OF l SKIP LOCKED
), newest AS MATERIALIZED (
    SELECT DISTINCT ON (q.entity_type, q.source_entity_id) q.id, chosen.id AS letter
      FROM chosen JOIN tds_sync_queue_live AS q ON q.id = chosen.task_id AND q.status = 'dead_letter'
     ORDER BY q.entity_type, q.source_entity_id, q.id DESC
), taken AS (
    DELETE FROM tds_sync_queue_live AS q USING newest
     WHERE q.id = newest.id AND q.status = 'dead_letter'
    RETURNING q.*, newest.letter
), resolved AS (
    UPDATE tds_dead_letter_queue AS l SET resolved_at = now(), resolution = 'retried', resolved_by = $8::text
      FROM taken WHERE l.id = taken.letter
), back AS MATERIALIZED (
    SELECT id, fence, inbox_id, first_inbox_id, last_inbox_id, run_id, enqueued_at, source_modified_at, observed_at,
           dead_letter_at, $9::integer AS attempt_count, coalesced, priority,
           CASE WHEN $10 THEN revived + 1 ELSE 0 END::smallint AS revived, entity_type, source_entity_id,
           CASE WHEN operation = 'upsert' AND payload IS NULL AND inbox_id IS NULL THEN 'fetch' ELSE operation END AS operation,
           payload_kind, variant, content_type, correlation_id, reason, payload_hash, payload,
           NULL::timestamptz AS available_at, NULL::timestamptz AS snoozed_at, 'pending' AS status, error_code,
           error_message, attempts
      FROM taken
), put AS (
--+ queue/put_back
)
SELECT count(*) FROM taken;
