-- Durations by the minute.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT minute, kind, entity_type, bucket FROM tds_duration_minutes
     WHERE minute < now() - $1::float8 * interval '1 second'
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_duration_minutes
     WHERE (minute, kind, entity_type, bucket) IN (SELECT minute, kind, entity_type, bucket FROM old) RETURNING 1
)
SELECT count(*) FROM gone
