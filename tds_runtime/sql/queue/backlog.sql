-- How many changes of an entity wait to be written, counted no further than to $2: however long the queue, the look costs
-- the same. Relies on tds_sync_queue_live_claim. $1 entity_type, $2 most
SELECT count(*) FROM (
    SELECT FROM tds_sync_queue_live
     WHERE status = 'pending' AND available_at IS NULL AND operation <> 'fetch' AND entity_type = $1
     LIMIT $2) AS waiting;
