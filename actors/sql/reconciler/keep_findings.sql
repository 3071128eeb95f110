-- Keeps what did not match. Relies on one row a record. $1 report, $2 entity, $3 findings as JSON
INSERT INTO tds_reconciliation_findings (
    report_id, entity_type, source_entity_id, kind, variant, local_id, differences, repair)
SELECT $1, $2, i.record, i.kind, i.variant, i.local_id, i.differences, i.repair
  FROM json_to_recordset($3::json) AS i (
       record text, kind text, variant text, local_id text, differences jsonb, repair text)
