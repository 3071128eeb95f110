-- Cancels a run and, of a run of everything, those that have not ended. Its tasks that nobody has begun are cancelled by the
-- caller with what this returns.
WITH ended AS (
    UPDATE tds_sync_runs AS r
       SET status = 'cancelled', completed_at = now(), locked_by = NULL, error_code = 'cancelled',
           error_message = left($2, 2000)
     WHERE (r.id = $1 OR r.parent_id = $1) AND r.status IN ('pending', 'running')
    RETURNING r.id
), forgotten AS (
    DELETE FROM tds_sync_run_pages WHERE run_id IN (SELECT id FROM ended)
)
SELECT id FROM ended;
