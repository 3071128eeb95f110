-- Durations of one kind ($3) in [$1, $2) by bucket. Relies on the primary key (minute, kind, ...).
SELECT bucket, sum(tasks)::bigint AS tasks, sum(seconds) AS seconds
  FROM tds_durations($1, $2) WHERE kind = $3
 GROUP BY bucket ORDER BY bucket
