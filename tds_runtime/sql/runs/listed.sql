-- The listing ended; from now on the run only waits for its tasks, and another run may list the entity.
-- $1 id, $2 fence, $3 candidates, $4 alarm
WITH forgotten AS (
    DELETE FROM tds_sync_run_pages WHERE run_id = $1
)
UPDATE tds_sync_runs
   SET listed_at = now(), candidates = $3, alarm = $4
 WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id;
