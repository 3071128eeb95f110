-- Tasks that became dead letters in [$1, $2) by step ($3) and error code. Relies on tds_dead_letter_queue_buried.
SELECT date_trunc($3::text, buried_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS at, error_code,
       count(DISTINCT task_id) AS tasks
  FROM tds_dead_letter_queue WHERE buried_at >= $1 AND buried_at < $2
 GROUP BY 1, 2
