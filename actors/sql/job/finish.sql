-- Ends a job. Relies on the primary key. $1 id, $2 fence
UPDATE tds_jobs SET status = 'completed', completed_at = now(), locked_by = NULL
 WHERE id = $1 AND fence = $2 AND status = 'running'
RETURNING changed
