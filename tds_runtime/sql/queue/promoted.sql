-- Shared clause. What has waited long enough can be claimed again. Nothing can be in its way: failed and pending share one slot a record.
-- $1 limit
due AS MATERIALIZED (
    SELECT id FROM tds_sync_queue_live
     WHERE status IN ('pending', 'failed') AND available_at IS NOT NULL AND available_at <= now()
     ORDER BY available_at LIMIT $1 FOR UPDATE SKIP LOCKED
), promoted AS (
    UPDATE tds_sync_queue_live AS q SET status = 'pending', available_at = NULL
      FROM due WHERE q.id = due.id RETURNING q.entity_type, q.operation
)
