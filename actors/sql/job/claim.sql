-- Takes the job that has waited longest. Relies on tds_jobs_open and on SKIP LOCKED. $1 boot_id
UPDATE tds_jobs AS j
   SET status = 'running', locked_by = $1, fence = j.fence + 1, attempt_count = j.attempt_count + 1,
       started_at = COALESCE(j.started_at, now())
 WHERE j.id = (SELECT id FROM tds_jobs WHERE status = 'pending' ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
   AND j.status = 'pending'
RETURNING j.id, j.fence, j.kind, j.selection::text, j.requested_by, j.reason, j.correlation_id, j.last_id, j.position
