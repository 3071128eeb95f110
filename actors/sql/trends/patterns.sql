-- What failed in [$1, $2) by error code, the commonest first, $3 of them: dead letters, and what waits for its retry.
-- Relies on tds_dead_letter_queue_buried, and on the live leaf being small.
WITH failures AS (
    SELECT error_code, entity_type, source_entity_id, error_message, buried_at AS at, false AS waits,
           resolved_at IS NULL AS unresolved
      FROM tds_dead_letter_queue WHERE buried_at >= $1 AND buried_at < $2
    UNION ALL
    SELECT error_code, entity_type, source_entity_id, error_message, COALESCE(processing_started_at, enqueued_at), true, false
      FROM tds_sync_queue_live
     WHERE status IN ('pending', 'failed') AND error_code IS NOT NULL AND COALESCE(processing_started_at, enqueued_at) >= $1
)
SELECT error_code, array_agg(DISTINCT entity_type ORDER BY entity_type) AS entities, count(*) AS count,
       count(*) FILTER (WHERE waits) AS waiting, count(*) FILTER (WHERE unresolved) AS unresolved,
       min(at) AS first_at, max(at) AS last_at, COALESCE((array_agg(left(error_message, 300) ORDER BY at DESC))[1], '') AS example
  FROM failures
 GROUP BY error_code
 ORDER BY count(*) DESC, error_code
 LIMIT $3
