-- Ends a round ($1) that has not ended, because of $2.
UPDATE tds_healer_runs SET status = 'cancelled', completed_at = now(), locked_by = NULL, error_message = left($2, 2000)
 WHERE id = $1 AND status IN ('pending', 'running')
