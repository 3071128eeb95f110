-- Ends a job that has not ended; a portion in hand is waited for and stays done. Relies on the primary key. $1 id, $2 why
UPDATE tds_jobs
   SET status = 'cancelled', completed_at = now(), locked_by = NULL, error_code = 'cancelled', error_message = left($2, 2000)
 WHERE id = $1 AND status IN ('pending', 'running')
RETURNING id
