-- Jobs, newest first, below an id. Relies on the primary key. $1 ids below (NULL: from the newest), $2 kind, $3 status, $4 limit
SELECT id, kind, selection::text, status, requested_by, reason, correlation_id, requested_at, started_at, completed_at, matched,
       looked_at, changed, attempt_count, error_code, error_message
  FROM tds_jobs
 WHERE ($1::bigint IS NULL OR id < $1)
   AND ($2::text IS NULL OR kind = $2)
   AND ($3::text IS NULL OR status = $3)
 ORDER BY id DESC
 LIMIT $4
