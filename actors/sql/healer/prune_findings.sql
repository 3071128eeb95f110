-- What reports of comparisons found, before the reports themselves.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT f.report_id, f.entity_type, f.source_entity_id
      FROM tds_reconciliation_findings AS f
      JOIN tds_reconciliation_reports AS r ON r.id = f.report_id
     WHERE r.requested_at < now() - $1::float8 * interval '1 second' AND r.status NOT IN ('pending', 'running')
     LIMIT $2 FOR UPDATE OF f SKIP LOCKED
), gone AS (
    DELETE FROM tds_reconciliation_findings
     WHERE (report_id, entity_type, source_entity_id) IN (SELECT report_id, entity_type, source_entity_id FROM old)
    RETURNING 1
)
SELECT count(*) FROM gone
