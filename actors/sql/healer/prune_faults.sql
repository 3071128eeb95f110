-- Faults that are over.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT id FROM tds_faults
     WHERE ended_at < now() - $1::float8 * interval '1 second'
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_faults WHERE (id) IN (SELECT id FROM old) RETURNING 1
)
SELECT count(*) FROM gone
