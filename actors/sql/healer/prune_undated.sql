-- Finished tasks outside of the day partitions: those of days that nobody made.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT id FROM tds_sync_queue_done_default
     WHERE coalesce(completed_at, enqueued_at) < now() - $1::float8 * interval '1 second'
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_sync_queue_done_default WHERE (id) IN (SELECT id FROM old) RETURNING 1
)
SELECT count(*) FROM gone
