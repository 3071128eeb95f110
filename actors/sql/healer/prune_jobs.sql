-- Jobs that ended so long ago. Relies on tds_jobs_requested. $1 age in seconds, $2 rows at most
WITH old AS (
    SELECT id FROM tds_jobs
     WHERE requested_at < now() - $1::float8 * interval '1 second' AND completed_at IS NOT NULL
     ORDER BY requested_at LIMIT $2
), gone AS (
    DELETE FROM tds_jobs AS j USING old WHERE j.id = old.id RETURNING j.id
)
SELECT count(*) FROM gone
