-- Shared clause: a columns.of_selection over waiting tasks `q`.
-- $1 ids, $2 entity_type, $3 source_entity_id, $4 error_code, $5 seconds since it was enqueued, $6 attempts at most
q.status IN ('pending', 'failed')
       AND ($1::bigint[] IS NULL OR q.id = ANY ($1))
       AND ($2::text IS NULL OR q.entity_type = $2)
       AND ($3::text IS NULL OR q.source_entity_id = $3)
       AND ($4::text IS NULL OR q.error_code = $4)
       AND ($5::float8 IS NULL OR q.enqueued_at < now() - $5 * interval '1 second')
       AND ($6::integer IS NULL OR q.attempt_count <= $6)
