-- Every entity ($1 names, and those that have tasks): its tasks by status, what it completed in 24 hours, since when its oldest
-- waits, whether it is paused, and what was last known to match. Relies on the live leaf being small, on the primary key
-- of tds_duration_minutes and on tds_reconciliations_entity.
WITH live AS (
    SELECT entity_type, count(*) FILTER (WHERE status = 'pending') AS pending,
           count(*) FILTER (WHERE status = 'processing') AS processing, count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE status = 'dead_letter') AS dead_letter,
           extract(epoch FROM now() - min(enqueued_at) FILTER (WHERE status IN ('pending', 'failed')))::float8 AS oldest
      FROM tds_sync_queue_live GROUP BY entity_type
), done AS (
    SELECT entity_type, sum(tasks)::bigint AS completed
      FROM tds_durations(now() - interval '24 hours', now()) WHERE kind = 'processing' GROUP BY entity_type
), names AS (
    SELECT unnest($1::text[]) AS entity_type UNION SELECT entity_type FROM live UNION SELECT entity_type FROM done
)
SELECT names.entity_type, COALESCE(live.pending, 0) AS pending, COALESCE(live.processing, 0) AS processing,
       COALESCE(live.failed, 0) AS failed, COALESCE(live.dead_letter, 0) AS dead_letter,
       COALESCE(done.completed, 0) AS completed_24h, COALESCE(live.oldest, 0) AS oldest_waiting_seconds,
       EXISTS (SELECT FROM tds_pauses AS p
                WHERE p.entity_type = names.entity_type AND (p.until IS NULL OR p.until > now())) AS paused,
       matched.source_count, matched.local_count, matched.match_percentage, matched.compared_at
  FROM names LEFT JOIN live USING (entity_type) LEFT JOIN done USING (entity_type)
  LEFT JOIN LATERAL (
       SELECT source_count, local_count, match_percentage, compared_at
         FROM tds_reconciliations AS r WHERE r.entity_type = names.entity_type ORDER BY compared_at DESC LIMIT 1) AS matched
    ON true
 ORDER BY names.entity_type
