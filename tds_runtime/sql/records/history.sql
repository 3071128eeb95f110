-- What happened to one record, newest first, a page at a time. Relies on tds_audit_trail_record.
-- $1 entity_type, $2 id, $3 older than this audit id (NULL for the newest), $4 limit
SELECT id, occurred_at, action, local_id, before::text, after::text, source_modified_at, task_id, run_id, correlation_id,
       actor, reason
FROM tds_audit_trail
WHERE entity_type = $1 AND source_entity_id = $2 AND ($3::bigint IS NULL OR id < $3)
ORDER BY id DESC
LIMIT $4
