-- Marks of minutes in which deliveries were taken.
-- $1 age in seconds, $2 limit
WITH old AS MATERIALIZED (
    SELECT minute FROM tds_available_minutes
     WHERE minute < now() - $1::float8 * interval '1 second'
     LIMIT $2 FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM tds_available_minutes WHERE (minute) IN (SELECT minute FROM old) RETURNING 1
)
SELECT count(*) FROM gone
