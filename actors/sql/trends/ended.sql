-- Durations in [$1, $2) by step ($3: hour or day, in UTC), kind and bucket; a step without any has one row of NULLs.
-- Relies on the primary key (minute, kind, ...) of tds_duration_minutes.
WITH steps AS (
    SELECT at AT TIME ZONE 'UTC' AS at
      FROM generate_series(date_trunc($3::text, $1::timestamptz AT TIME ZONE 'UTC'),
                           date_trunc($3::text, $2::timestamptz AT TIME ZONE 'UTC'), ('1 ' || $3)::interval) AS at
), took AS (
    SELECT date_trunc($3, minute AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' AS at, kind, bucket, sum(tasks)::bigint AS tasks,
           sum(seconds) AS seconds
      FROM tds_durations($1, $2) GROUP BY 1, 2, 3
)
SELECT steps.at, took.kind, took.bucket, took.tasks, took.seconds
  FROM steps LEFT JOIN took USING (at)
