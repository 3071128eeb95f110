-- Tasks that became dead letters in [$1, $2) or were none the better at its end; those left for longer than $3 seconds; and
-- those that were open at its end. Relies on tds_dead_letter_queue_buried and tds_dead_letter_queue_waiting.
WITH letters AS (
    SELECT task_id, min(first_buried_at) AS began, bool_or(resolved_at IS NULL OR resolved_at >= $2) AS open,
           max(LEAST(COALESCE(resolved_at, $2), $2)) AS ended
      FROM tds_dead_letter_queue
     WHERE buried_at < $2 AND (buried_at >= $1 OR resolved_at IS NULL)
     GROUP BY task_id
)
SELECT count(*) AS letters, count(*) FILTER (WHERE open) AS open,
       count(*) FILTER (WHERE ended - began > $3::float8 * interval '1 second') AS overdue
  FROM letters
