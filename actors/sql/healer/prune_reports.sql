-- Reports of comparisons that have ended and whose findings are gone, each with its few rows of entities.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT r.id FROM tds_reconciliation_reports AS r
     WHERE r.requested_at < now() - $1::float8 * interval '1 second' AND r.status NOT IN ('pending', 'running')
       AND NOT EXISTS (SELECT FROM tds_reconciliation_findings AS f WHERE f.report_id = r.id)
     LIMIT $2 FOR UPDATE OF r SKIP LOCKED
), gone AS (
    DELETE FROM tds_reconciliation_reports WHERE id IN (SELECT id FROM old) RETURNING 1
)
SELECT count(*) FROM gone
