-- $1 id, $2 fence, $3 code, $4 message
UPDATE tds_sync_runs
   SET status = 'failed', completed_at = now(), locked_by = NULL, error_code = $3, error_message = left($4, 2000)
 WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING id;
