-- Minutes in [$1, $2) in which deliveries were taken, of all from the first mark ever on. The minute that is not over counts
-- once it is marked. Relies on the primary key.
WITH marks AS (
    SELECT count(*) AS available, min(minute) AS first
      FROM tds_available_minutes WHERE minute >= date_trunc('minute', $1::timestamptz) AND minute < $2::timestamptz
), edges AS (
    SELECT available,
           CASE WHEN EXISTS (SELECT FROM tds_available_minutes WHERE minute < date_trunc('minute', $1::timestamptz))
                THEN date_trunc('minute', $1::timestamptz) ELSE first END AS begun,
           LEAST($2::timestamptz, date_trunc('minute', now())) AS ended,
           EXISTS (SELECT FROM tds_available_minutes WHERE minute = date_trunc('minute', now()) AND minute < $2) AS now_too
      FROM marks
)
SELECT available,
       COALESCE(ceil(extract(epoch FROM ended - begun) / 60), 0)::bigint + now_too::int AS minutes
  FROM edges
