-- One job. Relies on the primary key. $1 id
SELECT id, kind, selection::text, status, requested_by, reason, correlation_id, requested_at, started_at, completed_at, matched,
       looked_at, changed, attempt_count, error_code, error_message
  FROM tds_jobs
 WHERE id = $1
