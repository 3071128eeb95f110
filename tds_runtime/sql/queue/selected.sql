-- Shared clause: a columns.of_selection over unresolved dead letters `l`.
-- $1 ids, $2 entity_type, $3 source_entity_id, $4 error_code, $5 seconds since the burial, $6 retries at most
l.resolved_at IS NULL
       AND ($1::bigint[] IS NULL OR l.id = ANY ($1))
       AND ($2::text IS NULL OR l.entity_type = $2)
       AND ($3::text IS NULL OR l.source_entity_id = $3)
       AND ($4::text IS NULL OR l.error_code = $4)
       AND ($5::float8 IS NULL OR l.buried_at < now() - $5 * interval '1 second')
       AND ($6::integer IS NULL OR l.retry_count <= $6)
