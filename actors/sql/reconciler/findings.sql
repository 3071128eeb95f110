-- One page of what did not match, by entity and record, behind ($2, $3). Relies on the primary key; filters leave rows of
-- one report out, which are bounded in number.
-- $1 report, $2 and $3 entity and record of the last one seen ('' at first), $4 entity, $5 kind, $6 record, $7 limit
SELECT entity_type, source_entity_id, kind, variant, local_id, differences::text, repair
  FROM tds_reconciliation_findings
 WHERE report_id = $1 AND (entity_type, source_entity_id) > ($2::text, $3::text)
   AND ($4::text IS NULL OR entity_type = $4) AND ($5::text IS NULL OR kind = $5)
   AND ($6::text IS NULL OR source_entity_id = $6)
 ORDER BY entity_type, source_entity_id
 LIMIT $7
