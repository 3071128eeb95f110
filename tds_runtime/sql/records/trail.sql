-- The audit trail of one entity record by record, each record's lines oldest first, a page at a time. Relies on
-- tds_audit_trail_record. $1 entity_type, $2 and $3 the last id and line of the page before ('' and 0 at first), $4 limit
SELECT source_entity_id, id, after::text
FROM tds_audit_trail
WHERE entity_type = $1 AND (source_entity_id, id) > ($2::text, $3::bigint)
ORDER BY source_entity_id, id
LIMIT $4
