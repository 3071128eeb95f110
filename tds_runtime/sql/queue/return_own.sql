-- An incarnation's first act: what its predecessor in this process held goes back. Waits for locks instead of skipping what
-- is locked: another node's claim, begun before ours, locks the tasks that we took in the meantime until it commits.
-- $1 reason, $2 attempts allowed, $3 boot_id, $4 entity_types, $5 operations, $6 limit
WITH lost AS MATERIALIZED (
    SELECT id FROM tds_sync_queue_live
     WHERE status = 'processing' AND locked_by = $3 AND entity_type = ANY ($4::text[]) AND operation = ANY ($5::text[])
     ORDER BY id LIMIT $6 FOR UPDATE
),
--+ queue/give_back
