-- A run that ended badly; what its listing saw is of no use to the next one. $1 id, $2 fence, $3 code, $4 message
WITH ended AS (
    UPDATE tds_sync_runs
       SET status = 'failed', completed_at = now(), locked_by = NULL, error_code = $3, error_message = left($4, 2000)
     WHERE id = $1 AND fence = $2 AND status = 'running'
    RETURNING id
), forgotten AS (
    DELETE FROM tds_sync_run_pages WHERE run_id IN (SELECT id FROM ended)
)
SELECT id FROM ended;
