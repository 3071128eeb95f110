-- Locks a job for one portion; no row when it was cancelled or taken over. Relies on the primary key. $1 id, $2 fence
SELECT position FROM tds_jobs WHERE id = $1 AND fence = $2 AND status = 'running' FOR UPDATE
