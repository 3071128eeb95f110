-- What the newest comparison of an entity ($1) that looked at records found missing here, and nobody has repaired or asked
-- for: at most $2, marked so that each finding is fetched once. Relies on the primary key of the findings, on
-- tds_reconciliations_report, and on the unique index of live tasks.
WITH newest AS MATERIALIZED (
    SELECT report_id FROM tds_reconciliations
     WHERE entity_type = $1 AND depth = 'records' AND report_id IS NOT NULL
     ORDER BY compared_at DESC LIMIT 1
), chosen AS MATERIALIZED (
    SELECT f.report_id, f.source_entity_id
      FROM tds_reconciliation_findings AS f
      JOIN newest USING (report_id)
     WHERE f.entity_type = $1 AND f.kind = 'missing' AND f.repair = ''
       AND NOT EXISTS (
           SELECT FROM tds_sync_queue_live AS q WHERE q.entity_type = $1 AND q.source_entity_id = f.source_entity_id)
     ORDER BY f.source_entity_id LIMIT $2 FOR UPDATE OF f SKIP LOCKED
)
UPDATE tds_reconciliation_findings AS f SET repair = 'fetch'
  FROM chosen
 WHERE f.report_id = chosen.report_id AND f.entity_type = $1 AND f.source_entity_id = chosen.source_entity_id
RETURNING f.source_entity_id AS record, f.variant
