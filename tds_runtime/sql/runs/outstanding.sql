-- Tasks of this run that wait for their first try or are in flight (tds_sync_queue_live_run), and whether the run is still
-- the caller's. $1 id, $2 fence
SELECT (SELECT count(*) FROM tds_sync_queue_live
         WHERE run_id = $1 AND status IN ('pending', 'processing') AND available_at IS NULL) AS outstanding,
       EXISTS (SELECT FROM tds_sync_runs WHERE id = $1 AND fence = $2 AND status = 'running') AS held;
