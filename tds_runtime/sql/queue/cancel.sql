-- Waiting tasks end as cancelled. Relies on SKIP LOCKED: what is being claimed right now is left alone.
-- $1 ids, $2 entity_type, $3 source_entity_id, $4 error_code, $5 seconds since it was enqueued, $6 attempts at most,
-- $7 limit, $8 reason
WITH chosen AS MATERIALIZED (
    SELECT id FROM tds_sync_queue_live AS q
     WHERE q.status IN ('pending', 'failed')
       AND ($1::bigint[] IS NULL OR q.id = ANY ($1))
       AND ($2::text IS NULL OR q.entity_type = $2)
       AND ($3::text IS NULL OR q.source_entity_id = $3)
       AND ($4::text IS NULL OR q.error_code = $4)
       AND ($5::float8 IS NULL OR q.enqueued_at < now() - $5 * interval '1 second')
       AND ($6::integer IS NULL OR q.attempt_count <= $6)
     ORDER BY q.id LIMIT $7 FOR UPDATE SKIP LOCKED
), ended AS (
    DELETE FROM tds_sync_queue_live AS q USING chosen WHERE q.id = chosen.id RETURNING q.*, $8::text AS note
), history AS (
--+ queue/history
)
SELECT count(*) FROM ended;
