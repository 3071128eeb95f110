-- Tasks in flight for longer than anything takes, whoever holds them; also what an operator set to processing by hand.
-- $1 reason, $2 attempts allowed, $3 age in seconds, $4 limit
WITH lost AS MATERIALIZED (
    SELECT id FROM tds_sync_queue_live
     WHERE status = 'processing'
       AND COALESCE(processing_started_at, '-infinity') < now() - $3::float8 * interval '1 second'
     ORDER BY id LIMIT $4 FOR UPDATE SKIP LOCKED
),
--+ queue/give_back
