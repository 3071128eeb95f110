-- Puts a job back to wait, the attempt refunded: its owner stops. Relies on the primary key. $1 id, $2 fence
UPDATE tds_jobs SET status = 'pending', locked_by = NULL, attempt_count = GREATEST(attempt_count - 1, 0)
 WHERE id = $1 AND fence = $2 AND status = 'running'
