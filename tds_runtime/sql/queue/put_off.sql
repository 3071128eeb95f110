-- Waiting tasks are not claimed before a time, by a person's wish; no attempt is spent, and a newer change of the record lets it
-- go at once. Relies on SKIP LOCKED: what is being claimed right now is left alone.
-- $7 limit, $8 until, $9 reason
WITH chosen AS MATERIALIZED (
    SELECT id FROM tds_sync_queue_live AS q
     WHERE
--+ queue/waiting
       AND (q.available_at IS NULL OR q.available_at < $8)
     ORDER BY q.id LIMIT $7 FOR UPDATE SKIP LOCKED
), moved AS (
    UPDATE tds_sync_queue_live AS q
       SET available_at = $8, snoozed_at = COALESCE(q.snoozed_at, now()), reason = $9
      FROM chosen WHERE q.id = chosen.id
    RETURNING q.id
)
SELECT count(*) FROM moved;
