-- Shared clause: a selection over unresolved dead letters `l`; tds_dead_letter_queue_waiting has no others.
-- $1 ids, $2 entity_type, $3 source_entity_id, $4 error_code, $5 since, $6 until
l.resolved_at IS NULL
   AND ($1::bigint[] IS NULL OR l.id = ANY ($1))
   AND ($2::text IS NULL OR l.entity_type = $2)
   AND ($3::text IS NULL OR l.source_entity_id = $3)
   AND ($4::text IS NULL OR l.error_code = $4)
   AND ($5::timestamptz IS NULL OR l.buried_at >= $5)
   AND ($6::timestamptz IS NULL OR l.buried_at < $6)
