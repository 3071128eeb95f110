-- What was received and is no longer needed: a waiting task or a dead letter may still read its body there.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT id FROM tds_inbox_events
     WHERE received_at < now() - $1::float8 * interval '1 second'
       AND id NOT IN (SELECT inbox_id FROM tds_sync_queue_live WHERE inbox_id IS NOT NULL)
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_inbox_events WHERE (id) IN (SELECT id FROM old) RETURNING 1
)
SELECT count(*) FROM gone
