-- Tasks whose owner's lease is over, by database time. A task without owner was set by hand: that is return_stuck's.
-- Relies on every claimer renewing its row in tds_nodes.
-- $1 reason, $2 attempts allowed, $3 limit
WITH lost AS MATERIALIZED (
    SELECT q.id FROM tds_sync_queue_live AS q
     WHERE q.status = 'processing' AND q.locked_by IS NOT NULL
       AND q.locked_by NOT IN (
           SELECT boot_id FROM tds_nodes
            WHERE stopped_at IS NULL AND now() - renewed_at BETWEEN - lease AND lease)
     ORDER BY q.id LIMIT $3 FOR UPDATE OF q SKIP LOCKED
),
--+ queue/give_back
