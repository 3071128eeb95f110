-- Comparisons of the time before there were reports.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT id FROM tds_reconciliations
     WHERE report_id IS NULL AND compared_at < now() - $1::float8 * interval '1 second'
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_reconciliations WHERE (id) IN (SELECT id FROM old) RETURNING 1
)
SELECT count(*) FROM gone
